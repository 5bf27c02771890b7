CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/sessions.json','format'='json');
SELECT k, SESSION_END(ts, INTERVAL '5' SECOND), SUM(v) FROM t GROUP BY SESSION(ts, INTERVAL '5' SECOND), k HAVING SUM(v) > 6;
