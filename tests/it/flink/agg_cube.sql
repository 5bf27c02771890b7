-- compare: table
CREATE TABLE t (id BIGINT, g STRING, v BIGINT, s STRING) WITH ('connector'='filesystem','path'='${DIR}/updates.json','format'='debezium-json');
SELECT g, v, COUNT(*), MAX(s), GROUPING_ID(g, v) FROM t GROUP BY CUBE (g, v);
