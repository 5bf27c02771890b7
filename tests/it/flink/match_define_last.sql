-- compare: refused
-- when built: rows
CREATE TABLE t (id BIGINT, s STRING, p BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ticks.json','format'='json');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY s ORDER BY ts MEASURES FIRST(A.id) AS a, LAST(A.id) AS z AFTER MATCH SKIP PAST LAST ROW PATTERN (A+ B) DEFINE A AS LAST(A.p, 1) IS NULL OR A.p > LAST(A.p, 1), B AS B.p < LAST(A.p));
