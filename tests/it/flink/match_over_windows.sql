-- compare: refused
-- when built: rows
CREATE TABLE t (id BIGINT, s STRING, p BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ticks.json','format'='json');
SELECT * FROM (SELECT s, SUM(p) AS p, window_time AS ts FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '3' SECOND)) GROUP BY s, window_start, window_end, window_time) MATCH_RECOGNIZE (PARTITION BY s ORDER BY ts MEASURES A.p AS a, B.p AS b, B.ts AS bts AFTER MATCH SKIP PAST LAST ROW PATTERN (A B) DEFINE B AS B.p < A.p);
