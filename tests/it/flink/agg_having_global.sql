-- compare: table
CREATE TABLE t (id BIGINT, g STRING, v BIGINT, s STRING) WITH ('connector'='filesystem','path'='${DIR}/deltas.json','format'='debezium-json');
SELECT SUM(v) FROM t HAVING COUNT(*) > 2;
