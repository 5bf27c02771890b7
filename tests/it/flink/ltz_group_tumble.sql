SET 'table.local-time-zone' = 'America/New_York';
CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), rt AS CAST(ts AS TIMESTAMP_LTZ(3)), WATERMARK FOR rt AS rt - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ranked.json','format'='json');
SELECT k, TUMBLE_START(rt, INTERVAL '10' SECOND), TUMBLE_END(rt, INTERVAL '10' SECOND), TUMBLE_ROWTIME(rt, INTERVAL '10' SECOND), COUNT(*), SUM(v) FROM t GROUP BY k, TUMBLE(rt, INTERVAL '10' SECOND);
