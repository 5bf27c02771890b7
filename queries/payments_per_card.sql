-- Payments per card: what each card spent in five minutes, and from that the busiest five minutes of each hour.
--
-- A window over windows: the second one takes the first one's `window_time` as its time, under another name, since the
-- second one's columns carry the same names. Payments come up to 15 seconds out of order; one of 5000.00 comes when its
-- five minutes are closed, and is dropped.
--
-- Expected:
--   1111  3 windows, busiest 37.40, in all 65.30
--   2222  2 windows, busiest 2450.00, in all 2490.00, to be looked at
CREATE TABLE payments (
  card STRING,
  amount DECIMAL(10, 2),
  country STRING,
  ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '15' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'queries/data/payments.json', 'format' = 'json');

CREATE VIEW five_minutes AS
SELECT card, window_time AS rowtime, SUM(amount) AS amount, COUNT(DISTINCT country) AS countries
FROM TABLE(TUMBLE(TABLE payments, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
GROUP BY card, window_start, window_end, window_time;

SELECT card, window_start, COUNT(*) AS windows, MAX(amount) AS busiest, SUM(amount) AS amount,
       CASE WHEN MAX(amount) > 1000 AND MAX(countries) > 1 THEN 'look at it' ELSE 'fine' END AS verdict
FROM TABLE(TUMBLE(TABLE five_minutes, DESCRIPTOR(rowtime), INTERVAL '1' HOUR))
GROUP BY card, window_start, window_end;
