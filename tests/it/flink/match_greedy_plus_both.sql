-- compare: refused
-- when built: rows
CREATE TABLE t (id BIGINT, s STRING, p BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ticks.json','format'='json');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY s ORDER BY ts MEASURES A.id AS a, FIRST(B.id) AS b1, LAST(B.id) AS b2, FIRST(C.id) AS c1, D.id AS d AFTER MATCH SKIP PAST LAST ROW PATTERN (A B+ C+ D) DEFINE B AS B.p > 11, C AS C.p > 15, D AS D.p < 15);
