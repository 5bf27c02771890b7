CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ranked.json','format'='json');
CREATE VIEW u AS SELECT window_time AS wt, k, SUM(v) AS s, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, window_time, k;
SELECT window_start, window_end, COUNT(*), SUM(s), MAX(n) FROM TABLE(TUMBLE(TABLE u, DESCRIPTOR(wt), INTERVAL '20' SECOND)) GROUP BY window_start, window_end;
