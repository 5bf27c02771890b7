-- Card fraud: a few small charges that try a card out and then a large one, and charges too far apart for any traveller.
--
-- Explained in docs/card_fraud.md.
CREATE TABLE charges (
  card STRING,
  amount DECIMAL(10, 2),
  merchant STRING,
  city STRING,
  lat DOUBLE,
  lon DOUBLE,
  ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE
) WITH ('connector' = 'filesystem', 'path' = 'queries/data/charges.json', 'format' = 'json');

SELECT *
FROM charges MATCH_RECOGNIZE (
  PARTITION BY card
  ORDER BY ts
  MEASURES
    FIRST(probe.ts) AS began,
    COUNT(probe.amount) AS probes,
    SUM(probe.amount) AS tried,
    hit.amount AS amount,
    hit.merchant AS merchant
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (probe{3,} hit) WITHIN INTERVAL '10' MINUTE
  DEFINE
    probe AS probe.amount < 5,
    hit AS hit.amount > 500
) AS fraud;

CREATE VIEW hops AS
SELECT card, city, ts, lat, lon,
       LAG(city) OVER w AS from_city, LAG(ts) OVER w AS from_ts, LAG(lat) OVER w AS from_lat, LAG(lon) OVER w AS from_lon
FROM charges
WINDOW w AS (PARTITION BY card ORDER BY ts);

CREATE VIEW travels AS
SELECT card, from_city, city, TIMESTAMPDIFF(MINUTE, from_ts, ts) AS minutes,
       CAST(6371 * ACOS(SIN(RADIANS(from_lat)) * SIN(RADIANS(lat))
                        + COS(RADIANS(from_lat)) * COS(RADIANS(lat)) * COS(RADIANS(lon - from_lon))) AS INT) AS km
FROM hops
WHERE from_city <> city;

SELECT card, from_city, city, minutes, km, km * 60 / minutes AS kmh
FROM travels
WHERE km > 50 AND km * 60 > 900 * minutes;
