CREATE TABLE t (id INT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/sess.json','format'='json');
CREATE TEMPORARY VIEW w AS SELECT window_start ws, window_end we, window_time wt, k, COUNT(*) AS c FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY window_start, window_end, window_time, k;
SELECT window_start, window_end, k, SUM(c) FROM TABLE(SESSION(TABLE w PARTITION BY k, DESCRIPTOR(wt), INTERVAL '5' SECOND)) GROUP BY window_start, window_end, k;
