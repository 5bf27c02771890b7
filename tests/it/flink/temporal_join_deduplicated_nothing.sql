CREATE TABLE t (side STRING, id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/nothing.json','format'='json');
CREATE VIEW p AS SELECT id, k, v, ts FROM t WHERE side = 'p';
CREATE VIEW c AS SELECT id, k, v, ts FROM t WHERE side = 'v';
CREATE VIEW v AS SELECT id, k, v, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS rn FROM c) WHERE rn = 1;
SELECT p.id, v.id FROM p LEFT JOIN v FOR SYSTEM_TIME AS OF p.ts ON p.k = v.k;
