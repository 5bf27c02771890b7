-- compare: refused
-- when built: rows
CREATE TABLE t (id BIGINT, s STRING, p BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/ticks.json','format'='json');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY s ORDER BY ts MEASURES A.id AS first_id, LAST(D.id) AS bottom, LAST(D.p) AS low, U.id AS last_id ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (A D+ U) DEFINE D AS (LAST(D.p, 1) IS NULL AND D.p < A.p) OR D.p < LAST(D.p, 1), U AS U.p > LAST(D.p));
