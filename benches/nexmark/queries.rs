//! The queries, each with its equivalent in batch.

/// A query, its batch form, and what we want it to cost.
pub struct Query {
    pub name: &'static str,
    /// In Flink's dialect, over the table `bid`.
    pub sql: &'static str,
    /// The same question to DataFusion, over a table `bid` with the same columns.
    pub batch: Option<&'static str>,
    /// CPU nanoseconds an event at one worker.
    pub wanted: Option<f64>,
}

/// The table that the queries read.
pub const TABLES: &str = "
CREATE TABLE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3), extra STRING,
  WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH ('connector' = 'values');";

pub const QUERIES: &[Query] = &[
    Query {
        name: "q0_pass",
        sql: "SELECT auction, bidder, price, `dateTime`, extra FROM bid",
        batch: Some(r#"SELECT auction, bidder, price, "dateTime", extra FROM bid"#),
        wanted: Some(8.0),
    },
    Query {
        name: "q1_convert",
        sql: "SELECT auction, bidder, CAST(0.908 * price AS DOUBLE) AS price, `dateTime`, extra FROM bid",
        batch: Some(
            r#"SELECT auction, bidder, CAST(CAST(0.908 AS DECIMAL(3, 3)) * price AS DOUBLE) AS price, "dateTime", extra FROM bid"#,
        ),
        wanted: Some(10.0),
    },
    Query {
        name: "q2_filter",
        sql: "SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0",
        batch: Some("SELECT auction, price FROM bid WHERE auction % 123 = 0"),
        wanted: Some(10.0),
    },
    Query {
        name: "q5_count_hop",
        sql: "SELECT auction, COUNT(*) AS num, window_start, window_end
              FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
              GROUP BY auction, window_start, window_end",
        // The best that batch can do: count by slice first, then each slice into its five windows.
        batch: Some(
            r#"WITH slices AS (
                 SELECT auction, arrow_cast("dateTime", 'Int64') / 2000 AS slice, COUNT(*) AS num FROM bid GROUP BY 1, 2)
               SELECT auction, slice + k AS window_end, SUM(num) AS num
               FROM slices CROSS JOIN (VALUES (1), (2), (3), (4), (5)) AS t(k) GROUP BY 1, 2"#,
        ),
        wanted: Some(100.0),
    },
    Query {
        name: "q7_max_tumble",
        sql: "SELECT MAX(price) AS maxprice, window_start, window_end
              FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
              GROUP BY window_start, window_end",
        batch: Some(r#"SELECT arrow_cast("dateTime", 'Int64') / 10000 AS w, MAX(price) FROM bid GROUP BY 1"#),
        wanted: Some(20.0),
    },
    Query {
        name: "q12_tumble_by_bidder",
        sql: "SELECT bidder, COUNT(*) AS bid_count, window_start, window_end
              FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
              GROUP BY bidder, window_start, window_end",
        batch: Some(r#"SELECT bidder, arrow_cast("dateTime", 'Int64') / 10000 AS w, COUNT(*) FROM bid GROUP BY 1, 2"#),
        wanted: Some(40.0),
    },
    Query {
        name: "q_cumulate",
        sql: "SELECT COUNT(*) AS num, window_start, window_end
              FROM TABLE(CUMULATE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND, INTERVAL '60' SECOND))
              GROUP BY window_start, window_end",
        batch: None,
        wanted: None,
    },
    Query {
        name: "q14_calculation",
        sql: "SELECT auction, bidder, 0.908 * price AS price,
                CASE WHEN HOUR(`dateTime`) >= 8 AND HOUR(`dateTime`) <= 18 THEN 'dayTime'
                     WHEN HOUR(`dateTime`) <= 6 OR HOUR(`dateTime`) >= 20 THEN 'nightTime' ELSE 'otherTime' END AS bidTimeType,
                `dateTime`, extra, CHAR_LENGTH(extra) - CHAR_LENGTH(REPLACE(extra, 'c', '')) AS c_counts
              FROM bid WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000",
        batch: None,
        wanted: Some(100.0),
    },
    Query {
        name: "q21_channel_id",
        sql: "SELECT auction, bidder, price, channel,
                CASE WHEN LOWER(channel) = 'apple' THEN '0' WHEN LOWER(channel) = 'google' THEN '1'
                     WHEN LOWER(channel) = 'facebook' THEN '2' WHEN LOWER(channel) = 'baidu' THEN '3'
                     ELSE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) END AS channel_id
              FROM bid
              WHERE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) IS NOT NULL
                 OR LOWER(channel) IN ('apple', 'google', 'facebook', 'baidu')",
        batch: None,
        wanted: Some(500.0),
    },
    Query {
        name: "q22_split_url",
        sql: "SELECT auction, bidder, price, channel, SPLIT_INDEX(url, '/', 3) AS dir1, SPLIT_INDEX(url, '/', 4) AS dir2,
                SPLIT_INDEX(url, '/', 5) AS dir3 FROM bid",
        batch: Some(
            "SELECT auction, bidder, price, channel, split_part(url, '/', 4) AS dir1, split_part(url, '/', 5) AS dir2,
               split_part(url, '/', 6) AS dir3 FROM bid",
        ),
        wanted: Some(120.0),
    },
];
