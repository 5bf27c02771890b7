SET 'table.local-time-zone' = 'Europe/Berlin';
CREATE TABLE t (id BIGINT, v BIGINT, t BIGINT, rt AS TO_TIMESTAMP_LTZ(t, 3), WATERMARK FOR rt AS rt) WITH ('connector'='filesystem','path'='${DIR}/autumn.json','format'='json');
SELECT TUMBLE_START(rt, INTERVAL '1' HOUR), TUMBLE_END(rt, INTERVAL '1' HOUR), TUMBLE_ROWTIME(rt, INTERVAL '1' HOUR), COUNT(*), SUM(v) FROM t GROUP BY TUMBLE(rt, INTERVAL '1' HOUR);
