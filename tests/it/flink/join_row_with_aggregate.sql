-- compare: table
CREATE TABLE t (side STRING, id BIGINT, k STRING, v BIGINT) WITH ('connector'='filesystem','path'='${DIR}/side_deltas.json','format'='debezium-json');
CREATE VIEW l AS SELECT id, k, v FROM t WHERE side = 'l';
CREATE VIEW r AS SELECT id, k, v FROM t WHERE side = 'r';
SELECT l.id, l.v, b.m FROM l LEFT JOIN (SELECT k, SUM(v) AS m FROM r GROUP BY k) b ON l.k = b.k AND l.v <= b.m;
