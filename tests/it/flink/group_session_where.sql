CREATE TABLE t (id INT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/sess.json','format'='json');
SELECT k, SESSION_START(ts, INTERVAL '4' SECOND) AS s, COUNT(*) FROM t WHERE v <> 16 GROUP BY k, SESSION(ts, INTERVAL '4' SECOND);
