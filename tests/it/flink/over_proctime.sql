CREATE TABLE t (id BIGINT, k STRING, v BIGINT, s STRING, p AS PROCTIME()) WITH ('connector'='filesystem','path'='${DIR}/events.json','format'='json');
SELECT id, SUM(v) OVER (PARTITION BY k ORDER BY p ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t;
