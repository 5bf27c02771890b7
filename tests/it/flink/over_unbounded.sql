CREATE TABLE t (k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/rows.json','format'='json');
SELECT k, v, ts, SUM(v) OVER w AS s, COUNT(*) OVER w AS n, MIN(v) OVER w AS least, FIRST_VALUE(v) OVER w AS f, LAST_VALUE(v) OVER w AS l FROM t WINDOW w AS (PARTITION BY k ORDER BY ts);
