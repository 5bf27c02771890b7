CREATE TABLE t (side STRING, id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH ('connector'='filesystem','path'='${DIR}/interval_sides.json','format'='json');
CREATE VIEW l AS SELECT id, k, v, ts FROM t WHERE side = 'l';
CREATE VIEW r AS SELECT id, k, v, ts FROM t WHERE side = 'r';
CREATE VIEW j AS SELECT l.id AS lid, r.id AS rid, l.ts AS ts, l.k AS k FROM l JOIN r ON l.k = r.k AND r.ts BETWEEN l.ts - INTERVAL '5' SECOND AND l.ts + INTERVAL '2' SECOND;
SELECT j.lid, j.rid, x.id FROM j JOIN l x ON j.k = x.k AND x.ts BETWEEN j.ts - INTERVAL '3' SECOND AND j.ts;
