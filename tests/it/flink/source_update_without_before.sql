-- compare: failure
CREATE TABLE t (id BIGINT, g STRING, v BIGINT) WITH ('connector'='filesystem','path'='${DIR}/update_without_before.json','format'='debezium-json');
SELECT id, v FROM t;
