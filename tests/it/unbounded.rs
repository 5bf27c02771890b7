//! `SET 'millstream.state.unbounded' = 'allow | warn | refuse'`: what is done with state that grows for ever.

use millstream::{Engine, Error};

const TABLES: &str = "
CREATE TABLE l (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'channel');
CREATE TABLE r (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'channel');
CREATE TABLE few (k STRING, v INT) WITH ('connector' = 'datagen', 'number-of-rows' = '10');
CREATE TABLE sink (k STRING, v INT) WITH ('connector' = 'channel');";

/// What is said of a query.
fn check(setting: Option<&str>, query: &str) -> Result<Vec<String>, Error> {
    let mut engine = Engine::new().unwrap();
    if let Some(setting) = setting {
        engine.set("millstream.state.unbounded", setting).unwrap();
    }
    engine.declare(TABLES).unwrap();
    engine.check(query)
}

/// Queries whose state grows for ever, and the clause that it comes from.
const ENDLESS: [(&str, &str); 5] = [
    ("SELECT l.v FROM l JOIN r ON l.k = r.k", "JOIN"),
    ("SELECT k, LISTAGG(k) FROM l GROUP BY k", "GROUP BY"),
    ("SELECT v, SUM(v) OVER (PARTITION BY k ORDER BY v) FROM l", "OVER"),
    ("SELECT k FROM l EXCEPT ALL SELECT k FROM r", "EXCEPT"),
    ("INSERT INTO sink SELECT l.k, r.v FROM l LEFT JOIN r ON l.k = r.k", "JOIN"),
];

/// Queries with a bound: by key, window, interval, time or the end of the input.
const BOUNDED: [&str; 7] = [
    "SELECT v + 1 FROM l",
    "SELECT k, SUM(v) FROM l GROUP BY k",
    "SELECT k, COUNT(*) FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY k, window_start, window_end",
    "SELECT l.v FROM l JOIN r ON l.k = r.k AND l.ts BETWEEN r.ts - INTERVAL '1' MINUTE AND r.ts",
    "SELECT v, SUM(v) OVER (ORDER BY ts RANGE BETWEEN INTERVAL '1' MINUTE PRECEDING AND CURRENT ROW) FROM l",
    "SELECT a.v FROM few a JOIN few b ON a.v = b.v",
    "SELECT k, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v) AS n FROM l) WHERE n <= 3",
];

#[test]
fn state_without_a_bound_is_refused_where_that_is_asked_for() {
    for (query, clause) in ENDLESS {
        let error = check(Some("refuse"), query).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("unbounded: grows with") && text.contains("line 1, column"), "{query}: {text}");
        let Error::Sql(placed) = error else { panic!("{query}: {text}") };
        let column = placed.position.unwrap().column as usize - 1;
        assert!(query[column..].starts_with(clause), "{query}: {text}");
    }
    for query in BOUNDED {
        assert!(check(Some("refuse"), query).unwrap().is_empty(), "{query}");
    }
}

#[test]
fn it_is_warned_of_unless_allowed() {
    for (query, _) in ENDLESS {
        for setting in [None, Some("warn"), Some("WARN")] {
            let notes = check(setting, query).unwrap();
            assert!(notes.len() == 1 && notes[0].contains("unbounded: grows with"), "{query}: {notes:?}");
        }
        assert!(check(Some("allow"), query).unwrap().is_empty(), "{query}");
    }
    for query in BOUNDED {
        assert!(check(None, query).unwrap().is_empty(), "{query}");
    }
}

#[test]
fn a_state_ttl_is_a_bound() {
    for (query, _) in ENDLESS {
        let query = format!("SET 'table.exec.state.ttl' = '1 h'; {query}");
        assert!(check(Some("refuse"), &query).unwrap().is_empty(), "{query}");
    }
    let hinted = "SELECT /*+ STATE_TTL('l' = '1 h', 'r' = '2 h') */ l.v FROM l JOIN r ON l.k = r.k";
    assert!(check(Some("refuse"), hinted).unwrap().is_empty());
    // One side alone still grows.
    let half = "SELECT /*+ STATE_TTL('l' = '1 h') */ l.v FROM l JOIN r ON l.k = r.k";
    assert!(check(Some("refuse"), half).is_err());
}

#[test]
fn it_takes_three_values() {
    let mut engine = Engine::new().unwrap();
    let error = engine.set("millstream.state.unbounded", "never").unwrap_err().to_string();
    assert!(error.contains("'allow', 'warn' or 'refuse'"), "{error}");
    engine.execute("SET 'millstream.state.unbounded' = 'refuse'").unwrap();
    engine.execute("RESET 'millstream.state.unbounded'").unwrap();
    engine.declare(TABLES).unwrap();
    assert_eq!(engine.check(ENDLESS[0].0).unwrap().len(), 1);
}
