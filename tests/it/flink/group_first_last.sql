CREATE TABLE t (id INT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/sess.json','format'='json');
SELECT k, FIRST_VALUE(id), LAST_VALUE(id) FROM t GROUP BY k, TUMBLE(ts, INTERVAL '4' SECOND);
