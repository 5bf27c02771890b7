SET 'table.local-time-zone' = 'Europe/Berlin';
CREATE TABLE t (id BIGINT, v BIGINT, t BIGINT, rt AS TO_TIMESTAMP_LTZ(t, 3), WATERMARK FOR rt AS rt) WITH ('connector'='filesystem','path'='${DIR}/autumn.json','format'='json');
SELECT x.id, y.id FROM t x JOIN t y ON x.rt > y.rt AND x.rt < y.rt + INTERVAL '31' MINUTE;
