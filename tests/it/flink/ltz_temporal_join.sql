SET 'table.local-time-zone' = 'America/New_York';
CREATE TABLE t (side STRING, id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), rt AS CAST(ts AS TIMESTAMP_LTZ(3)), WATERMARK FOR rt AS rt - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/versioned_sides.json','format'='json');
CREATE VIEW p AS SELECT id, k, v, rt AS ts FROM t WHERE side = 'p';
CREATE VIEW c AS SELECT id, k, v, rt AS ts FROM t WHERE side = 'v';
CREATE VIEW v AS SELECT id, k, v, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS rn FROM c) WHERE rn = 1;
SELECT p.id, p.ts, v.id, v.ts FROM p LEFT JOIN v FOR SYSTEM_TIME AS OF p.ts ON p.k = v.k WHERE p.k IS NOT NULL;
