//! Lookup joins against a real PostgreSQL server, which `tests/run.sh` starts and names in `MILLSTREAM_TEST_POSTGRES`.

use std::sync::Arc;

use millstream::Engine;
use millstream::arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use millstream::engine::{JobEnd, lines};
use tokio_postgres::NoTls;

/// The server's address.
fn address() -> String {
    std::env::var("MILLSTREAM_TEST_POSTGRES").expect("no PostgreSQL server: run the tests by tests/run.sh")
}

/// Carries out statements at the server.
fn at_server(engine: &Engine, statements: &str) {
    let run = async {
        let (client, connection) = tokio_postgres::connect(&address(), NoTls).await.unwrap();
        let (done, _) = tokio::join!(
            async move {
                let done = client.batch_execute(statements).await;
                drop(client);
                done
            },
            connection
        );
        done.unwrap();
    };
    engine.block_on(run);
}

/// The declaration of a table at the server.
fn table(name: &str, columns: &str, options: &str) -> String {
    let address = address();
    let (_, server) = address.split_once('@').unwrap();
    format!(
        "CREATE TABLE {name} ({columns}) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://{server}', \
         'table-name' = '{name}', 'username' = 'postgres'{options})"
    )
}

const ORDERS: &str = "CREATE TABLE orders (n INT, k STRING, `at` AS PROCTIME()) WITH ('connector' = 'channel')";

fn orders(rows: &[(i32, Option<&str>)]) -> RecordBatch {
    let n: ArrayRef = Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.0)));
    let k: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|r| r.1)));
    RecordBatch::try_from_iter([("n", n), ("k", k)]).unwrap()
}

/// The answer to a query over orders that come in some batches, or why it failed. Between two batches `between` runs, when the
/// answers to the first are there.
fn answer(
    engine: &mut Engine,
    query: &str,
    batches: &[RecordBatch],
    mut between: impl FnMut(&Engine),
) -> Result<String, String> {
    let input = engine.input("orders").unwrap();
    let (job, mut results) = engine.query(query).map_err(|e| e.to_string())?;
    let mut text = String::new();
    for (i, batch) in batches.iter().enumerate() {
        input.blocking_push(batch.clone()).map_err(|e| e.to_string())?;
        if i + 1 < batches.len() {
            text += &lines(&results.blocking_next().unwrap()).unwrap();
            between(engine);
        }
    }
    drop(input);
    while let Some(changes) = results.blocking_next() {
        text += &lines(&changes).unwrap();
    }
    match engine.block_on(job.wait()) {
        Ok(end) => {
            assert_eq!(end, JobEnd::Finished);
            Ok(text)
        }
        Err(e) => Err(e.to_string()),
    }
}

