-- compare: changelog
CREATE TABLE t (id BIGINT, g STRING, v BIGINT, s STRING) WITH ('connector'='filesystem','path'='${DIR}/deltas.json','format'='debezium-json');
SELECT g, s, COUNT(*), SUM(v), GROUPING(g), GROUPING(s) FROM t GROUP BY GROUPING SETS ((g, s), (g), ());
