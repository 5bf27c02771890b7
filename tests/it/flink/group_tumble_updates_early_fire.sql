-- compare: changelog
SET 'table.exec.emit.early-fire.enabled' = 'true';
SET 'table.exec.emit.early-fire.delay' = '0 s';
CREATE TABLE t (id BIGINT, g STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/timed_deltas.json','format'='debezium-json');
SELECT TUMBLE_START(ts, INTERVAL '5' SECOND), g, COUNT(*), SUM(v) FROM t GROUP BY TUMBLE(ts, INTERVAL '5' SECOND), g;
