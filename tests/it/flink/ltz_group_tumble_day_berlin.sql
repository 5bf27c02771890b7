SET 'table.local-time-zone' = 'Europe/Berlin';
CREATE TABLE t (k STRING, v BIGINT, t BIGINT, rt AS TO_TIMESTAMP_LTZ(t, 3), WATERMARK FOR rt AS rt - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/rows.json','format'='json');
SELECT TUMBLE_START(rt, INTERVAL '1' DAY), TUMBLE_END(rt, INTERVAL '1' DAY), COUNT(*), SUM(v) FROM t GROUP BY TUMBLE(rt, INTERVAL '1' DAY);
