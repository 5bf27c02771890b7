-- Instant credit decisions: each request with the customer's profile as it was at the time of the request.
--
-- Explained in docs/credit_decision.md.
CREATE TABLE profiles (
  customer STRING,
  score INT,
  credit_limit INT,
  ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts,
  PRIMARY KEY (customer) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = 'queries/data/profiles.json', 'format' = 'debezium-json');

CREATE TABLE requests (
  id BIGINT,
  customer STRING,
  amount INT,
  ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' HOUR
) WITH ('connector' = 'filesystem', 'path' = 'queries/data/credit_requests.json', 'format' = 'json');

SELECT r.id, r.customer, r.amount, p.score, p.credit_limit,
       CASE WHEN p.customer IS NULL THEN 'by hand'
            WHEN p.score < 600 THEN 'refused'
            WHEN r.amount > p.credit_limit THEN 'less'
            ELSE 'granted' END AS decision
FROM requests r
LEFT JOIN profiles FOR SYSTEM_TIME AS OF r.ts AS p ON r.customer = p.customer;
