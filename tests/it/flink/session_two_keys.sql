CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/sessions.json','format'='json');
CREATE VIEW u AS SELECT *, MOD(id, 2) AS m FROM t;
SELECT window_start, window_end, k, m, COUNT(*), SUM(v) FROM TABLE(SESSION(TABLE u PARTITION BY (k, m), DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY window_start, window_end, k, m;
