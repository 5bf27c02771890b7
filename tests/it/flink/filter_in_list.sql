CREATE TABLE t (id BIGINT, k STRING, v BIGINT, s STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/events.json','format'='json');
SELECT id, k, v FROM t WHERE k IN ('a', NULL) OR v NOT IN (3, 7) OR (k NOT IN ('b', NULL) AND v = 3);
