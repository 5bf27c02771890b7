-- compare: table
CREATE TABLE t (id BIGINT, k STRING, v BIGINT, s STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/events.json','format'='json');
SELECT x, COUNT(*), MAX(id) FROM (SELECT id, COUNT(*) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS x FROM t) GROUP BY x;
