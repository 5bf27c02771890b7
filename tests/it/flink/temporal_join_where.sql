CREATE TABLE o (id BIGINT, k STRING, amount BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/orders.json','format'='json');
CREATE TABLE v (k STRING, rate BIGINT, vts TIMESTAMP(3), WATERMARK FOR vts AS vts - INTERVAL '2' SECOND, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector'='filesystem','path'='${DIR}/versions.json','format'='debezium-json');
SELECT o.id, o.amount * v.rate FROM o LEFT JOIN v FOR SYSTEM_TIME AS OF o.ts ON o.k = v.k WHERE v.rate < 120;
