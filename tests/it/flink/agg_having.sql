-- compare: changelog
CREATE TABLE t (id BIGINT, g STRING, v BIGINT, s STRING) WITH ('connector'='filesystem','path'='${DIR}/deltas.json','format'='debezium-json');
SELECT g, COUNT(*) AS n, SUM(v) FROM t GROUP BY g HAVING COUNT(*) > 1;
