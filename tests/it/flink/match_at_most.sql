CREATE TABLE t (id BIGINT, s STRING, p BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ticks.json','format'='json');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY s ORDER BY ts MEASURES B.id AS b, LAST(A.id) AS z, C.id AS c AFTER MATCH SKIP PAST LAST ROW PATTERN (B A{0,2} C) DEFINE B AS B.p <= 15, A AS A.p > 15, C AS C.p <= 15);
