CREATE TABLE t (side STRING, id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/versioned_sides.json','format'='json');
CREATE VIEW p AS SELECT id, k, v, ts FROM t WHERE side = 'p';
CREATE VIEW c AS SELECT id, k, v, ts FROM t WHERE side = 'v';
CREATE VIEW v AS SELECT id, k, v, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS rn FROM c) WHERE rn = 1;
SELECT j.pid, j.x, q.id FROM (SELECT p.id AS pid, v.v AS x, p.k AS k, p.ts AS ts FROM p JOIN v FOR SYSTEM_TIME AS OF p.ts ON p.k = v.k) j JOIN p q ON j.k = q.k AND q.ts BETWEEN j.ts - INTERVAL '1' SECOND AND j.ts + INTERVAL '1' SECOND;
