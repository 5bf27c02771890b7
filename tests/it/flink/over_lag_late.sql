CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/late.json','format'='json');
SELECT id, k, LAG(v) OVER w, LAG(v, 2) OVER w, LAG(v, 1, CAST(-1 AS BIGINT)) OVER w FROM t WHERE id <> 12 WINDOW w AS (PARTITION BY k ORDER BY ts);
