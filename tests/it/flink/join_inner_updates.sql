-- compare: changelog
CREATE TABLE t (side STRING, id BIGINT, k STRING, v BIGINT) WITH ('connector'='filesystem','path'='${DIR}/side_updates.json','format'='debezium-json');
CREATE VIEW l AS SELECT id, k, v FROM t WHERE side = 'l';
CREATE VIEW r AS SELECT id, k, v FROM t WHERE side = 'r';
SELECT l.id, l.k, l.v, r.id, r.k, r.v FROM l INNER JOIN r ON l.k = r.k AND l.v <> r.v;
