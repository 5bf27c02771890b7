SET 'table.local-time-zone' = 'America/New_York';
CREATE TABLE t (id BIGINT, s STRING, p BIGINT, ts TIMESTAMP(3), rt AS CAST(ts AS TIMESTAMP_LTZ(3)), WATERMARK FOR rt AS rt - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ticks.json','format'='json');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY s ORDER BY rt MEASURES A.id AS a, B.rt AS brt, MATCH_ROWTIME() AS mt AFTER MATCH SKIP PAST LAST ROW PATTERN (A B) DEFINE B AS B.p > A.p);
