//! Kafka, against a real broker, which `tests/run.sh` starts and names in `MILLSTREAM_TEST_KAFKA`.

mod broker;
mod killed;
mod sink;
mod source;
mod transactions;
mod upsert;

use millstream::Engine;
use millstream::engine::{JobEnd, lines};

/// The options of a table's topic.
fn connector(name: &str, topic: &str, options: &[(&str, &str)]) -> String {
    let servers = broker::address();
    let own = [("connector", name), ("topic", topic), ("properties.bootstrap.servers", servers.as_str())];
    let all = own.iter().chain(options).map(|(key, value)| format!("'{key}' = '{value}'"));
    all.collect::<Vec<_>>().join(", ")
}

/// The declaration of a table of the connector `kafka`.
fn table(name: &str, columns: &str, topic: &str, options: &[(&str, &str)]) -> String {
    format!("CREATE TABLE {name} ({columns}) WITH ({})", connector("kafka", topic, options))
}

/// What is read from the beginning of a topic to its end.
const ALL: [(&str, &str); 2] = [("scan.startup.mode", "earliest-offset"), ("scan.bounded.mode", "latest-offset")];

/// The lines of a query that ends, or why it failed.
fn answer(engine: &mut Engine, query: &str) -> Result<Vec<String>, String> {
    let (job, mut results) = engine.query(query).map_err(|e| e.to_string())?;
    let mut shown = Vec::new();
    while let Some(changes) = results.blocking_next() {
        shown.extend(lines(&changes).unwrap().lines().map(str::to_owned));
    }
    match engine.block_on(job.wait()) {
        Ok(end) => {
            assert_eq!(end, JobEnd::Finished);
            Ok(shown)
        }
        Err(e) => Err(e.to_string()),
    }
}

/// The same in order.
fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// Carries out an INSERT that ends.
fn insert(engine: &mut Engine, statement: &str) -> Result<(), String> {
    let job = engine.run(statement, |_, _| Ok(())).map_err(|e| e.to_string())?;
    let job = job.expect("a statement that starts a job");
    engine.block_on(job.wait()).map(|_| ()).map_err(|e| e.to_string())
}
