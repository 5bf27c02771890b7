CREATE TABLE t (id INT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/sess.json','format'='json');
SELECT UPPER(k), SESSION_END(ts, INTERVAL '4' SECOND) AS e, COUNT(DISTINCT id) AS c FROM t WHERE v > 1 GROUP BY UPPER(k), SESSION(ts, INTERVAL '4' SECOND);
