//! Random queries and rows for the bound law.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::SchemaRef;
use millstream::change::RowKind;
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

type Random = Xoshiro256PlusPlus;

/// Two streams, a versioned table, a keyed table, one whose rows come and go, and a stream without times of its own.
pub const DECLARATIONS: &str = "
CREATE TABLE e (id INT, k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector' = 'channel');
CREATE TABLE f (id INT, k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'channel');
CREATE TABLE h (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND, PRIMARY KEY (k) NOT ENFORCED)
WITH ('connector' = 'channel', 'changelog.mode' = 'upsert');
CREATE TABLE u (k STRING, v INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'channel', 'changelog.mode' = 'upsert');
CREATE TABLE c (k STRING, v INT) WITH ('connector' = 'channel', 'changelog.mode' = 'retract');
CREATE TABLE q (id INT, k STRING, v INT, p AS PROCTIME()) WITH ('connector' = 'channel')";

/// A kind of queries.
pub struct Template {
    pub name: &'static str,
    pub sql: fn(&mut Random) -> String,
    /// Whether it may be run with a state TTL, which its operators heed.
    pub ttl: bool,
}

/// Operators that must be seen to hold something bounded.
pub const MUST_RUN: [&str; 15] = [
    "ChangelogNormalize",
    "Deduplicate",
    "GroupAggregate",
    "IntervalJoin",
    "Join",
    "MatchRecognize",
    "OverAggregate",
    "ProcessingTimeWindow",
    "SessionAggregate",
    "SetOperation",
    "Sort",
    "TemporalJoin",
    "TopN",
    "WindowAggregate",
    "WindowJoin",
];

fn one<'a>(of: &[&'a str], rng: &mut Random) -> &'a str {
    of[rng.random_range(0..of.len())]
}

fn seconds(rng: &mut Random) -> u32 {
    [1, 2, 5, 10][rng.random_range(0..4)]
}

/// A window function over the stream `table`.
fn window(table: &str, rng: &mut Random) -> String {
    window_by(table, "ts", rng)
}

/// A window function over a time of the stream `table`.
fn window_by(table: &str, time: &str, rng: &mut Random) -> String {
    let (slide, times) = (seconds(rng), rng.random_range(2..5));
    let spans = match rng.random_range(0..3) {
        0 => ("TUMBLE", format!("INTERVAL '{slide}' SECOND")),
        1 => ("HOP", format!("INTERVAL '{slide}' SECOND, INTERVAL '{}' SECOND", slide * times)),
        _ => ("CUMULATE", format!("INTERVAL '{slide}' SECOND, INTERVAL '{}' SECOND", slide * times)),
    };
    format!("TABLE({}(TABLE {table}, DESCRIPTOR({time}), {}))", spans.0, spans.1)
}

