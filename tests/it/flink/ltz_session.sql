SET 'table.local-time-zone' = 'America/New_York';
CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), rt AS CAST(ts AS TIMESTAMP_LTZ(3)), WATERMARK FOR rt AS rt - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/sessions.json','format'='json');
SELECT window_start, window_end, window_time, k, COUNT(*), SUM(v) FROM TABLE(SESSION(TABLE t PARTITION BY k, DESCRIPTOR(rt), INTERVAL '5' SECOND)) GROUP BY window_start, window_end, window_time, k;
