-- compare: changelog
CREATE TABLE t (id BIGINT, g STRING, v BIGINT, s STRING) WITH ('connector'='filesystem','path'='${DIR}/deltas.json','format'='debezium-json');
SELECT v / 2, COALESCE(g, '-') || 'x', COUNT(*) FROM t GROUP BY v / 2, COALESCE(g, '-') || 'x';
