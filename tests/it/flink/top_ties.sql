-- compare: table
CREATE TABLE t (id BIGINT, g STRING, v BIGINT, s STRING) WITH ('connector'='filesystem','path'='${DIR}/deltas.json','format'='debezium-json');
SELECT g, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY g ORDER BY v) AS rn FROM (SELECT id, g, COALESCE(v, 5) AS v FROM t)) WHERE rn <= 2;
