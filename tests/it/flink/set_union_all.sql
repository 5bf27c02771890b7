-- compare: changelog
CREATE TABLE t (side STRING, id BIGINT, k STRING, v BIGINT) WITH ('connector'='filesystem','path'='${DIR}/side_updates.json','format'='debezium-json');
CREATE VIEW l AS SELECT id, k, v FROM t WHERE side = 'l';
CREATE VIEW r AS SELECT id, k, v FROM t WHERE side = 'r';
SELECT id, v FROM l WHERE v > 1 UNION ALL SELECT v, id FROM r;
