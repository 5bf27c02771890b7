-- Personalisation: what a visitor looked at in a session, joined with the catalogue as it is now.
-- Expected: queries/expected/personalisation.txt; docs/personalisation.md explains it.
CREATE TABLE looks (
  visitor STRING,
  item INT,
  ts TIMESTAMP(3),
  seen_at AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE
) WITH ('connector' = 'filesystem', 'path' = 'queries/data/looks.json', 'format' = 'json');

CREATE TABLE catalogue (item INT, name STRING, category STRING, price INT)
WITH ('connector' = 'filesystem', 'path' = 'queries/data/catalogue.csv', 'format' = 'csv');

-- Each look with its item; what has left the catalogue is not suggested again.
CREATE VIEW described AS
SELECT l.visitor, l.ts, c.name, c.category, c.price
FROM looks AS l
JOIN catalogue FOR SYSTEM_TIME AS OF l.seen_at AS c ON l.item = c.item;

-- When a visitor has been quiet for ten minutes, the session says what to greet them with the next time.
SELECT visitor, window_start, window_end, category, COUNT(*) AS looks, MAX(price) AS dearest
FROM TABLE(SESSION(TABLE described PARTITION BY visitor, category, DESCRIPTOR(ts), INTERVAL '10' MINUTE))
GROUP BY visitor, category, window_start, window_end;
