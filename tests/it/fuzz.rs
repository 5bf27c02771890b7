//! Text that is no SQL, or hardly: no panic, no hang, an error.

mod patterns;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{channel, sync_channel};
use std::time::Duration;

use millstream::Engine;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::law::panic_text;

/// No input may take longer; checking one takes milliseconds.
const LONGEST: Duration = Duration::from_secs(20);
/// An engine checks so many inputs before another takes its place.
const INPUTS_OF_AN_ENGINE: usize = 25;

const TABLES: &str = "CREATE TABLE t (id BIGINT, k STRING, n INT, f DOUBLE, d DECIMAL(10, 2), a ARRAY<INT>, m MAP<STRING, INT>, \
    r ROW<x INT, y ROW<z STRING>>, ts TIMESTAMP(3), c AS n * 2, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) \
    WITH ('connector' = 'channel'); CREATE TABLE o (id BIGINT, k STRING) WITH ('connector' = 'blackhole');";

/// Valid statements of all kinds.
const VALID: &[&str] = &[
    "CREATE TABLE u (a INT, b STRING, m STRING METADATA FROM 'path' VIRTUAL, c AS a + 1) COMMENT 'x' PARTITIONED BY (b) WITH ('connector' = 'filesystem', 'path' = '/nowhere', 'format' = 'json')",
    "CREATE TEMPORARY TABLE IF NOT EXISTS u (a INT NOT NULL, ts TIMESTAMP_LTZ(3), PRIMARY KEY (a) NOT ENFORCED, WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen', 'rows-per-second' = '10')",
    "CREATE TABLE v WITH ('connector' = 'blackhole') LIKE t (EXCLUDING ALL)",
    "CREATE VIEW w AS SELECT id, k FROM t WHERE n > 1; SELECT * FROM w; DROP VIEW w",
    "CREATE TABLE q (x INT) WITH ('connector' = 'print'); ALTER TABLE q SET ('print-identifier' = 'a'); DROP TABLE IF EXISTS q",
    "INSERT INTO o (k, id) SELECT k, id FROM t WHERE k LIKE 'a%' AND n BETWEEN 1 AND 3 OR k IN ('x', 'y')",
    "EXECUTE STATEMENT SET BEGIN INSERT INTO o SELECT id, k FROM t; INSERT INTO o SELECT n, UPPER(k) FROM t; END",
    "SELECT window_start, window_end, k, COUNT(*), SUM(n) FILTER (WHERE n > 0), COUNT(DISTINCT k) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, k HAVING COUNT(*) > 2",
    "SELECT window_end, k, GROUPING(k) FROM TABLE(HOP(DATA => TABLE t, TIMECOL => DESCRIPTOR(ts), SLIDE => INTERVAL '5' MINUTES, SIZE => INTERVAL '1' HOUR)) GROUP BY window_start, window_end, ROLLUP(k)",
    "SELECT COUNT(*) FROM TABLE(CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND, INTERVAL '1' SECOND)) GROUP BY window_start, window_end, window_time",
    "SELECT id, u.e, r.y.z, m['a'], a[1] FROM t CROSS JOIN UNNEST(a) AS u(e)",
    "SELECT CASE WHEN n > 1 THEN 'a' ELSE k || 'b' END, CAST(d AS INT), EXTRACT(DAY FROM ts), COALESCE(k, `k`), -n, NOT n = 1 FROM t",
    "SELECT id FROM t UNION ALL SELECT CAST(n AS BIGINT) FROM t WHERE EXISTS (SELECT 1 FROM t)",
    "WITH c AS (SELECT id, k FROM t) SELECT c.k, x.id FROM c LEFT JOIN t AS x ON c.id = x.id AND c.k IS NOT NULL",
    "SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS rn FROM t",
    "SELECT SUM(n) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW) FROM t",
    "SELECT o.id FROM t AS o JOIN t FOR SYSTEM_TIME AS OF o.ts AS p ON o.id = p.id",
    "SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts MEASURES A.n AS a, LAST(B.n) AS b ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (A B+? C{2,3}) WITHIN INTERVAL '1' MINUTE DEFINE A AS A.n > 1, B AS B.n < PREV(B.n)) AS x",
    "SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES NEXT(LAST(A.n), 2) AS a, FINAL LAST(n) AS b, CLASSIFIER() AS c ALL ROWS PER MATCH AFTER MATCH SKIP TO LAST B PATTERN ((A | {- B -})* PERMUTE(C, D)??) SUBSET u = (A, B) DEFINE A AS NEXT(A.n) > SUM(u.n), C AS C.n IS NULL) AS x",
    "SELECT TUMBLE_START(ts, INTERVAL '1' DAY), COUNT(*) FROM t GROUP BY TUMBLE(ts, INTERVAL '1' DAY), k",
    "SELECT * FROM (VALUES (1, 'a', DATE '2024-01-01'), (2, 'b', NULL)) AS v(a, b, c) ORDER BY a LIMIT 3",
    "EXPLAIN SELECT id FROM t",
    "DESCRIBE t",
    "SHOW TABLES",
    "SHOW CREATE TABLE t",
    "SHOW FUNCTIONS",
    "SET 'parallelism.default' = '2'; RESET 'parallelism.default'; SET",
    "RESET",
    "SELECT /*+ OPTIONS('a'='b') */ id -- end\n FROM t /* more */",
];

