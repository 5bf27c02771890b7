CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/late.json','format'='json');
SELECT id, k, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts) FROM t;
