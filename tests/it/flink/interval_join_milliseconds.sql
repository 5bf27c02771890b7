CREATE TABLE t (side STRING, id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH ('connector'='filesystem','path'='${DIR}/interval_sides.json','format'='json');
CREATE VIEW l AS SELECT id, k, v, ts FROM t WHERE side = 'l';
CREATE VIEW r AS SELECT id, k, v, ts FROM t WHERE side = 'r';
SELECT l.id, r.id FROM l JOIN r ON l.k = r.k AND r.ts >= l.ts - INTERVAL '0.500' SECOND(1, 3) AND r.ts < l.ts + INTERVAL '2.001' SECOND(1, 3);
