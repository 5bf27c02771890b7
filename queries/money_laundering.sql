-- Money laundering: deposits kept below the sum that must be reported, and money that comes from many and leaves to many.
--
-- Explained in docs/money_laundering.md.
CREATE TABLE transfers (
  id BIGINT,
  payer STRING,
  payee STRING,
  amount BIGINT,
  ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '6' HOUR
) WITH ('connector' = 'filesystem', 'path' = 'queries/data/bank_transfers.json', 'format' = 'json');

SELECT account, ts, deposits, total
FROM (
  SELECT payee AS account, ts, COUNT(*) OVER w AS deposits, SUM(amount) OVER w AS total
  FROM transfers
  WHERE payer = 'cash' AND amount < 10000
  WINDOW w AS (PARTITION BY payee ORDER BY ts RANGE BETWEEN INTERVAL '2' DAY PRECEDING AND CURRENT ROW)
)
WHERE deposits >= 2 AND total >= 10000;

CREATE VIEW incoming AS
SELECT payee AS account, window_start, window_end, COUNT(DISTINCT payer) AS payers, SUM(amount) AS received
FROM TABLE(HOP(TABLE transfers, DESCRIPTOR(ts), INTERVAL '6' HOUR, INTERVAL '1' DAY))
GROUP BY payee, window_start, window_end;

CREATE VIEW outgoing AS
SELECT payer AS account, window_start, window_end, COUNT(DISTINCT payee) AS payees, SUM(amount) AS sent
FROM TABLE(HOP(TABLE transfers, DESCRIPTOR(ts), INTERVAL '6' HOUR, INTERVAL '1' DAY))
GROUP BY payer, window_start, window_end;

SELECT i.account, i.window_start, i.payers, i.received, o.payees, o.sent
FROM incoming i
JOIN outgoing o ON i.account = o.account AND i.window_start = o.window_start AND i.window_end = o.window_end
WHERE i.payers >= 3 AND o.payees >= 3 AND o.sent * 10 >= i.received * 9;

CREATE VIEW movements AS
SELECT payee AS account, payer AS other, amount, ts FROM transfers
UNION ALL
SELECT payer AS account, payee AS other, -amount AS amount, ts FROM transfers;

SELECT *
FROM movements MATCH_RECOGNIZE (
  PARTITION BY account
  ORDER BY ts
  MEASURES
    FIRST(credit.ts) AS began,
    COUNT(credit.amount) AS credits,
    SUM(credit.amount) AS received,
    LAST(debit.ts) AS ended,
    -SUM(debit.amount) AS sent
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (credit{3,} debit{3}) WITHIN INTERVAL '1' DAY
  DEFINE
    credit AS credit.amount > 0,
    debit AS debit.amount < 0
) AS mules;
