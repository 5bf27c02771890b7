-- compare: table
SET 'table.exec.emit.late-fire.enabled' = 'true';
SET 'table.exec.emit.late-fire.delay' = '0 s';
SET 'table.exec.emit.allow-lateness' = '10 s';
CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/lateness.json','format'='json');
CREATE VIEW w AS SELECT TUMBLE_ROWTIME(ts, INTERVAL '5' SECOND) r, COUNT(*) c FROM t GROUP BY TUMBLE(ts, INTERVAL '5' SECOND);
SELECT TUMBLE_START(r, INTERVAL '10' SECOND), COUNT(*), SUM(c) FROM w GROUP BY TUMBLE(r, INTERVAL '10' SECOND);
