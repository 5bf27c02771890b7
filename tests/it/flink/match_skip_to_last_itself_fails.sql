-- compare: failure
CREATE TABLE t (id BIGINT, s STRING, p BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ticks.json','format'='json');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY s ORDER BY ts MEASURES FIRST(A.id) AS a, LAST(A.id) AS z AFTER MATCH SKIP TO FIRST A PATTERN (A+ B) DEFINE A AS A.p > 15, B AS B.p <= 15);
