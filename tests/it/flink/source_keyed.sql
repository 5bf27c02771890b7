-- compare: changelog
SET 'table.exec.source.cdc-events-duplicate' = 'true';
CREATE TABLE t (id BIGINT, g STRING, v BIGINT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector'='filesystem','path'='${DIR}/keyed.json','format'='debezium-json');
SELECT id, g, v FROM t;
