//! The queries, each with its equivalent in batch.

/// A query, its batch form, and what we want it to cost.
#[derive(Debug)]
pub struct Query {
    pub name: &'static str,
    /// In Flink's dialect, over the tables of [`tables`]; or a script, whose INSERT is meant.
    pub text: &'static str,
    /// The question of the final answer to DataFusion, over tables with the same columns. What it has in comments makes the
    /// answer the only one, where the query leaves open which of two equal bids is first, by the order of arrival `nr`.
    pub batch: Option<&'static str>,
    /// CPU nanoseconds an event at one worker.
    pub wanted: Option<f64>,
    /// The streams that it reads, and their columns.
    pub reads: &'static [(&'static str, &'static [&'static str])],
    /// What its state does as events go on.
    pub state: State,
}

/// What becomes of a query's state as events go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It stays as it is, or there is none.
    Flat,
    /// It grows, by some bytes an event.
    Grows,
    /// It grows by most of what it reads.
    GrowsByAll,
}

impl Query {
    /// The query alone.
    pub fn sql(&self) -> &'static str {
        let insert = "INSERT INTO nexmark_result\n";
        self.text.split_once(insert).map_or(self.text, |(_, query)| query.trim_end().trim_end_matches(';'))
    }
}

/// The tables that the queries read, of a connector.
pub fn tables(connector: &str) -> String {
    let table = |name: &str, columns: &str| {
        format!(
            "CREATE TABLE {name} ({columns}, WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND)
             WITH ('connector' = '{connector}');\n"
        )
    };
    let person = "id BIGINT, name STRING, emailAddress STRING, creditCard STRING, city STRING, state STRING,
                  `dateTime` TIMESTAMP(3), extra STRING";
    let auction =
        "id BIGINT, itemName STRING, description STRING, initialBid BIGINT, reserve BIGINT, `dateTime` TIMESTAMP(3),
                   expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING";
    let bid = "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3), extra STRING";
    [("person", person), ("auction", auction), ("bid", bid)].map(|(name, columns)| table(name, columns)).concat()
}

/// What q13 looks up.
pub const SIDE_INPUT: &str = concat!(
    "CREATE TABLE side_input (`key` BIGINT, `value` STRING) WITH ('connector' = 'filesystem', 'format' = 'csv', 'path' = '",
    env!("CARGO_MANIFEST_DIR"),
    "/queries/data/side_input.csv');\n"
);

macro_rules! page {
    ($name:literal) => {
        include_str!(concat!("../../queries/nexmark/", $name, ".sql"))
    };
}

const BID: &[&str] = &["auction", "bidder", "price", "channel", "url", "dateTime", "extra"];
const AUCTION: &[&str] =
    &["id", "itemName", "description", "initialBid", "reserve", "dateTime", "expires", "seller", "category", "extra"];
const PERSON: &[&str] = &["id", "name", "emailAddress", "creditCard", "city", "state", "dateTime", "extra"];

/// What q15 and q16 count.
macro_rules! statistics {
    () => {
        "COUNT(*), COUNT(*) FILTER (WHERE price < 10000), COUNT(*) FILTER (WHERE price >= 10000 AND price < 1000000),
         COUNT(*) FILTER (WHERE price >= 1000000), COUNT(DISTINCT bidder), COUNT(DISTINCT bidder) FILTER (WHERE price < 10000),
         COUNT(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000),
         COUNT(DISTINCT bidder) FILTER (WHERE price >= 1000000), COUNT(DISTINCT auction),
         COUNT(DISTINCT auction) FILTER (WHERE price < 10000),
         COUNT(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000),
         COUNT(DISTINCT auction) FILTER (WHERE price >= 1000000)"
    };
}

/// The day, as a number; and as text, from the number.
macro_rules! day {
    () => {
        "arrow_cast(dateTime, 'Int64') / 86400000"
    };
}
macro_rules! day_text {
    () => {
        concat!("to_char(arrow_cast(", day!(), " * 86400000, 'Timestamp(Millisecond, None)'), '%Y-%m-%d')")
    };
}