/// Checks texts one after another in a thread of its own, and gives it up when one takes too long.
fn check_all(texts: impl Iterator<Item = (String, String)>) -> usize {
    let (texts_in, inbox) = sync_channel::<String>(0);
    let (outbox, answers) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        let new = || {
            let mut engine = Engine::new().unwrap();
            engine.check(TABLES).unwrap();
            engine
        };
        let mut engine = new();
        for (i, text) in inbox.iter().enumerate() {
            if i % INPUTS_OF_AN_ENGINE == 0 {
                engine = new();
            }
            let checked = catch_unwind(AssertUnwindSafe(|| match engine.check(&text) {
                Ok(_) => true,
                // An error must be tellable, too.
                Err(e) => e.to_string().is_empty(),
            }));
            if outbox.send(checked.map_err(|p| panic_text(p.as_ref()))).is_err() {
                return;
            }
        }
    });
    let mut accepted = 0;
    for (about, text) in texts {
        texts_in.send(text.clone()).unwrap();
        match answers.recv_timeout(LONGEST) {
            Ok(Ok(ok)) => accepted += usize::from(ok),
            Ok(Err(panic)) => panic!("{about}: a panic, {panic}\n{}", shortened(&text)),
            Err(e) => panic!("{about}: no answer within {LONGEST:?} ({e})\n{}", shortened(&text)),
        }
    }
    accepted
}

fn shortened(text: &str) -> String {
    text.chars().take(3000).collect()
}

#[test]
fn valid_statements_are_understood() {
    let mut engine = Engine::new().unwrap();
    engine.check(TABLES).unwrap();
    for text in VALID {
        if let Err(e) = engine.check(text) {
            assert!(e.to_string().contains("not supported") || matches!(e, millstream::Error::Sql(_)), "{text}\n{e}");
        }
    }
}

#[test]
fn random_bytes() {
    let accepted = check_all((0..1000).map(|seed| {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let length = rng.random_range(0..400);
        let bytes: Vec<u8> = match rng.random_bool(0.5) {
            true => (0..length).map(|_| rng.random()).collect(),
            false => (0..length).map(|_| b" '\"`();,.SELECTFROMtkn0123*/-+\n\\%"[rng.random_range(0..33)]).collect(),
        };
        (format!("seed {seed}"), String::from_utf8_lossy(&bytes).into_owned())
    }));
    // Blanks and comments are a script of no statements.
    assert!(accepted < 100, "{accepted} random texts were taken for SQL");
}

/// A text in words, so that it can be broken between them.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for c in text.chars() {
        match words.last_mut() {
            Some(last) if c.is_alphanumeric() && last.chars().all(char::is_alphanumeric) => last.push(c),
            _ => words.push(c.to_string()),
        }
    }
    words
}

fn mutated(rng: &mut Xoshiro256PlusPlus) -> String {
    let mut parts = words(VALID[rng.random_range(0..VALID.len())]);
    let other = words(VALID[rng.random_range(0..VALID.len())]);
    for _ in 0..rng.random_range(1..5) {
        if parts.is_empty() {
            break;
        }
        let at = rng.random_range(0..parts.len());
        match rng.random_range(0..9) {
            0 => drop(parts.remove(at)),
            1 => parts.insert(at, parts[at].clone()),
            2 => parts[at] = other[rng.random_range(0..other.len())].clone(),
            3 => {
                let with = rng.random_range(0..parts.len());
                parts.swap(at, with);
            }
            4 => parts.truncate(at),
            5 => {
                let until = (at + rng.random_range(0..30)).min(parts.len());
                let run = parts[at..until].to_vec();
                parts.splice(at..at, run);
            }
            6 => {
                parts[at] =
                    ["NULL", "-1", "9999999999999999999999", "''", "(", ")", "1e400", "ä", "\0", "TABLE", "INTERVAL"]
                        [rng.random_range(0..11)]
                    .into()
            }
            7 => {
                let from = rng.random_range(0..other.len());
                parts.splice(at..at, other[from..].iter().take(10).cloned());
            }
            _ => parts.insert(at, format!("({})", other.concat())),
        }
    }
    parts.concat()
}

