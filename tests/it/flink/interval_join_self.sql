CREATE TABLE t (side STRING, id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH ('connector'='filesystem','path'='${DIR}/interval_sides.json','format'='json');
CREATE VIEW l AS SELECT id, k, v, ts FROM t WHERE side = 'l';
CREATE VIEW r AS SELECT id, k, v, ts FROM t WHERE side = 'r';
SELECT x.id, y.id, x.ts, y.ts FROM l x JOIN l y ON x.k = y.k AND y.ts BETWEEN x.ts - INTERVAL '4' SECOND AND x.ts AND x.id <> y.id;
