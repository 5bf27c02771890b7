-- compare: failure
CREATE TABLE t (id BIGINT, g STRING, v BIGINT) WITH ('connector'='filesystem','path'='${DIR}/unknown_op.json','format'='debezium-json');
SELECT id, v FROM t;