pub const QUERIES: &[Query] = &[
    Query {
        name: "q0_pass",
        text: "SELECT auction, bidder, price, `dateTime`, extra FROM bid",
        batch: Some("SELECT auction, bidder, price, dateTime, extra FROM bid"),
        wanted: Some(8.0),
        reads: &[("bid", &["auction", "bidder", "price", "dateTime", "extra"])],
        state: State::Flat,
    },
    Query {
        name: "q1_convert",
        text: "SELECT auction, bidder, CAST(0.908 * price AS DOUBLE) AS price, `dateTime`, extra FROM bid",
        batch: Some(
            "SELECT auction, bidder, CAST(CAST(0.908 AS DECIMAL(3, 3)) * price AS DOUBLE) AS price, dateTime, extra FROM bid",
        ),
        wanted: Some(10.0),
        reads: &[("bid", &["auction", "bidder", "price", "dateTime", "extra"])],
        state: State::Flat,
    },
    Query {
        name: "q2_filter",
        text: "SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0",
        batch: Some("SELECT auction, price FROM bid WHERE auction % 123 = 0"),
        wanted: Some(10.0),
        reads: &[("bid", &["auction", "price", "dateTime"])],
        state: State::Flat,
    },
    Query {
        name: "q3_local_items",
        text: page!("q3"),
        batch: Some(
            "SELECT P.name, P.city, P.state, A.id FROM auction AS A INNER JOIN person AS P ON A.seller = P.id
             WHERE A.category = 10 AND P.state IN ('OR', 'ID', 'CA')",
        ),
        wanted: Some(30.0),
        reads: &[
            ("person", &["id", "name", "city", "state", "dateTime"]),
            ("auction", &["id", "seller", "category", "dateTime"]),
        ],
        state: State::Grows,
    },
    Query {
        name: "q4_category_price",
        text: page!("q4"),
        batch: Some(
            "SELECT Q.category, SUM(Q.final) / COUNT(*)
             FROM (SELECT MAX(B.price) AS final, A.category FROM auction A, bid B
                   WHERE A.id = B.auction AND B.dateTime BETWEEN A.dateTime AND A.expires GROUP BY A.id, A.category) Q
             GROUP BY Q.category",
        ),
        wanted: Some(250.0),
        reads: &[("auction", &["id", "category", "dateTime", "expires"]), ("bid", &["auction", "price", "dateTime"])],
        state: State::Grows,
    },
    Query {
        name: "q5_count_hop",
        text: "SELECT auction, COUNT(*) AS num, window_start, window_end
               FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
               GROUP BY auction, window_start, window_end",
        // The best that batch can do: count by slice first, then each slice into its five windows.
        batch: Some(
            "WITH slices AS (
               SELECT auction, arrow_cast(dateTime, 'Int64') / 2000 AS slice, COUNT(*) AS num FROM bid GROUP BY 1, 2)
             SELECT auction, slice + k AS window_end, SUM(num) AS num
             FROM slices CROSS JOIN (VALUES (1), (2), (3), (4), (5)) AS t(k) GROUP BY 1, 2",
        ),
        wanted: Some(100.0),
        reads: &[("bid", &["auction", "dateTime"])],
        state: State::Flat,
    },
    Query {
        name: "q5_hot_items",
        text: page!("q5"),
        batch: Some(
            "WITH slices AS (
               SELECT auction, arrow_cast(dateTime, 'Int64') / 2000 AS slice, COUNT(*) AS num FROM bid GROUP BY 1, 2),
             counts AS (
               SELECT auction, slice + k AS window_end, SUM(num) AS num
               FROM slices CROSS JOIN (VALUES (1), (2), (3), (4), (5)) AS t(k) GROUP BY 1, 2)
             SELECT auction, num
             FROM counts JOIN (SELECT window_end AS e, MAX(num) AS maxn FROM counts GROUP BY 1) ON window_end = e AND num >= maxn",
        ),
        wanted: Some(100.0),
        reads: &[("bid", &["auction", "dateTime"])],
        state: State::Flat,
    },
    Query {
        name: "q6_seller_average",
        text: page!("q6"),
        batch: Some(
            "SELECT seller, SUM(price) OVER w / COUNT(*) OVER w
             FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id, seller ORDER BY price DESC, dateTime ASC /*, nr ASC*/) AS rownum
                   FROM (SELECT A.id, A.seller, B.price, B.dateTime /*, B.nr*/ FROM auction AS A, bid AS B
                         WHERE A.id = B.auction AND B.dateTime BETWEEN A.dateTime AND A.expires))
             WHERE rownum <= 1
             WINDOW w AS (PARTITION BY seller ORDER BY dateTime, id ROWS BETWEEN 10 PRECEDING AND CURRENT ROW)",
        ),
        wanted: None,
        reads: &[("auction", &["id", "seller", "dateTime", "expires"]), ("bid", &["auction", "price", "dateTime"])],
        state: State::Grows,
    },
    Query {
        name: "q7_max_tumble",
        text: "SELECT MAX(price) AS maxprice, window_start, window_end
               FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
               GROUP BY window_start, window_end",
        batch: Some("SELECT arrow_cast(dateTime, 'Int64') / 10000 AS w, MAX(price) FROM bid GROUP BY 1"),
        wanted: Some(20.0),
        reads: &[("bid", &["price", "dateTime"])],
        state: State::Flat,
    },
    Query {
        name: "q7_highest_bid",
        text: page!("q7"),
        batch: Some(
            "SELECT B.auction, B.price, B.bidder, B.dateTime, B.extra
             FROM bid B
             JOIN (SELECT (arrow_cast(dateTime, 'Int64') / 10000 + 1) * 10000 AS e, MAX(price) AS maxprice FROM bid GROUP BY 1)
             ON B.price = maxprice AND arrow_cast(B.dateTime, 'Int64') BETWEEN e - 10000 AND e",
        ),
        wanted: Some(20.0),
        reads: &[("bid", &["auction", "price", "bidder", "dateTime", "extra"])],
        state: State::Flat,
    },
    Query {
        name: "q8_new_sellers",
        text: page!("q8"),
        batch: Some(
            "SELECT P.id, P.name, arrow_cast(P.w * 10000, 'Timestamp(Millisecond, None)') AS starttime
             FROM (SELECT DISTINCT id, name, arrow_cast(dateTime, 'Int64') / 10000 AS w FROM person) P
             JOIN (SELECT DISTINCT seller, arrow_cast(dateTime, 'Int64') / 10000 AS w FROM auction) A
             ON P.id = A.seller AND P.w = A.w",
        ),
        wanted: Some(30.0),
        reads: &[("person", &["id", "name", "dateTime"]), ("auction", &["seller", "dateTime"])],
        state: State::Flat,
    },
    Query {
        name: "q9_winning_bids",
        text: page!("q9"),
        batch: Some(
            "SELECT id, itemName, description, initialBid, reserve, dateTime, expires, seller, category, extra,
                    auction, bidder, price, bid_dateTime, bid_extra
             FROM (SELECT A.*, B.auction, B.bidder, B.price, B.dateTime AS bid_dateTime, B.extra AS bid_extra,
                     ROW_NUMBER() OVER (PARTITION BY A.id ORDER BY B.price DESC, B.dateTime ASC /*, B.nr ASC*/) AS rownum
                   FROM auction A, bid B WHERE A.id = B.auction AND B.dateTime BETWEEN A.dateTime AND A.expires)
             WHERE rownum <= 1",
        ),
        wanted: Some(600.0),
        reads: &[("auction", AUCTION), ("bid", &["auction", "bidder", "price", "dateTime", "extra"])],
        state: State::GrowsByAll,
    },
    Query {
        name: "q10_log",
        text: page!("q10"),
        batch: Some(
            "SELECT auction, bidder, price, dateTime, extra, to_char(dateTime, '%Y-%m-%d'), to_char(dateTime, '%H:%M') FROM bid",
        ),
        wanted: None,
        reads: &[("bid", &["auction", "bidder", "price", "dateTime", "extra"])],
        state: State::Flat,
    },
    Query {
        name: "q11_user_sessions",
        text: page!("q11"),
        batch: Some(
            "SELECT bidder, COUNT(*), arrow_cast(MIN(ms), 'Timestamp(Millisecond, None)'),
                    arrow_cast(MAX(ms) + 10000, 'Timestamp(Millisecond, None)')
             FROM (SELECT bidder, ms, SUM(begins) OVER (PARTITION BY bidder ORDER BY ms) AS session
                   FROM (SELECT bidder, ms,
                           CASE WHEN ms - LAG(ms) OVER (PARTITION BY bidder ORDER BY ms) <= 10000 THEN 0 ELSE 1 END AS begins
                         FROM (SELECT bidder, arrow_cast(dateTime, 'Int64') AS ms FROM bid)))
             GROUP BY bidder, session",
        ),
        wanted: Some(300.0),
        reads: &[("bid", &["bidder", "dateTime"])],
        state: State::Grows,
    },
    Query {
        name: "q12_tumble_by_bidder",
        text: "SELECT bidder, COUNT(*) AS bid_count, window_start, window_end
               FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
               GROUP BY bidder, window_start, window_end",
        batch: Some("SELECT bidder, arrow_cast(dateTime, 'Int64') / 10000 AS w, COUNT(*) FROM bid GROUP BY 1, 2"),
        wanted: Some(40.0),
        reads: &[("bid", &["bidder", "dateTime"])],
        state: State::Flat,
    },
    Query {
        name: "q_interval_join",
        text: "SELECT B.auction, B.price, A.seller
               FROM bid B JOIN auction A
               ON B.auction = A.id AND B.`dateTime` BETWEEN A.`dateTime` AND A.`dateTime` + INTERVAL '10' SECOND",
        batch: Some(
            "SELECT B.auction, B.price, A.seller
             FROM bid B JOIN auction A
             ON B.auction = A.id AND B.dateTime BETWEEN A.dateTime AND A.dateTime + INTERVAL '10 seconds'",
        ),
        wanted: Some(100.0),
        reads: &[("bid", &["auction", "price", "dateTime"]), ("auction", &["id", "seller", "dateTime"])],
        state: State::Flat,
    },
    Query {
        name: "q12_processing_time",
        text: page!("q12"),
        batch: None,
        wanted: Some(40.0),
        reads: &[("bid", &["bidder", "dateTime"])],
        state: State::Flat,
    },
    Query {
        name: "q_cumulate",
        text: "SELECT COUNT(*) AS num, window_start, window_end
               FROM TABLE(CUMULATE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND, INTERVAL '60' SECOND))
               GROUP BY window_start, window_end",
        batch: None,
        wanted: None,
        reads: &[("bid", &["dateTime"])],
        state: State::Flat,
    },
    Query {
        name: "q13_side_input",
        text: page!("q13"),
        batch: None,
        wanted: Some(100.0),
        reads: &[("bid", &["auction", "bidder", "price", "dateTime"])],
        state: State::Flat,
    },
    Query {
        name: "q14_calculation",
        text: super::q14::QUERY,
        batch: Some(
            "SELECT auction, bidder, CAST(0.908 AS DECIMAL(3, 3)) * price,
               CASE WHEN date_part('hour', dateTime) BETWEEN 8 AND 18 THEN 'dayTime'
                    WHEN date_part('hour', dateTime) <= 6 OR date_part('hour', dateTime) >= 20 THEN 'nightTime'
                    ELSE 'otherTime' END,
               dateTime, extra, count_char(extra, 'c')
             FROM bid WHERE CAST(0.908 AS DECIMAL(3, 3)) * price > 1000000 AND CAST(0.908 AS DECIMAL(3, 3)) * price < 50000000",
        ),
        wanted: Some(100.0),
        reads: &[("bid", &["auction", "bidder", "price", "dateTime", "extra"])],
        state: State::Flat,
    },
    Query {
        name: "q15_day_statistics",
        text: page!("q15"),
        batch: Some(concat!("SELECT ", day_text!(), ", ", statistics!(), " FROM bid GROUP BY ", day!())),
        wanted: Some(300.0),
        reads: &[("bid", &["auction", "bidder", "price", "dateTime"])],
        state: State::Grows,
    },
    Query {
        name: "q16_channel_statistics",
        text: page!("q16"),
        batch: Some(concat!(
            "SELECT channel, ",
            day_text!(),
            ", to_char(arrow_cast(MAX(arrow_cast(dateTime, 'Int64') % 86400000), 'Timestamp(Millisecond, None)'), '%H:%M'), ",
            statistics!(),
            " FROM bid GROUP BY channel, ",
            day!()
        )),
        wanted: Some(700.0),
        reads: &[("bid", &["auction", "bidder", "price", "channel", "dateTime"])],
        state: State::Grows,
    },
    Query {
        name: "q17_auction_statistics",
        text: page!("q17"),
        batch: Some(concat!(
            "SELECT auction, ",
            day_text!(),
            ", COUNT(*), COUNT(*) FILTER (WHERE price < 10000), COUNT(*) FILTER (WHERE price >= 10000 AND price < 1000000),
               COUNT(*) FILTER (WHERE price >= 1000000), MIN(price), MAX(price), SUM(price) / COUNT(*), SUM(price)
             FROM bid GROUP BY auction, ",
            day!()
        )),
        wanted: Some(200.0),
        reads: &[("bid", &["auction", "price", "dateTime"])],
        state: State::Grows,
    },
    Query {
        name: "q18_last_bid",
        text: page!("q18"),
        batch: Some(
            "SELECT auction, bidder, price, channel, url, dateTime, extra
             FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder, auction ORDER BY dateTime DESC /*, nr DESC*/) AS rank_number
                   FROM bid)
             WHERE rank_number <= 1",
        ),
        wanted: Some(270.0),
        reads: &[("bid", BID)],
        state: State::GrowsByAll,
    },
    Query {
        name: "q19_auction_top10",
        text: page!("q19"),
        batch: Some(
            "SELECT auction, bidder, price, channel, url, dateTime, extra, rank_number
             FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC /*, nr ASC*/) AS rank_number FROM bid)
             WHERE rank_number <= 10",
        ),
        wanted: Some(400.0),
        reads: &[("bid", BID)],
        state: State::GrowsByAll,
    },
    Query {
        name: "q20_expand_bid",
        text: page!("q20"),
        batch: Some(
            "SELECT auction, bidder, price, channel, url, B.dateTime AS bid_dateTime, B.extra AS bid_extra,
                    itemName, description, initialBid, reserve, A.dateTime, expires, seller, category, A.extra
             FROM bid AS B INNER JOIN auction AS A ON B.auction = A.id WHERE A.category = 10",
        ),
        wanted: Some(170.0),
        reads: &[("auction", AUCTION), ("bid", BID)],
        state: State::GrowsByAll,
    },
    Query {
        name: "q21_channel_id",
        text: "SELECT auction, bidder, price, channel,
                 CASE WHEN LOWER(channel) = 'apple' THEN '0' WHEN LOWER(channel) = 'google' THEN '1'
                      WHEN LOWER(channel) = 'facebook' THEN '2' WHEN LOWER(channel) = 'baidu' THEN '3'
                      ELSE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) END AS channel_id
               FROM bid
               WHERE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) IS NOT NULL
                  OR LOWER(channel) IN ('apple', 'google', 'facebook', 'baidu')",
        batch: Some(
            "SELECT auction, bidder, price, channel,
               CASE lower(channel) WHEN 'apple' THEN '0' WHEN 'google' THEN '1' WHEN 'facebook' THEN '2' WHEN 'baidu' THEN '3'
                    ELSE regexp_replace(url, '^.*&channel_id=([^&]*).*$', '\\1') END
             FROM bid
             WHERE regexp_like(url, '(&|^)channel_id=')
                OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu')",
        ),
        wanted: Some(500.0),
        reads: &[("bid", &["auction", "bidder", "price", "channel", "url", "dateTime"])],
        state: State::Flat,
    },
    Query {
        name: "q22_split_url",
        text: "SELECT auction, bidder, price, channel, SPLIT_INDEX(url, '/', 3) AS dir1, SPLIT_INDEX(url, '/', 4) AS dir2,
                 SPLIT_INDEX(url, '/', 5) AS dir3 FROM bid",
        batch: Some(
            "SELECT auction, bidder, price, channel, split_part(url, '/', 4) AS dir1, split_part(url, '/', 5) AS dir2,
               split_part(url, '/', 6) AS dir3 FROM bid",
        ),
        wanted: Some(120.0),
        reads: &[("bid", &["auction", "bidder", "price", "channel", "url", "dateTime"])],
        state: State::Flat,
    },
    Query {
        name: "q23_expand_bid_twice",
        text: page!("q23"),
        batch: Some(
            "SELECT bidder, price, channel, url, B.extra AS bid_extra,
                    P.id AS person_id, name, emailAddress, creditCard, city, state, P.extra AS person_extra,
                    itemName, description, initialBid, reserve, A.dateTime AS auction_dateTime, expires, seller, category,
                    A.extra AS auction_extra
             FROM bid B JOIN person P ON P.id = B.bidder JOIN auction A ON A.seller = B.bidder",
        ),
        wanted: Some(1000.0),
        reads: &[
            ("person", PERSON),
            ("auction", AUCTION),
            ("bid", &["bidder", "price", "channel", "url", "dateTime", "extra"]),
        ],
        state: State::GrowsByAll,
    },
    Query {
        name: "pattern_q0_falls_and_rises",
        text: page!("pattern_q0"),
        batch: None,
        wanted: Some(800.0),
        reads: &[("bid", &["auction", "bidder", "price", "dateTime"])],
        state: State::Grows,
    },
    Query {
        name: "pattern_q1_average",
        text: page!("pattern_q1"),
        batch: None,
        wanted: Some(800.0),
        reads: &[("bid", &["auction", "bidder", "price", "dateTime"])],
        state: State::Grows,
    },
    Query {
        name: "pattern_q2_average_from_each",
        text: page!("pattern_q2"),
        batch: None,
        wanted: None,
        reads: &[("bid", &["auction", "bidder", "price", "dateTime"])],
        state: State::Grows,
    },
    Query {
        name: "pattern_q3_price_drop",
        text: page!("pattern_q3"),
        batch: None,
        wanted: Some(1000.0),
        reads: &[("bid", &["auction", "bidder", "price", "dateTime"])],
        state: State::Grows,
    },
];