#[test]
fn mutations_of_valid_statements() {
    let accepted = check_all((0..1000).map(|seed| {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        (format!("seed {seed}"), mutated(&mut rng))
    }));
    assert!(accepted < 900, "{accepted} mutations were accepted: they hardly mutate");
}

/// `n` times before, a kernel, `n` times after.
fn nested(n: usize, before: &str, kernel: &str, after: &str) -> String {
    format!("{}{kernel}{}", before.repeat(n), after.repeat(n))
}

#[test]
fn deep_and_long_statements_are_refused() {
    let n = 20_000;
    let column = |e: String| format!("SELECT {e} FROM t");
    let texts = [
        ("sum of 20,000 terms", column(format!("n{}", " + n".repeat(n)))),
        ("concatenation of 20,000 terms", column(format!("k{}", " || k".repeat(n)))),
        ("parentheses", column(nested(n, "(", "n", ")"))),
        ("minus signs", column(nested(n, "- ", "n", ""))),
        ("NOT", column(nested(n, "NOT ", "n = 1", ""))),
        ("calls", column(nested(n, "ABS(", "n", ")"))),
        ("casts", column(nested(n, "CAST(", "n", " AS INT)"))),
        ("CASE", column(nested(n, "CASE WHEN n = 1 THEN ", "n", " END"))),
        ("arrays", column(nested(n, "ARRAY[", "n", "]"))),
        ("rows", column(nested(n, "ROW(", "n", ")"))),
        ("subqueries", nested(n, "SELECT * FROM (", "SELECT n FROM t", ")")),
        ("scalar subqueries", nested(n, "SELECT (", "SELECT 1", ")")),
        (
            "array types",
            format!("CREATE TABLE x (a {}) WITH ('connector' = 'channel')", nested(n, "ARRAY<", "INT", ">")),
        ),
        ("row types", format!("CREATE TABLE x (a {}) WITH ('connector' = 'channel')", nested(n, "ROW<a ", "INT", ">"))),
        (
            "map types",
            format!("CREATE TABLE x (a {}) WITH ('connector' = 'channel')", nested(n, "MAP<INT, ", "INT", ">")),
        ),
        ("EXISTS", nested(n, "SELECT 1 FROM t WHERE EXISTS (", "SELECT 1", ")")),
        ("joins", format!("SELECT 1 FROM t{}", " JOIN t ON TRUE".repeat(n))),
        ("subscripts", column(format!("a{}", "[1]".repeat(n)))),
        (
            "pattern",
            format!(
                "SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES A.n AS a PATTERN ({}) DEFINE A AS TRUE)",
                nested(n, "(", "A", ")")
            ),
        ),
    ];
    for (about, text) in texts {
        let accepted = check_all([(about.to_string(), text)].into_iter());
        assert_eq!(accepted, 0, "20,000 times {about} was accepted");
    }
}

#[test]
fn long_lists_do_no_harm() {
    let n = 20_000;
    let texts = [
        ("conditions", format!("SELECT n FROM t WHERE n = 0{}", " OR n = 1".repeat(n))),
        ("conjunctions", format!("SELECT n FROM t WHERE n = 0{}", " AND n = 1".repeat(n))),
        ("IN", format!("SELECT n FROM t WHERE n IN (0{})", ", 1".repeat(n))),
        ("columns", format!("SELECT n{} FROM t", ", n".repeat(n))),
        ("UNION ALL", format!("SELECT n FROM t{}", " UNION ALL SELECT n FROM t".repeat(2000))),
        ("VALUES", format!("SELECT * FROM (VALUES (1){}) AS v(a)", ", (1)".repeat(n))),
        ("statements", "SHOW TABLES;".repeat(n)),
        ("fields", format!("SELECT t{} FROM t", ".r".repeat(n))),
        ("a long word", format!("SELECT {} FROM t", "x".repeat(1_000_000))),
        ("a long string", format!("SELECT '{}' FROM t", "x".repeat(1_000_000))),
        ("an open comment", format!("SELECT n FROM t {}", "/*".repeat(n))),
        (
            "IN over windows",
            format!(
                "SELECT window_start, {} FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY window_start, window_end",
                vec!["COUNT(*)"; 500].join(", ")
            ),
        ),
    ];
    for (about, text) in texts {
        check_all([(about.to_string(), text)].into_iter());
    }
}
