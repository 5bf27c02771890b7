-- compare: changelog
CREATE TABLE t (id BIGINT, g STRING, v BIGINT) WITH ('connector'='filesystem','path'='${DIR}/with_schema.json','format'='debezium-json','debezium-json.schema-include'='true');
SELECT id, g, v FROM t;
