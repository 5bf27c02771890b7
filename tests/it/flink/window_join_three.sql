CREATE TABLE t (side STRING, id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/window_sides.json','format'='json');
CREATE VIEW l AS SELECT id, k, v, ts FROM t WHERE side = 'l';
CREATE VIEW r AS SELECT id, k, v, ts FROM t WHERE side = 'r';
SELECT l.id, r.id, x.id, l.window_start FROM (SELECT * FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '10' SECOND))) l JOIN (SELECT * FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '10' SECOND))) r ON l.k = r.k AND l.window_start = r.window_start AND l.window_end = r.window_end JOIN (SELECT * FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '10' SECOND))) x ON l.k = x.k AND l.window_start = x.window_start AND l.window_end = x.window_end;
