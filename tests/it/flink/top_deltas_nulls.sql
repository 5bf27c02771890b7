-- compare: changelog
CREATE TABLE t (id BIGINT, g STRING, v BIGINT, s STRING) WITH ('connector'='filesystem','path'='${DIR}/deltas.json','format'='debezium-json');
SELECT id, v, s FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY v DESC NULLS FIRST, s NULLS LAST) AS rn FROM (SELECT * FROM t WHERE id <> 5)) WHERE rn <= 3;
