-- compare: refused
-- when built: rows
CREATE TABLE t (id BIGINT, s STRING, p BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ticks.json','format'='json');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY s ORDER BY ts MEASURES A.id AS a, LAST(B.id) AS b, COUNT(B.id) AS n, SUM(B.p) AS total, C.id AS c AFTER MATCH SKIP PAST LAST ROW PATTERN (A B* C) DEFINE A AS A.p > 20, B AS B.p > 1000, C AS C.p > 0);
