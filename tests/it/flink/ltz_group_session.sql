SET 'table.local-time-zone' = 'Asia/Kathmandu';
CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), rt AS CAST(ts AS TIMESTAMP_LTZ(3)), WATERMARK FOR rt AS rt - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/sessions.json','format'='json');
SELECT k, SESSION_START(rt, INTERVAL '5' SECOND), SESSION_END(rt, INTERVAL '5' SECOND), COUNT(*) FROM t GROUP BY k, SESSION(rt, INTERVAL '5' SECOND);
