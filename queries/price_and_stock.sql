-- Prices and stock: alerts on a drop and on a slide, and the hours that the stock lasts at the present rate.
--
-- Explained in docs/price_and_stock.md.
CREATE TABLE prices (
  item STRING,
  price DECIMAL(10, 2),
  ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE
) WITH ('connector' = 'filesystem', 'path' = 'queries/data/prices.json', 'format' = 'json');

SELECT item, ts, before_price, price
FROM (SELECT item, ts, price, LAG(price) OVER (PARTITION BY item ORDER BY ts) AS before_price FROM prices)
WHERE price < before_price * 0.9;

SELECT *
FROM prices MATCH_RECOGNIZE (
  PARTITION BY item
  ORDER BY ts
  MEASURES
    top.price AS from_price,
    LAST(fall.price) AS to_price,
    COUNT(fall.price) AS falls,
    up.ts AS recovered
  AFTER MATCH SKIP TO up
  PATTERN (top fall{3,} up)
  DEFINE
    fall AS (LAST(fall.price, 1) IS NULL AND fall.price < top.price) OR fall.price < LAST(fall.price, 1),
    up AS up.price > LAST(fall.price)
) AS slides;

CREATE TABLE stock (
  item STRING,
  change INT,
  ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '30' MINUTE
) WITH ('connector' = 'filesystem', 'path' = 'queries/data/stock.json', 'format' = 'json');

CREATE VIEW levels AS
SELECT item, ts, change, SUM(change) OVER (PARTITION BY item ORDER BY ts) AS left_over FROM stock;

CREATE VIEW rates AS
SELECT item, ts, left_over,
       SUM(CASE WHEN change < 0 THEN -change ELSE 0 END)
         OVER (PARTITION BY item ORDER BY ts RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW) AS sold_last_hour
FROM levels;

SELECT item, ts, left_over, sold_last_hour, left_over * 60 / sold_last_hour AS minutes_left
FROM rates
WHERE sold_last_hour > 0 AND left_over < 2 * sold_last_hour;
