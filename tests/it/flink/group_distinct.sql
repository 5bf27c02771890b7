CREATE TABLE t (id INT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/sess.json','format'='json');
SELECT TUMBLE_ROWTIME(ts, INTERVAL '5' SECOND) AS r, COUNT(DISTINCT k), MAX(v), MIN(id) FROM t GROUP BY TUMBLE(ts, INTERVAL '5' SECOND);
