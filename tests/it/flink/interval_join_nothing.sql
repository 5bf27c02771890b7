CREATE TABLE t (side STRING, id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/nothing.json','format'='json');
CREATE VIEW l AS SELECT id, k, v, ts FROM t WHERE side = 'l';
CREATE VIEW r AS SELECT id, k, v, ts FROM t WHERE side = 'r';
SELECT l.id, r.id FROM l FULL JOIN r ON l.k = r.k AND r.ts BETWEEN l.ts - INTERVAL '5' SECOND AND l.ts + INTERVAL '2' SECOND;
