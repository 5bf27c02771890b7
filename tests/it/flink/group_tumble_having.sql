CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ranked.json','format'='json');
SELECT k, TUMBLE_END(ts, INTERVAL '10' SECOND), SUM(v) FROM t GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), k HAVING SUM(v) > 6;
