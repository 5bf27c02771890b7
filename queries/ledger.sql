-- A ledger: each account's balance, what has come in less what has gone out, and the accounts that are overdrawn.
--
-- Two aggregates of one stream, joined. Whatever has been read so far, the balances add up to 0: no result ever counts one
-- half of a transfer without the other. `cargo run --example consistency` shows what that is worth.
--
-- Expected: bank -154.00, bob -15.50, dee -6.00.
CREATE TABLE transfers (
  payer STRING,
  payee STRING,
  amount DECIMAL(10, 2)
) WITH ('connector' = 'filesystem', 'path' = 'queries/data/transfers.json', 'format' = 'json');

CREATE VIEW credits AS SELECT payee AS account, SUM(amount) AS amount FROM transfers GROUP BY payee;
CREATE VIEW debits AS SELECT payer AS account, SUM(amount) AS amount FROM transfers GROUP BY payer;
CREATE VIEW balances AS
SELECT COALESCE(credits.account, debits.account) AS account,
       COALESCE(credits.amount, 0) - COALESCE(debits.amount, 0) AS balance
FROM credits FULL JOIN debits ON credits.account = debits.account;

SELECT account, balance FROM balances WHERE balance < 0;
