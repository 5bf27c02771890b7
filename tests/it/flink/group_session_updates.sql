CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/changing_events.json','format'='debezium-json');
SELECT k, SESSION_START(ts, INTERVAL '5' SECOND), COUNT(*), SUM(v), MIN(v), MAX(v) FROM t GROUP BY k, SESSION(ts, INTERVAL '5' SECOND);
