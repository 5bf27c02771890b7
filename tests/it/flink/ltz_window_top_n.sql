SET 'table.local-time-zone' = 'Asia/Kathmandu';
CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), rt AS CAST(ts AS TIMESTAMP_LTZ(3)), WATERMARK FOR rt AS rt - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ranked.json','format'='json');
SELECT id, k, v, window_start, window_time, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY v DESC, id) AS rn FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(rt), INTERVAL '10' SECOND))) WHERE rn <= 2;
