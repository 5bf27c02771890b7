CREATE TABLE t (id BIGINT, k STRING, v BIGINT, s STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/events.json','format'='json');
SELECT id, k, v, SUM(v) OVER w, COUNT(*) OVER w, MIN(v) OVER w, AVG(v) OVER w FROM t WINDOW w AS (PARTITION BY k ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW);
