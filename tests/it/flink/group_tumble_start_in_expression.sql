-- compare: refused
-- when built: rows
CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ranked.json','format'='json');
SELECT CAST(TUMBLE_START(ts, INTERVAL '10' SECOND) AS DATE), TUMBLE_END(ts, INTERVAL '10' SECOND) + INTERVAL '1' HOUR, SUM(v) + 1 FROM t GROUP BY TUMBLE(ts, INTERVAL '10' SECOND);
