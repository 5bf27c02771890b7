CREATE TABLE t (id BIGINT, s STRING, p BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ticks.json','format'='json');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY s ORDER BY ts MEASURES FIRST(A.id) AS a, FIRST(D.id) AS d, LAST(D.id) AS e, U.id AS u AFTER MATCH SKIP TO U PATTERN (A D+ U) DEFINE D AS D.p < 19, U AS U.p >= 19);
