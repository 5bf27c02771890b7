-- Personalisation: what a visitor looked at in a session, with what the catalogue says of it.
--
-- Explained in docs/personalisation.md.
CREATE TABLE page_views (
  visitor STRING,
  product STRING,
  ts TIMESTAMP(3),
  proc AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' MINUTE
) WITH ('connector' = 'filesystem', 'path' = 'queries/data/views.json', 'format' = 'json');

CREATE TABLE catalogue (
  product STRING,
  name STRING,
  category STRING,
  price DOUBLE
) WITH ('connector' = 'filesystem', 'path' = 'queries/data/catalogue.json', 'format' = 'json');

CREATE VIEW looked_at AS
SELECT v.visitor, v.product, c.name, c.category, c.price, v.ts
FROM page_views v
LEFT JOIN catalogue FOR SYSTEM_TIME AS OF v.proc AS c ON v.product = c.product;

SELECT visitor, window_start, window_end - INTERVAL '15' MINUTE AS last_view, COUNT(*) AS looks,
       COUNT(DISTINCT product) AS products, LISTAGG(DISTINCT category) AS categories, MAX(price) AS dearest
FROM TABLE(SESSION(TABLE looked_at PARTITION BY visitor, DESCRIPTOR(ts), INTERVAL '15' MINUTE))
GROUP BY visitor, window_start, window_end;

SELECT visitor, window_start, product, name, category
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY visitor, window_start, window_end ORDER BY ts DESC) AS place
  FROM TABLE(SESSION(TABLE looked_at PARTITION BY visitor, DESCRIPTOR(ts), INTERVAL '15' MINUTE))
)
WHERE place = 1;
