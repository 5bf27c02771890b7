CREATE TABLE t (id BIGINT, s STRING, p BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ticks.json','format'='json');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY s ORDER BY ts MEASURES SUM(A.p * 2 + 1) AS total, MAX(A.p - A.id) AS d AFTER MATCH SKIP PAST LAST ROW PATTERN (A+ B) DEFINE A AS A.p > 15, B AS B.p <= 15);
