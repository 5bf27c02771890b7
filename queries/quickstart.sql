-- Ten million auction-house events, counted by the window.
--
-- `nexmark` makes the events of the public Nexmark benchmark: persons, auctions, bids, 50,000 a second of event time, as
-- fast as they are taken. The query counts the bids of each minute and tells how many auctions they went to and the
-- highest price.
--
-- Expected: four rows, for three whole minutes with 2,760,000 bids each and a last one of 20 seconds with 920,000.
CREATE TABLE nexmark (
  event_type INT,
  person ROW<id BIGINT, name STRING, emailAddress STRING, creditCard STRING, city STRING, state STRING,
             `dateTime` TIMESTAMP(3), extra STRING>,
  auction ROW<id BIGINT, itemName STRING, description STRING, initialBid BIGINT, reserve BIGINT,
              `dateTime` TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING>,
  bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3), extra STRING>,
  `dateTime` AS CASE WHEN event_type = 0 THEN person.`dateTime`
                     WHEN event_type = 1 THEN auction.`dateTime`
                     ELSE bid.`dateTime` END,
  WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH (
  'connector' = 'nexmark',
  'events.num' = '10000000',
  'first-event.rate' = '50000',
  'next-event.rate' = '50000'
);

CREATE VIEW bids AS
SELECT bid.auction AS auction, bid.price AS price, `dateTime` FROM nexmark WHERE event_type = 2;

SELECT window_start, window_end, COUNT(*) AS bids, COUNT(DISTINCT auction) AS auctions, MAX(price) AS highest
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(`dateTime`), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end;
