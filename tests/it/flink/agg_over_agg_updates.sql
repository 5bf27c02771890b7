-- compare: table
CREATE TABLE t (id BIGINT, g STRING, v BIGINT, s STRING) WITH ('connector'='filesystem','path'='${DIR}/updates.json','format'='debezium-json');
SELECT n, COUNT(*), MAX(m), SUM(m) FROM (SELECT g, COUNT(*) AS n, MAX(v) AS m FROM t GROUP BY g) GROUP BY n;
