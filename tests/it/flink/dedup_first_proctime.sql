CREATE TABLE t (id BIGINT, k STRING, v BIGINT, s STRING, p AS PROCTIME()) WITH ('connector'='filesystem','path'='${DIR}/events.json','format'='json');
SELECT id, k, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY p) AS rn FROM t) WHERE rn = 1;
