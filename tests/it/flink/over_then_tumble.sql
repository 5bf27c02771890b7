CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ranked.json','format'='json');
CREATE VIEW u AS SELECT id, k, ts, SUM(v) OVER (PARTITION BY k ORDER BY ts) AS total FROM t;
SELECT window_start, window_end, k, COUNT(*), MAX(total) FROM TABLE(TUMBLE(TABLE u, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, k;
