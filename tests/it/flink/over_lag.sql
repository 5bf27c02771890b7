CREATE TABLE t (k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/rows.json','format'='json');
SELECT k, v, ts, LAG(v) OVER (PARTITION BY k ORDER BY ts) AS before, LAG(v, 2, CAST(-1 AS BIGINT)) OVER (PARTITION BY k ORDER BY ts) AS before2 FROM t;
