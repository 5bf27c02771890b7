-- compare: changelog
CREATE TABLE t (id BIGINT, g STRING, v BIGINT, s STRING) WITH ('connector'='filesystem','path'='${DIR}/deltas.json','format'='debezium-json');
SELECT g, COUNT(DISTINCT v), SUM(DISTINCT v), COUNT(DISTINCT v) FILTER (WHERE s = 'q'), SUM(v) FILTER (WHERE v > 2), COUNT(*) FILTER (WHERE s IS NULL), MIN(s) FILTER (WHERE v IS NOT NULL) FROM t GROUP BY g;
