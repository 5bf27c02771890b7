-- Shop counters: each department's sales of the day so far, hour by hour.
--
-- CUMULATE gives windows that all begin at midnight and end an hour later each; a department shows from its first sale
-- on, and up to the end of the day.
--
-- Expected for books: at 10:00 two sales of 19.75, at 11:00 four of 44.75, from 12:00 on five of 55.85. The sale of 08:59
-- comes when 09:00 and 10:00 are counted already: it is missing there and found in the counters from 11:00 on.
CREATE TABLE sales (
  department STRING,
  amount DECIMAL(10, 2),
  ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '10' MINUTE
) WITH ('connector' = 'filesystem', 'path' = 'queries/data/sales.csv', 'format' = 'csv');

SELECT department, window_end AS up_to, COUNT(*) AS sales, SUM(amount) AS amount
FROM TABLE(CUMULATE(TABLE sales, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '1' DAY))
GROUP BY department, window_start, window_end;
