-- compare: changelog
CREATE TABLE t (id BIGINT, k STRING, v BIGINT, s STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/events.json','format'='json');
SELECT k, s, GROUPING_ID(k, s), COUNT(*), MIN(v) FROM t GROUP BY ROLLUP (k, s);
