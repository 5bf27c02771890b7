CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/sessions.json','format'='json');
CREATE VIEW u AS SELECT window_start AS ws, window_time AS wt, k, COUNT(*) AS n FROM TABLE(SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY window_start, window_end, window_time, k;
SELECT window_start, window_end, SUM(n), COUNT(*) FROM TABLE(TUMBLE(TABLE u, DESCRIPTOR(wt), INTERVAL '20' SECOND)) GROUP BY window_start, window_end;
