CREATE TABLE t (id BIGINT, g STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector'='filesystem','path'='${DIR}/timed_deltas.json','format'='debezium-json');
SELECT window_start, FIRST_VALUE(v), LAST_VALUE(v), LISTAGG(g) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY window_start, window_end;
