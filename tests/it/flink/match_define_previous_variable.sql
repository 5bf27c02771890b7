CREATE TABLE t (id BIGINT, s STRING, p BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ticks.json','format'='json');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY s ORDER BY ts MEASURES A.p AS ap, B.p AS bp, C.p AS cp, C.id AS c AFTER MATCH SKIP PAST LAST ROW PATTERN (A B+ C) DEFINE B AS B.p > A.p, C AS C.p < A.p);
