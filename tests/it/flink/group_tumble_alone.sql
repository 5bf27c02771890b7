-- compare: refused
-- when built: rows
CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ranked.json','format'='json');
SELECT TUMBLE_START(ts, INTERVAL '10' SECOND) AS s, COUNT(*), COUNT(v), COUNT(DISTINCT k) FROM t GROUP BY TUMBLE(ts, INTERVAL '10' SECOND);
