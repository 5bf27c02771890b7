//! Lookup joins against a real PostgreSQL server, which `tests/run.sh` starts and names in `MILLSTREAM_TEST_POSTGRES`.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use millstream::Engine;
use millstream::arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use millstream::engine::{Job, JobEnd, Results, lines};
use tokio_postgres::NoTls;

/// The server's address.
fn address() -> String {
    std::env::var("MILLSTREAM_TEST_POSTGRES").expect("no PostgreSQL server: run the tests by tests/run.sh")
}

/// Carries out statements at the server.
fn at_server(statements: &str) {
    Session::open(&address()).run(statements);
}

/// A session at a server.
struct Session {
    tasks: tokio::runtime::Runtime,
    client: tokio_postgres::Client,
}

impl Session {
    fn open(address: &str) -> Self {
        let tasks = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (client, connection) = tasks.block_on(tokio_postgres::connect(address, NoTls)).unwrap();
        tasks.spawn(connection);
        Self { tasks, client }
    }

    fn run(&self, statements: &str) {
        self.tasks.block_on(self.client.batch_execute(statements)).unwrap();
    }

    /// The number that a query gives, if it gives a row.
    fn number(&self, query: &str) -> Option<i32> {
        let rows = self.tasks.block_on(self.client.query(query, &[])).unwrap();
        rows.first().map(|row| row.get(0))
    }

    /// Asks until a query gives a row.
    fn until(&self, query: &str) -> i32 {
        let found = (0..100_000).find_map(|_| self.number(query));
        found.unwrap_or_else(|| panic!("never a row: {query}"))
    }
}

/// What comes of a job, line by line, and how it ends; one that waits for ever fails.
fn outcome(engine: &Engine, job: &Job, results: &mut Results) -> (String, Result<JobEnd, String>) {
    let all = async {
        let mut text = String::new();
        while let Some(changes) = results.next().await {
            text += &lines(&changes).unwrap();
        }
        (text, job.wait().await.map_err(|e| e.to_string()))
    };
    engine.block_on(async { tokio::time::timeout(Duration::from_secs(60), all).await }).expect("the job hangs")
}

/// The declaration of a table at the server.
fn table(name: &str, columns: &str, options: &str) -> String {
    table_at(&address(), name, columns, options)
}

