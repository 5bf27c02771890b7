SET 'table.local-time-zone' = 'Europe/Berlin';
CREATE TABLE t (id BIGINT, v BIGINT, t BIGINT, rt AS TO_TIMESTAMP_LTZ(t, 3), WATERMARK FOR rt AS rt) WITH ('connector'='filesystem','path'='${DIR}/autumn.json','format'='json');
SELECT window_start, window_end, window_time, COUNT(*), SUM(v) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(rt), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, window_time;