#[test]
fn every_type_crosses() {
    let mut engine = Engine::new().unwrap();
    at_server(
        &engine,
        "DROP TABLE IF EXISTS every_type; CREATE TABLE every_type (id int, b boolean, s smallint, l bigint, r real, \
         d double precision, m numeric(10, 2), t varchar(9), day date, at timestamp, bytes bytea);
         INSERT INTO every_type VALUES (1, true, -3, 9007199254740993, 0.1, 1e300, 12.50, 'é''\"', '2024-02-29', \
         '2024-02-29 23:59:59.123', '\\x00ff'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    );
    engine.execute(ORDERS).unwrap();
    let columns = "id INT, b BOOLEAN, s SMALLINT, l BIGINT, r FLOAT, d DOUBLE, m DECIMAL(10, 2), t STRING, `day` DATE, \
                   `at` TIMESTAMP(3), bytes BYTES";
    engine.execute(&table("every_type", columns, "")).unwrap();
    let query = "SELECT n, b, s, l, r, d, m, t, `day`, e.`at`, bytes FROM orders AS o LEFT JOIN every_type \
                 FOR SYSTEM_TIME AS OF o.`at` AS e ON o.n = e.id";
    let answered = answer(&mut engine, query, &[orders(&[(1, None), (2, None), (3, None)])], |_| {}).unwrap();
    let nulls = "null, ".repeat(9) + "null]";
    let rows: Vec<&str> = answered.lines().collect();
    assert_eq!(rows.len(), 3, "{answered}");
    let first = "+I[1, true, -3, 9007199254740993, 0.1, 1.0E300, 12.50, é'\", 2024-02-29, 2024-02-29T23:59:59.123, ";
    assert!(rows[0].to_lowercase().starts_with(&first.to_lowercase()), "{answered}");
    assert_eq!(rows[1], format!("+I[2, {nulls}").to_string().as_str(), "{answered}");
    assert_eq!(rows[2], format!("+I[3, {nulls}").to_string().as_str(), "{answered}");
}

#[test]
fn keys_are_values_and_never_part_of_a_statement() {
    let mut engine = Engine::new().unwrap();
    at_server(
        &engine,
        "DROP TABLE IF EXISTS hostile; CREATE TABLE hostile (k text, v int);
         INSERT INTO hostile VALUES ('a', 1), ('a', 2), ('x''; DROP TABLE hostile; --', 3), ('{\"', 4), (NULL, 5)",
    );
    engine.execute(ORDERS).unwrap();
    engine.execute(&table("hostile", "k STRING, v INT", ", 'lookup.cache' = 'PARTIAL'")).unwrap();
    let query = "SELECT n, v FROM orders AS o JOIN hostile FOR SYSTEM_TIME AS OF o.`at` AS h ON o.k = h.k";
    let keys =
        [Some("a"), Some("x'; DROP TABLE hostile; --"), Some("{\""), Some("none"), None, Some("NULL"), Some("a")];
    let rows: Vec<(i32, Option<&str>)> = (0..).zip(keys).collect();
    let answered = answer(&mut engine, query, &[orders(&rows)], |_| {}).unwrap();
    assert_eq!(answered, "+I[0, 1]\n+I[0, 2]\n+I[1, 3]\n+I[2, 4]\n+I[6, 1]\n+I[6, 2]\n");
}

#[test]
fn a_broken_connection_is_made_again() {
    let mut engine = Engine::new().unwrap();
    at_server(
        &engine,
        "DROP TABLE IF EXISTS broken; CREATE TABLE broken (id int, v text); INSERT INTO broken VALUES (1, 'one'), (2, 'two')",
    );
    engine.execute(ORDERS).unwrap();
    engine.execute(&table("broken", "id INT, v STRING", "")).unwrap();
    let query = "SELECT n, v FROM orders AS o JOIN broken FOR SYSTEM_TIME AS OF o.`at` AS b ON o.n = b.id";
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%\"broken\" AS t%' AND pid <> pg_backend_pid()";
    let batches = [orders(&[(1, None)]), orders(&[(2, None)])];
    let answered = answer(&mut engine, query, &batches, |engine| at_server(engine, cut)).unwrap();
    assert_eq!(answered, "+I[1, one]\n+I[2, two]\n");
}

#[test]
fn a_table_that_is_not_there_ends_the_job_with_its_name() {
    let mut engine = Engine::new().unwrap();
    engine.execute(ORDERS).unwrap();
    engine.execute(&table("nowhere", "id INT, v STRING", ", 'lookup.max-retries' = '0'")).unwrap();
    let query = "SELECT n, v FROM orders AS o JOIN nowhere FOR SYSTEM_TIME AS OF o.`at` AS b ON o.n = b.id";
    let error = answer(&mut engine, query, &[orders(&[(1, None)])], |_| {}).unwrap_err();
    assert!(error.contains("nowhere") && error.contains("does not exist"), "{error}");
    let wrong =
        "CREATE TABLE wrong (id INT) WITH ('connector' = 'jdbc', 'url' = 'jdbc:mysql://h/d', 'table-name' = 't')";
    engine.execute(wrong).unwrap();
    let error = engine.query("SELECT * FROM wrong").unwrap_err().to_string();
    assert!(error.contains("expected jdbc:postgresql://"), "{error}");
}

#[test]
fn a_table_is_read_from_beginning_to_end() {
    let mut engine = Engine::new().unwrap();
    at_server(
        &engine,
        "DROP TABLE IF EXISTS long_table; CREATE TABLE long_table (id int); INSERT INTO long_table SELECT generate_series(1, 20000)",
    );
    engine.execute(&table("long_table", "id INT", "")).unwrap();
    let (job, mut results) = engine.query("SELECT id FROM long_table").unwrap();
    let mut sum = 0i64;
    while let Some(changes) = results.blocking_next() {
        let ids = changes.rows.column(0).as_any().downcast_ref::<Int32Array>().unwrap();
        sum += ids.iter().flatten().map(i64::from).sum::<i64>();
    }
    engine.block_on(job.wait()).unwrap();
    assert_eq!(sum, 20000 * 20001 / 2);
}
