-- compare: refused
-- when built: rows
CREATE TABLE t (id BIGINT, s STRING, p BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ticks.json','format'='json');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY s ORDER BY ts MEASURES FIRST(U.id) AS a, LAST(U.id) AS z, COUNT(U.id) AS n, D.id AS d AFTER MATCH SKIP PAST LAST ROW PATTERN (U{3,} D) DEFINE U AS LAST(U.p, 1) IS NULL OR U.p >= LAST(U.p, 1), D AS D.p < LAST(U.p));
