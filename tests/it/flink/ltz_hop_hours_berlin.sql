SET 'table.local-time-zone' = 'Europe/Berlin';
CREATE TABLE t (k STRING, v BIGINT, t BIGINT, rt AS TO_TIMESTAMP_LTZ(t, 3), WATERMARK FOR rt AS rt - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/rows.json','format'='json');
SELECT window_start, window_end, COUNT(*), SUM(v) FROM TABLE(HOP(TABLE t, DESCRIPTOR(rt), INTERVAL '1' HOUR, INTERVAL '2' HOUR)) GROUP BY window_start, window_end;