fn table_at(address: &str, name: &str, columns: &str, options: &str) -> String {
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
    mut between: impl FnMut(),
) -> Result<String, String> {
    let input = engine.input("orders").unwrap();
    let (job, mut results) = engine.query(query).map_err(|e| e.to_string())?;
    let mut text = String::new();
    for (i, batch) in batches.iter().enumerate() {
        input.blocking_push(batch.clone()).map_err(|e| e.to_string())?;
        if i + 1 < batches.len() {
            text += &lines(&results.blocking_next().unwrap()).unwrap();
            between();
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
    let answered = answer(&mut engine, query, &[orders(&[(1, None), (2, None), (3, None)])], || {}).unwrap();
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
        "DROP TABLE IF EXISTS hostile; CREATE TABLE hostile (k text, v int);
         INSERT INTO hostile VALUES ('a', 1), ('a', 2), ('x''; DROP TABLE hostile; --', 3), ('{\"', 4), (NULL, 5)",
    );
    engine.execute(ORDERS).unwrap();
    engine.execute(&table("hostile", "k STRING, v INT", ", 'lookup.cache' = 'PARTIAL'")).unwrap();
    let query = "SELECT n, v FROM orders AS o JOIN hostile FOR SYSTEM_TIME AS OF o.`at` AS h ON o.k = h.k";
    let keys =
        [Some("a"), Some("x'; DROP TABLE hostile; --"), Some("{\""), Some("none"), None, Some("NULL"), Some("a")];
    let rows: Vec<(i32, Option<&str>)> = (0..).zip(keys).collect();
    let answered = answer(&mut engine, query, &[orders(&rows)], || {}).unwrap();
    assert_eq!(answered, "+I[0, 1]\n+I[0, 2]\n+I[1, 3]\n+I[2, 4]\n+I[6, 1]\n+I[6, 2]\n");
}

#[test]
fn a_broken_connection_is_made_again() {
    let mut engine = Engine::new().unwrap();
    at_server(
        "DROP TABLE IF EXISTS broken; CREATE TABLE broken (id int, v text); INSERT INTO broken VALUES (1, 'one'), (2, 'two')",
    );
    engine.execute(ORDERS).unwrap();
    engine.execute(&table("broken", "id INT, v STRING", "")).unwrap();
    let query = "SELECT n, v FROM orders AS o JOIN broken FOR SYSTEM_TIME AS OF o.`at` AS b ON o.n = b.id";
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%\"broken\" AS t%' AND pid <> pg_backend_pid()";
    let batches = [orders(&[(1, None)]), orders(&[(2, None)])];
    let answered = answer(&mut engine, query, &batches, || at_server(cut)).unwrap();
    assert_eq!(answered, "+I[1, one]\n+I[2, two]\n");
}

#[test]
fn a_table_that_is_not_there_ends_the_job_with_its_name() {
    let mut engine = Engine::new().unwrap();
    engine.execute(ORDERS).unwrap();
    engine.execute(&table("nowhere", "id INT, v STRING", ", 'lookup.max-retries' = '0'")).unwrap();
    let query = "SELECT n, v FROM orders AS o JOIN nowhere FOR SYSTEM_TIME AS OF o.`at` AS b ON o.n = b.id";
    let error = answer(&mut engine, query, &[orders(&[(1, None)])], || {}).unwrap_err();
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

#[test]
fn a_backend_that_is_terminated_while_it_answers_is_replaced() {
    let mut engine = Engine::new().unwrap();
    let server = Session::open(&address());
    server.run(
        "DROP TABLE IF EXISTS ended; CREATE TABLE ended (id int, v int); \
         INSERT INTO ended SELECT i, i * 2 FROM generate_series(1, 3000) AS i",
    );
    engine.execute(ORDERS).unwrap();
    engine.execute(&table("ended", "id INT, v INT", "")).unwrap();
    let query = "SELECT n, v FROM orders AS o LEFT JOIN ended FOR SYSTEM_TIME AS OF o.`at` AS e ON o.n = e.id";
    let input = engine.input("orders").unwrap();
    let (job, mut results) = engine.query(query).unwrap();
    // No request is answered as long as this lock is held: each stands in the middle of its query.
    server.run("BEGIN; LOCK TABLE ended IN ACCESS EXCLUSIVE MODE");
    let rows: Vec<(i32, Option<&str>)> = (1..=3000).map(|n| (n, None)).collect();
    input.blocking_push(orders(&rows)).unwrap();
    let mut last = 0;
    for _ in 0..2 {
        let waiting =
            format!("SELECT pid FROM pg_locks WHERE relation = 'ended'::regclass AND NOT granted AND pid <> {last}");
        last = server.until(&waiting);
        server.run(&format!("SELECT pg_terminate_backend({last})"));
    }
    server.run("COMMIT");
    drop(input);
    let (text, end) = outcome(&engine, &job, &mut results);
    assert_eq!(end, Ok(JobEnd::Finished));
    let expected: String = (1..=3000).map(|n| format!("+I[{n}, {}]\n", n * 2)).collect();
    assert!(text == expected, "{} of 3000 rows, or in another order", text.lines().count());
}

/// A server of a test's own.
struct OwnServer {
    folder: tempfile::TempDir,
    address: String,
}

const SETUP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/setup.sh");

impl OwnServer {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let started = Command::new(SETUP).arg(folder.path().join("postgres")).stderr(Stdio::null()).output().unwrap();
        assert!(started.status.success());
        Self { folder, address: String::from_utf8(started.stdout).unwrap().trim().to_string() }
    }

    fn stop(&self) {
        let folder = self.folder.path().join("postgres");
        let stopped = Command::new(SETUP).arg(folder).arg("stop").stderr(Stdio::null()).status().unwrap();
        assert!(stopped.success());
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn a_server_that_is_stopped_for_good_ends_the_job() {
    let own = OwnServer::start();
    Session::open(&own.address)
        .run("CREATE TABLE gone (id int, v text); INSERT INTO gone VALUES (1, 'one'), (2, 'two')");
    let mut engine = Engine::new().unwrap();
    engine.execute(ORDERS).unwrap();
    engine.execute(&table_at(&own.address, "gone", "id INT, v STRING", ", 'lookup.max-retries' = '2'")).unwrap();
    let query = "SELECT n, v FROM orders AS o JOIN gone FOR SYSTEM_TIME AS OF o.`at` AS g ON o.n = g.id";
    let input = engine.input("orders").unwrap();
    let (job, mut results) = engine.query(query).unwrap();
    input.blocking_push(orders(&[(1, None)])).unwrap();
    assert_eq!(lines(&results.blocking_next().unwrap()).unwrap(), "+I[1, one]\n");
    own.stop();
    input.blocking_push(orders(&[(2, None)])).unwrap();
    let (text, end) = outcome(&engine, &job, &mut results);
    let error = end.unwrap_err();
    assert_eq!(text, "");
    assert!(error.contains("looking up in table 'gone' failed 3 times"), "{error}");
    assert!(error.contains("error connecting to server"), "{error}");
    // Nor does another job begin.
    let (job, mut results) = engine.query("SELECT id FROM gone").unwrap();
    let error = outcome(&engine, &job, &mut results).1.unwrap_err();
    assert!(error.contains("gone"), "{error}");
}

#[test]
fn a_query_that_takes_too_long_ends_the_job_and_is_cancelled() {
    let mut engine = Engine::new().unwrap();
    let server = Session::open(&address());
    server.run(
        "DROP VIEW IF EXISTS slow; DROP TABLE IF EXISTS slow_rows; CREATE TABLE slow_rows (id int, v text); \
         INSERT INTO slow_rows VALUES (1, 'one'); \
         CREATE VIEW slow AS SELECT id, v || pg_sleep(3600)::text AS v FROM slow_rows",
    );
    engine.execute(ORDERS).unwrap();
    engine.execute(&table("slow", "id INT, v STRING", "")).unwrap();
    engine.set("table.exec.async-lookup.timeout", "300 ms").unwrap();
    let query = "SELECT n, v FROM orders AS o JOIN slow FOR SYSTEM_TIME AS OF o.`at` AS s ON o.n = s.id";
    let input = engine.input("orders").unwrap();
    let (job, mut results) = engine.query(query).unwrap();
    input.blocking_push(orders(&[(1, None), (2, None)])).unwrap();
    let (text, end) = outcome(&engine, &job, &mut results);
    assert_eq!(text, "");
    let error = end.unwrap_err();
    assert!(error.contains("looking up 2 keys in table 'slow' took longer than 300ms"), "{error}");
    let running = "SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%\"slow\" AS t%' AND pid <> pg_backend_pid()";
    server.until(&format!("SELECT 1 WHERE NOT EXISTS ({running})"));
}

#[test]
fn many_keys_go_in_bounded_requests_over_one_connection() {
    let mut engine = Engine::new().unwrap();
    let server = Session::open(&address());
    server.run(
        "DROP VIEW IF EXISTS many; DROP FUNCTION IF EXISTS many_noted; DROP TABLE IF EXISTS many_rows, many_calls; \
         CREATE TABLE many_rows (id int, v int); INSERT INTO many_rows SELECT i, -i FROM generate_series(1, 12000) AS i; \
         CREATE TABLE many_calls (pid int); \
         CREATE FUNCTION many_noted() RETURNS boolean LANGUAGE sql VOLATILE AS \
         'INSERT INTO many_calls VALUES (pg_backend_pid()); SELECT true'; \
         CREATE VIEW many AS SELECT id, v FROM many_rows WHERE (SELECT many_noted())",
    );
    engine.execute(ORDERS).unwrap();
    engine.execute(&table("many", "id INT, v INT", "")).unwrap();
    let query = "SELECT n, v FROM orders AS o JOIN many FOR SYSTEM_TIME AS OF o.`at` AS m ON o.n = m.id";
    let input = engine.input("orders").unwrap();
    let (job, mut results) = engine.query(query).unwrap();
    // 7919 is prime to 10000: each key once.
    let keys: Vec<i32> = (0..10_000).map(|i| i * 7919 % 10_000 + 1).collect();
    let rows: Vec<(i32, Option<&str>)> = keys.iter().map(|n| (*n, None)).collect();
    input.blocking_push(orders(&rows)).unwrap();
    drop(input);
    let (text, end) = outcome(&engine, &job, &mut results);
    assert_eq!(end, Ok(JobEnd::Finished));
    let expected: String = keys.iter().map(|n| format!("+I[{n}, {}]\n", -n)).collect();
    assert!(text == expected, "{} of 10000 rows, or in another order", text.lines().count());
    // Requests of 1024 keys, the last of what is left.
    assert_eq!(server.number("SELECT count(*)::int FROM many_calls"), Some(10));
    assert_eq!(server.number("SELECT count(DISTINCT pid)::int FROM many_calls"), Some(1));
}
