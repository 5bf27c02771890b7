-- compare: refused
-- when built: rows
CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/sessions.json','format'='json');
SELECT SESSION_START(ts, INTERVAL '5' SECOND) AS s, COUNT(*), COUNT(v), COUNT(DISTINCT k) FROM t GROUP BY SESSION(ts, INTERVAL '5' SECOND);
