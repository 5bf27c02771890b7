CREATE TABLE t (side STRING, id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/window_sides.json','format'='json');
CREATE VIEW l AS SELECT id, k, v, ts FROM t WHERE side = 'l';
CREATE VIEW r AS SELECT id, k, v, ts FROM t WHERE side = 'r';
SELECT l.k, l.n, r.id, l.window_start FROM (SELECT k, window_start, window_end, COUNT(*) AS n, SUM(v) AS s FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end) l LEFT JOIN (SELECT * FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '10' SECOND))) r ON l.k = r.k AND l.window_start = r.window_start AND l.window_end = r.window_end;
