-- compare: table
CREATE TABLE t (side STRING, id BIGINT, k STRING, v BIGINT) WITH ('connector'='filesystem','path'='${DIR}/side_deltas.json','format'='debezium-json');
CREATE VIEW l AS SELECT id, k, v FROM t WHERE side = 'l';
CREATE VIEW r AS SELECT id, k, v FROM t WHERE side = 'r';
SELECT l.id, r.id, x.id FROM l JOIN r ON l.k = r.k LEFT JOIN (SELECT id, v FROM t WHERE side = 'r') x ON l.v = x.v;
