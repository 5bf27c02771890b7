-- compare: changelog
CREATE TABLE t (side STRING, id BIGINT, k STRING, v BIGINT) WITH ('connector'='filesystem','path'='${DIR}/side_updates.json','format'='debezium-json');
CREATE VIEW l AS SELECT id, k, v FROM t WHERE side = 'l';
CREATE VIEW r AS SELECT id, k, v FROM t WHERE side = 'r';
SELECT id, k, v FROM l WHERE k NOT IN (SELECT k FROM r WHERE v > 6);
