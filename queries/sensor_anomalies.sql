-- Sensor anomalies: minutes in which a sensor's readings lie further apart than a house can change.
--
-- Readings come up to ten seconds out of order; one comes two minutes late, when its minute is closed, and is dropped.
--
-- Expected: one row, the boiler's minute from 08:01, with 63 to 91 degrees and the verdict 'severe'. The late reading of
-- the attic (55 degrees at 08:00:20) raises no alarm.
CREATE TABLE readings (
  sensor STRING,
  celsius DOUBLE,
  ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '10' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'queries/data/sensors.json', 'format' = 'json');

SELECT sensor, window_start, COUNT(*) AS readings, MIN(celsius) AS lowest, MAX(celsius) AS highest,
       CASE WHEN MAX(celsius) - MIN(celsius) > 20 THEN 'severe' ELSE 'suspicious' END AS verdict
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY sensor, window_start, window_end
HAVING MAX(celsius) - MIN(celsius) > 5;
