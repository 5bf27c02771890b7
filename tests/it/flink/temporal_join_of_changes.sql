-- compare: refused
-- when built: changelog
CREATE TABLE p (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/changing_events.json','format'='debezium-json');
CREATE TABLE v (k STRING, rate BIGINT, vts TIMESTAMP(3), WATERMARK FOR vts AS vts - INTERVAL '2' SECOND, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector'='filesystem','path'='${DIR}/versions.json','format'='debezium-json');
SELECT p.id, p.k, p.v, v.rate FROM p LEFT JOIN v FOR SYSTEM_TIME AS OF p.ts ON p.k = v.k;