pub const TEMPLATES: &[Template] = &[
    Template {
        name: "tumble",
        ttl: false,
        sql: |rng| {
            let size = seconds(rng);
            format!(
                "SELECT k, COUNT(*), window_start FROM TABLE(TUMBLE(TABLE e, DESCRIPTOR(ts), INTERVAL '{size}' SECOND)) \
                 GROUP BY k, window_start, window_end"
            )
        },
    },
    Template {
        name: "windows",
        ttl: false,
        sql: |rng| {
            let (keys, window) = (one(&["", "k, ", "v, ", "k, v, "], rng), window("e", rng));
            let aggregate = one(&["COUNT(*)", "SUM(v), MAX(id)", "AVG(v)"], rng);
            format!("SELECT {keys}{aggregate}, window_end FROM {window} GROUP BY {keys}window_start, window_end")
        },
    },
    Template {
        name: "windows over windows",
        ttl: false,
        sql: |rng| {
            let (inner, outer) = (window("e", rng), seconds(rng) * 10);
            format!(
                "WITH w AS (SELECT k, window_time AS ts, COUNT(*) AS n FROM {inner} \
                 GROUP BY k, window_start, window_end, window_time) SELECT k, SUM(n), window_end FROM \
                 TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '{outer}' SECOND)) GROUP BY k, window_start, window_end"
            )
        },
    },
    Template {
        name: "group windows",
        ttl: false,
        sql: |rng| {
            let size = seconds(rng);
            let function = one(&["TUMBLE(ts, #)", "HOP(ts, #, INTERVAL '20' SECOND)", "SESSION(ts, #)"], rng);
            let function = function.replace('#', &format!("INTERVAL '{size}' SECOND"));
            format!("SELECT k, COUNT(*) FROM e GROUP BY k, {function}")
        },
    },
    Template {
        name: "sessions",
        ttl: false,
        sql: |rng| {
            let (gap, by) = (seconds(rng), one(&["", " PARTITION BY k"], rng));
            let key = if by.is_empty() { "" } else { "k, " };
            format!(
                "SELECT {key}COUNT(*), window_start FROM \
                 TABLE(SESSION(TABLE e{by}, DESCRIPTOR(ts), INTERVAL '{gap}' SECOND)) GROUP BY {key}window_start, window_end"
            )
        },
    },
    Template {
        name: "windows of processing time",
        ttl: false,
        sql: |rng| {
            let (keys, window) = (one(&["", "k, ", "k, v, "], rng), window_by("q", "p", rng));
            format!("SELECT {keys}COUNT(*), SUM(v), window_end FROM {window} GROUP BY {keys}window_start, window_end")
        },
    },
    Template {
        name: "group windows of processing time",
        ttl: false,
        sql: |rng| {
            let size = seconds(rng);
            let function = one(&["TUMBLE(p, #)", "HOP(p, #, INTERVAL '20' SECOND)", "SESSION(p, #)"], rng);
            let function = function.replace('#', &format!("INTERVAL '{size}' SECOND"));
            format!("SELECT k, COUNT(*) FROM q GROUP BY k, {function}")
        },
    },
    Template {
        name: "sessions of processing time",
        ttl: false,
        sql: |rng| {
            let (gap, by) = (seconds(rng), one(&["", " PARTITION BY k"], rng));
            format!("SELECT id, window_start FROM TABLE(SESSION(TABLE q{by}, DESCRIPTOR(p), INTERVAL '{gap}' SECOND))")
        },
    },
    Template {
        name: "window ranks",
        ttl: false,
        sql: |rng| {
            let (window, last) = (window("e", rng), rng.random_range(1..4));
            let (by, order) = (one(&["", "k, "], rng), one(&["v DESC", "v, id", "ts", "ts DESC"], rng));
            format!(
                "SELECT id, k, v, window_end FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY {by}window_start, window_end \
                 ORDER BY {order}) AS n FROM {window}) WHERE n <= {last}"
            )
        },
    },
    Template {
        name: "window joins",
        ttl: false,
        sql: |rng| {
            let size = seconds(rng);
            let of = |t: &str| format!("TABLE(TUMBLE(TABLE {t}, DESCRIPTOR(ts), INTERVAL '{size}' SECOND))");
            let kind = one(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"], rng);
            format!(
                "SELECT l.id, r.id FROM (SELECT * FROM {}) l {kind} (SELECT * FROM {}) r ON l.k = r.k AND \
                 l.window_start = r.window_start AND l.window_end = r.window_end",
                of("e"),
                of("f")
            )
        },
    },
    Template {
        name: "interval joins",
        ttl: false,
        sql: |rng| {
            let kind = one(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"], rng);
            let (back, ahead) = (rng.random_range(0..6), rng.random_range(0..6));
            format!(
                "SELECT e.id, f.id FROM e {kind} f ON e.k = f.k AND \
                 e.ts BETWEEN f.ts - INTERVAL '{back}' SECOND AND f.ts + INTERVAL '{ahead}' SECOND"
            )
        },
    },
    Template {
        name: "temporal joins",
        ttl: false,
        sql: |rng| {
            let kind = one(&["JOIN", "LEFT JOIN"], rng);
            format!("SELECT e.id, h.v FROM e {kind} h FOR SYSTEM_TIME AS OF e.ts ON e.k = h.k")
        },
    },
    Template {
        name: "patterns",
        ttl: false,
        sql: |rng| {
            let (within, pattern) = (seconds(rng), one(&["A B", "A B* C", "A B+? C"], rng));
            let measure = one(&["A.id", "A.id", "PREV(A.id)", "NEXT(A.id, 3)"], rng);
            let ahead = one(&["", "", " OR NEXT(v) > 4", " OR NEXT(v, 2) > 4"], rng);
            format!(
                "SELECT * FROM e MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts MEASURES {measure} AS first_id \
                 ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN ({pattern}) WITHIN INTERVAL '{within}' SECOND \
                 DEFINE A AS A.v > 3, B AS B.v <= 3{ahead}{})",
                if pattern.contains('C') { ", C AS C.v > 5" } else { "" }
            )
        },
    },
    Template {
        name: "ranks",
        ttl: true,
        sql: |rng| {
            let (last, by) = (rng.random_range(1..4), one(&["", "PARTITION BY k "], rng));
            let order = one(&["v DESC", "v, id", "id DESC"], rng);
            format!(
                "SELECT id, k, v FROM (SELECT *, ROW_NUMBER() OVER ({by}ORDER BY {order}) AS n FROM e) WHERE n <= {last}"
            )
        },
    },
    Template {
        name: "first and last",
        // A first row in order of time is touched when the watermark reaches it: not to be seen from its input.
        ttl: false,
        sql: |rng| {
            let order = one(&["ts", "ts DESC"], rng);
            format!(
                "SELECT id, k, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY {order}) AS n FROM e) WHERE n = 1"
            )
        },
    },
    Template {
        name: "over",
        ttl: false,
        sql: |rng| {
            let frame = one(
                &[
                    "RANGE BETWEEN INTERVAL '3' SECOND PRECEDING AND CURRENT ROW",
                    "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
                    "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
                ],
                rng,
            );
            let by = one(&["", "PARTITION BY k "], rng);
            format!("SELECT id, SUM(v) OVER ({by}ORDER BY ts {frame}) FROM e")
        },
    },
    Template {
        name: "groups",
        ttl: true,
        sql: |rng| {
            let (from, key) = (one(&["e", "c"], rng), one(&["k", "v", "k, v"], rng));
            let aggregates = one(
                &["COUNT(*)", "SUM(v)", "COUNT(DISTINCT v)", "COUNT(DISTINCT k), SUM(DISTINCT v)", "AVG(v), COUNT(v)"],
                rng,
            );
            format!("SELECT {key}, {aggregates} FROM {from} GROUP BY {key}")
        },
    },
    Template {
        name: "distinct",
        ttl: true,
        sql: |rng| format!("SELECT DISTINCT {} FROM e", one(&["k", "v", "k, v"], rng)),
    },
    Template {
        name: "joins of keyed tables",
        ttl: true,
        sql: |rng| {
            let kind = one(&["JOIN", "LEFT JOIN", "FULL JOIN"], rng);
            format!("SELECT u.v, n FROM u {kind} (SELECT k, COUNT(*) AS n FROM e GROUP BY k) g ON u.k = g.k")
        },
    },
    Template { name: "sorted", ttl: false, sql: |_| "SELECT id FROM e ORDER BY ts".into() },
    Template {
        name: "first so many",
        ttl: false,
        sql: |rng| format!("SELECT id, v FROM e ORDER BY v, id LIMIT {}", rng.random_range(1..5)),
    },
    Template { name: "keyed", ttl: true, sql: |_| "SELECT k, v FROM u WHERE v > 2".into() },
    Template {
        name: "with a state TTL",
        ttl: true,
        sql: |rng| {
            one(
                &[
                    "SELECT e.id, c.v FROM e JOIN c ON e.k = c.k",
                    "SELECT id FROM e WHERE k IN (SELECT k FROM u)",
                    "SELECT k FROM e EXCEPT ALL SELECT k FROM c",
                    "SELECT k, MAX(v) FROM c GROUP BY k",
                    "SELECT k, v, SUM(v) OVER (PARTITION BY k ORDER BY v) FROM c",
                ],
                rng,
            )
            .into()
        },
    },
];

/// A row before it is given: id, key, value and time.
#[derive(Debug, Clone)]
struct Drawn {
    id: i32,
    k: String,
    v: i32,
    ts: i64,
    kind: RowKind,
}

/// Rows of all tables, dealt out step by step.
pub struct Data {
    rows: HashMap<&'static str, Vec<Drawn>>,
    /// What goes in in this step.
    step: HashMap<&'static str, Vec<Drawn>>,
    steps: usize,
}

const TABLES: [&str; 5] = ["e", "f", "h", "u", "c"];

impl Data {
    pub fn random(rng: &mut Random) -> Self {
        let keys = rng.random_range(1..5);
        let draw = |table: &&'static str| (*table, rows(table, keys, rng));
        Self { rows: TABLES.iter().map(draw).collect(), step: HashMap::new(), steps: rng.random_range(3..25) }
    }

    /// Whether all steps are over.
    pub fn is_empty(&self) -> bool {
        self.steps == 0
    }

    /// Goes on to the next step; whether it is the last, and ends all input.
    pub fn step(&mut self, rng: &mut Random) -> bool {
        self.step.clear();
        for table in TABLES {
            let rows = self.rows.get_mut(table).unwrap();
            // Before the last step all rows have gone in.
            let most = rows.len().min(rows.len() * 2 / self.steps.max(1) + 1);
            let take = match self.steps {
                1 => rows.len(),
                _ => rng.random_range(0..=most),
            };
            self.step.insert(table, rows.drain(..take).collect());
        }
        self.steps -= 1;
        self.steps == 0
    }

    /// A table's rows of this step.
    pub fn taken(&self, table: &str, schema: &SchemaRef) -> (RecordBatch, Vec<RowKind>) {
        // Where only the clock counts any rows will do.
        let rows = &self.step[if table == "q" { "e" } else { table }];
        let columns = schema.fields().iter().map(|field| -> ArrayRef {
            match field.name().as_str() {
                "id" => Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.id))),
                "k" => Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.k.as_str()))),
                "v" => Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.v))),
                _ => Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.ts))),
            }
        });
        let batch = RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap();
        (batch, rows.iter().map(|r| r.kind).collect())
    }
}

fn rows(table: &str, keys: u32, rng: &mut Random) -> Vec<Drawn> {
    let mut clock = 1_700_000_000_000;
    let gap = [50, 400, 1500][rng.random_range(0..3)];
    let mut standing: Vec<Drawn> = Vec::new();
    let mut all = Vec::new();
    for id in 0..rng.random_range(0..150) {
        clock += rng.random_range(0..=gap);
        let goes = ["u", "h", "c"].contains(&table) && !standing.is_empty() && rng.random_bool(0.3);
        if goes {
            let mut gone = standing.swap_remove(rng.random_range(0..standing.len()));
            gone.kind = RowKind::Delete;
            if table == "h" {
                gone.ts = clock;
            }
            all.push(gone);
            continue;
        }
        let row = Drawn {
            id,
            k: format!("k{}", rng.random_range(0..keys)),
            v: rng.random_range(0..8),
            ts: clock - rng.random_range(0..4000),
            kind: RowKind::Insert,
        };
        if table != "c" {
            standing.retain(|r| r.k != row.k);
        }
        standing.push(row.clone());
        all.push(row);
    }
    all
}
