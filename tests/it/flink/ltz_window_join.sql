SET 'table.local-time-zone' = 'America/New_York';
CREATE TABLE t (side STRING, id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), rt AS CAST(ts AS TIMESTAMP_LTZ(3)), WATERMARK FOR rt AS rt - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/window_sides.json','format'='json');
CREATE VIEW l AS SELECT id, k, v, rt AS ts FROM t WHERE side = 'l';
CREATE VIEW r AS SELECT id, k, v, rt AS ts FROM t WHERE side = 'r';
SELECT l.id, r.id, l.window_start, r.window_end, l.window_time FROM (SELECT * FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '10' SECOND))) l FULL JOIN (SELECT * FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '10' SECOND))) r ON l.k = r.k AND l.window_start = r.window_start AND l.window_end = r.window_end;
