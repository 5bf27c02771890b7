-- compare: refused
-- when built: rows
CREATE TABLE t (id BIGINT, s STRING, p BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ticks.json','format'='json');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY s ORDER BY ts MEASURES COUNT(A.p) AS n, COUNT(*) AS cnt, SUM(A.p) AS total, AVG(A.p) AS av, MIN(A.p) AS mi, MAX(A.p) AS ma, COUNT(A.id) AS ids AFTER MATCH SKIP PAST LAST ROW PATTERN (A+ B) DEFINE A AS A.p > 15 OR A.p IS NULL, B AS B.p <= 15);
