SET 'table.local-time-zone' = 'Asia/Kathmandu';
CREATE TABLE t (k STRING, v BIGINT, t BIGINT, rt AS TO_TIMESTAMP_LTZ(t, 3), WATERMARK FOR rt AS rt - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/rows.json','format'='json');
SELECT window_start, window_end, COUNT(*), SUM(v) FROM TABLE(CUMULATE(TABLE t, DESCRIPTOR(rt), INTERVAL '6' HOUR, INTERVAL '1' DAY)) GROUP BY window_start, window_end;
