-- compare: table
CREATE TABLE t (side STRING, id BIGINT, k STRING, v BIGINT) WITH ('connector'='filesystem','path'='${DIR}/side_updates.json','format'='debezium-json');
CREATE VIEW l AS SELECT id, k, v FROM t WHERE side = 'l';
CREATE VIEW r AS SELECT id, k, v FROM t WHERE side = 'r';
SELECT a.k, a.n, b.m FROM (SELECT k, COUNT(*) AS n FROM l GROUP BY k) a FULL JOIN (SELECT k, MAX(v) AS m FROM r GROUP BY k) b ON a.k = b.k;
