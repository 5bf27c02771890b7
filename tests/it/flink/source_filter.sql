-- compare: changelog
CREATE TABLE t (id BIGINT, g STRING, v BIGINT, s STRING) WITH ('connector'='filesystem','path'='${DIR}/updates.json','format'='debezium-json');
SELECT id, g, v * 2 FROM t WHERE g = 'a' AND v > 3;
