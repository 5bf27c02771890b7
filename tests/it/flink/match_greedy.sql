CREATE TABLE t (id BIGINT, s STRING, p BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ticks.json','format'='json');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY s ORDER BY ts MEASURES A.id AS a, LAST(B.id) AS b, C.id AS c AFTER MATCH SKIP PAST LAST ROW PATTERN (A B* C) DEFINE A AS A.p > 10, B AS B.p > 10, C AS C.p > 12);
