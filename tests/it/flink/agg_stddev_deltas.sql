-- compare: table
CREATE TABLE t (id BIGINT, g STRING, v BIGINT, s STRING) WITH ('connector'='filesystem','path'='${DIR}/deltas.json','format'='debezium-json');
SELECT g, STDDEV_POP(CAST(v AS DOUBLE)), STDDEV_SAMP(CAST(v AS DOUBLE)), VAR_POP(CAST(v AS DOUBLE)), VAR_SAMP(CAST(v AS DOUBLE)) FROM t GROUP BY g;
