CREATE TABLE t (id INT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/sess.json','format'='json');
SELECT x.k, TUMBLE_END(x.ts, INTERVAL '5' SECOND) AS e, COUNT(*) FROM t AS x GROUP BY x.k, TUMBLE(x.ts, INTERVAL '5' SECOND);
