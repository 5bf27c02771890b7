-- A smart home: readings that leave their sensor's usual range, and sensors that have gone silent.
--
-- Explained in docs/smart_home.md.
CREATE TABLE readings (
  sensor STRING,
  celsius DOUBLE,
  ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE
) WITH ('connector' = 'filesystem', 'path' = 'queries/data/home.json', 'format' = 'json');

CREATE VIEW rolling AS
SELECT sensor, ts, celsius, COUNT(*) OVER w AS n, AVG(celsius) OVER w AS mean
FROM readings
WINDOW w AS (PARTITION BY sensor ORDER BY ts ROWS BETWEEN 8 PRECEDING AND CURRENT ROW);

SELECT sensor, ts, celsius, ROUND(mean, 2) AS mean, ROUND(celsius - mean, 2) AS deviation
FROM rolling
WHERE n >= 5 AND ABS(celsius - mean) > 2;

SELECT a.sensor, a.ts AS last_heard, a.celsius
FROM readings a
LEFT JOIN readings b ON a.sensor = b.sensor AND b.ts > a.ts AND b.ts <= a.ts + INTERVAL '5' MINUTE
WHERE b.sensor IS NULL
ORDER BY a.ts, a.sensor;

SELECT sensor, window_start AS awake, window_end - INTERVAL '5' MINUTE AS last_heard, COUNT(*) AS readings
FROM TABLE(SESSION(TABLE readings PARTITION BY sensor, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
GROUP BY sensor, window_start, window_end;
