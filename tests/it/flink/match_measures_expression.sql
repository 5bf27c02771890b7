-- compare: refused
-- when built: rows
CREATE TABLE t (id BIGINT, s STRING, p BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ticks.json','format'='json');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY s ORDER BY ts MEASURES UPPER(A.s) || '-' || CAST(B.id AS STRING) AS label, B.p - A.p AS up, TIMESTAMPDIFF(SECOND, A.ts, B.ts) AS secs, CASE WHEN B.p > 20 THEN 'high' ELSE 'low' END AS level AFTER MATCH SKIP PAST LAST ROW PATTERN (A B) DEFINE B AS B.p > A.p);
