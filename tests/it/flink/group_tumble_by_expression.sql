CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ranked.json','format'='json');
SELECT UPPER(k), v > 4, COUNT(*), TUMBLE_START(ts, INTERVAL '5' SECOND) FROM t GROUP BY UPPER(k), v > 4, TUMBLE(ts, INTERVAL '5' SECOND);
