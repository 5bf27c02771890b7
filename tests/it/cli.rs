//! The binary, from the outside: what it prints where, and with what it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_millstream");
/// Those of `queries/` whose results are committed beside them.
const ANSWERED: [&str; 4] = ["sensor_anomalies", "shop_counters", "payments_per_card", "ledger"];

/// What a run of the binary came to.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    /// What it printed, of a run that went well.
    fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.out
    }

    /// What it complained of, of a run that failed and gave no results.
    fn failed(self) -> String {
        assert_eq!((self.code, self.out.as_str()), (Some(1), ""), "{}", self.err);
        self.err
    }
}

/// Starts the binary in the repository's root, where the paths in `queries/` lead from.
fn start(args: &[&str]) -> Child {
    let mut command = Command::new(BINARY);
    command.args(args).current_dir(root()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the binary to its end, with a script on standard input.
fn with_script(args: &[&str], script: &str) -> Ran {
    let mut child = start(args);
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: done.status.code(), out: text(done.stdout), err: text(done.stderr) }
}

fn millstream(args: &[&str]) -> Ran {
    with_script(args, "")
}

/// Lines in an order of their own: with several workers, keys of one window come in another.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// All scripts in a directory under the root.
fn scripts(directory: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(directory)).unwrap();
    let mut paths: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "sql"));
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

#[test]
fn queries_give_their_committed_answers() {
    for name in ANSWERED.into_iter().chain(crate::pages::PAGES) {
        let path = format!("queries/{name}.sql");
        let expected = std::fs::read_to_string(root().join(format!("queries/expected/{name}.txt"))).unwrap();
        assert_eq!(millstream(&["run", &path]).good(), expected, "{name}");
        let divided = millstream(&["run", &path, "--parallelism", "2"]).good();
        assert_eq!(sorted(&divided), sorted(&expected), "{name}");
    }
}

#[test]
fn every_query_is_checked_and_explained() {
    for path in scripts("queries").iter().chain(&scripts("queries/nexmark")) {
        let path = path.to_str().unwrap();
        let check = millstream(&["check", path]);
        assert_eq!((check.err.as_str(), check.out.as_str(), check.code), ("", "", Some(0)), "{path}");
        let plan = millstream(&["explain", path]).good();
        assert!(plan.contains("Source(") && plan.contains("changelog: append"), "{path}: {plan}");
    }
}

#[test]
fn nexmark_queries_run() {
    for path in scripts("queries/nexmark") {
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, from) = text.split_once("'events.num' = '").unwrap();
        let short = format!("{before}'events.num' = '5000{}", from.trim_start_matches(|c: char| c.is_ascii_digit()));
        let ran = with_script(&["run", "-", "--parallelism", "2"], &short);
        assert_eq!((ran.err.as_str(), ran.out.as_str(), ran.code), ("", "", Some(0)), "{path:?}");
    }
}

#[test]
fn errors_in_sql_name_their_place_and_mark_it() {
    let script =
        "CREATE TABLE t (a INT) WITH ('connector' = 'datagen', 'number-of-rows' = '1');\nSELECT a,\n  nope FROM t;";
    for command in ["run", "check", "explain"] {
        let error = with_script(&[command, "-"], script).failed();
        assert!(error.starts_with("error: line 3, column 3: "), "{error}");
        assert!(error.ends_with("\n  |\n3 |   nope FROM t\n  |   ^^^^\n"), "{error}");
    }
    let error = with_script(&["check", "-"], "SELECT 1 FRM t").failed();
    assert!(error.starts_with("error: line 1, column "), "{error}");
}

#[test]
fn what_is_not_planned_is_refused_by_name() {
    let table = "CREATE TABLE t (a INT) WITH ('connector' = 'datagen');\n";
    for (query, column, name) in
        [("SELECT a FROM t ORDER BY a", 17, "ORDER BY"), ("SELECT a, EXISTS (SELECT a FROM t) FROM t", 11, "EXISTS")]
    {
        let error = with_script(&["check", "-"], &format!("{table}{query}")).failed();
        assert!(error.starts_with(&format!("error: line 2, column {column}: not supported: {name}")), "{error}");
    }
}

#[test]
fn tables_are_checked_when_they_are_used() {
    let table = "CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = 'jsn');";
    assert_eq!(with_script(&["check", "-"], table).code, Some(0));
    let error = with_script(&["check", "-"], &format!("{table} SELECT a FROM t")).failed();
    assert!(error.contains("column 105: table 't': unknown format 'jsn'; did you mean 'json'?\n"), "{error}");
}

#[test]
fn a_failure_on_the_data_is_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rows.json");
    std::fs::write(&path, "{\"n\":1}\n{\"n\":oops}\n").unwrap();
    let table = |options: &str| {
        let path = path.display();
        format!(
            "CREATE TABLE t (n INT) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json'{options});\n\
             SELECT n FROM t;"
        )
    };
    let strict = with_script(&["run", "-"], &table(""));
    assert_eq!(strict.code, Some(1));
    assert!(strict.err.starts_with("error: ") && strict.err.contains("rows.json line 2"), "{}", strict.err);
    assert_eq!(strict.err.lines().count(), 1, "{}", strict.err);

    let lenient = with_script(&["run", "-"], &table(", 'json.ignore-parse-errors' = 'true'"));
    assert_eq!(lenient.err, "note: 1 records could not be read and were skipped\n");
    assert_eq!(lenient.good(), "+I[1]\n");

    let division = with_script(&["run", "-"], "SELECT 1 / n FROM (VALUES (1), (0)) AS v(n)").failed();
    assert_eq!(division.lines().count(), 1, "{division}");
    assert!(division.to_lowercase().contains("division by zero") || division.contains("Divide by zero"), "{division}");
}

#[test]
fn files_that_cannot_be_read() {
    let error = millstream(&["run", "queries/none.sql"]).failed();
    assert!(error.starts_with("error: reading queries/none.sql: "), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert_eq!(millstream(&["walk", "queries/quickstart.sql"]).code, Some(2));
}

#[test]
fn settings_from_the_command_line() {
    let show = "SET;";
    let out =
        with_script(&["run", "-", "--set", "table.local-time-zone=Europe/Berlin", "--parallelism", "2"], show).good();
    assert!(out.contains("Europe/Berlin") && out.contains("parallelism.default"), "{out}");

    let error = with_script(&["run", "-", "--set", "parallelism.default"], show).failed();
    assert!(error.contains("expected KEY=VALUE"), "{error}");
    let error = with_script(&["run", "-", "--parallelism", "0"], show).failed();
    assert!(error.contains("parallelism.default"), "{error}");

    let flinks = with_script(&["check", "-", "--set", "state.backend.type=rocksdb"], "");
    assert_eq!(flinks.err, "note: 'state.backend.type' has no meaning here and is ignored\n");
    let unknown = with_script(&["check", "-", "--set", "paralelism.default=2"], "");
    assert!(unknown.err.contains("did you mean 'parallelism.default'?"), "{}", unknown.err);
    assert_eq!((flinks.code, unknown.code), (Some(0), Some(0)));
}

#[test]
fn a_table_used_in_the_wrong_direction_is_told_before_anything_runs() {
    let tables = "CREATE TABLE p (a INT) WITH ('connector' = 'print');
        CREATE TABLE n (event_type INT) WITH ('connector' = 'nexmark', 'events.num' = '1');\n";
    for (statement, wanted) in [
        ("SELECT a FROM p", "line 3, column 15: table 'p': connector 'print' can only be written"),
        ("INSERT INTO n SELECT 1", "line 3, column 13: table 'n': connector 'nexmark' can only be read"),
    ] {
        let out = with_script(&["check", "-"], &format!("{tables}{statement}"));
        assert_eq!(out.code, Some(1));
        assert!(out.err.contains(wanted), "{}", out.err);
    }
}

#[test]
fn results_as_a_table() {
    let out = with_script(
        &["run", "-", "--result-mode", "table"],
        "SELECT n, s FROM (VALUES (1, 'a'), (22, 'bc')) AS v(n, s)",
    );
    let table = "+----+----+\n| n  | s  |\n+----+----+\n| 1  | a  |\n| 22 | bc |\n+----+----+\n";
    assert_eq!(out.good(), table);
}

#[test]
fn changing_results_as_a_table_are_what_stands_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let lines = [
        r#"{"op":"c","after":{"id":1,"s":"a"}}"#,
        r#"{"op":"c","after":{"id":2,"s":"b"}}"#,
        r#"{"op":"u","after":{"id":1,"s":"c"}}"#,
        r#"{"op":"d","before":{"id":2}}"#,
    ];
    std::fs::write(directory.path().join("in"), lines.join("\n")).unwrap();
    let script = format!(
        "CREATE TABLE t (id INT, s STRING, PRIMARY KEY (id) NOT ENFORCED)
           WITH ('connector' = 'filesystem', 'format' = 'debezium-json', 'path' = '{}');
         SELECT * FROM t",
        directory.path().display()
    );
    let steps = ["--set", "millstream.step.max-rows=1"];
    let out = with_script(&[&["run", "-", "--result-mode", "table"][..], &steps].concat(), &script);
    assert_eq!(out.good(), "+----+---+\n| id | s |\n+----+---+\n| 1  | c |\n+----+---+\n");
    assert_eq!(with_script(&["run", "-"], &script).good(), "+I[1, c]\n");
}

/// An endless table and what is read of it: the rows as they come, and their number by the day.
const ENDLESS: &str = "
    CREATE TABLE endless (n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen',
      'rows-per-second' = '500', 'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '1000000000000');
    CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'print', 'print-identifier' = 'row');
    CREATE TABLE counts (n BIGINT) WITH ('connector' = 'print', 'print-identifier' = 'count');
    EXECUTE STATEMENT SET BEGIN
      INSERT INTO numbers SELECT n FROM endless;
      INSERT INTO counts SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE endless, DESCRIPTOR(ts), INTERVAL '1' DAY))
        GROUP BY window_start, window_end;
    END;";

#[test]
#[cfg(unix)]
fn an_interrupt_drains_and_flushes() {
    for workers in ["1", "2"] {
        let mut child = start(&["run", "-", "--parallelism", workers]);
        child.stdin.take().unwrap().write_all(ENDLESS.as_bytes()).unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        assert_eq!(first, "row> +I[1]\n");
        assert!(Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap().success());

        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert!(child.wait().unwrap().success());
        let rows = 1 + rest.lines().filter(|l| l.starts_with("row> ")).count();
        let counted: usize =
            rest.lines().filter_map(|l| l.strip_prefix("count> +I[")?.strip_suffix(']')?.parse::<usize>().ok()).sum();
        assert_eq!(counted, rows, "every row that was read is in its window's result");
    }
}

#[test]
fn test_scripts_are_run_and_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, expected: &str| {
        let path = folder.path().join(name);
        let script = format!("query I\nVALUES (1), (2)\n----\n{expected}\n");
        std::fs::write(&path, script).unwrap();
        path.display().to_string()
    };
    let (good, bad) = (file("a_good.slt", "1\n2"), file("b_bad.slt", "1\n3"));
    file("no_script.txt", "");
    let passed = millstream(&["test", &good]).good();
    assert!(passed.starts_with(&format!("ok   {good}\n1 of 1 scripts passed, 0 failed; 1 cases in ")), "{passed}");

    let folder = folder.path().display().to_string();
    let failed = millstream(&["test", &folder, "--jobs", "2", "-v"]);
    assert_eq!((failed.code, failed.err.as_str()), (Some(1), ""));
    let lines: Vec<&str> = failed.out.lines().collect();
    assert!(lines[0].starts_with(&format!("ok   {good}: 1 cases, run 5 times, 5 checks held, ")), "{}", failed.out);
    assert!(lines[1].starts_with(&format!("FAIL {bad}: 1 cases, run 1 times, 0 checks held, ")), "{}", failed.out);
    for part in ["-   3", "+   2", &format!("at {bad}:1 (as written)"), "1 of 2 scripts passed, 1 failed"] {
        assert!(failed.out.contains(part), "{part}: {}", failed.out);
    }

    assert!(millstream(&["test", &folder, "--complete"]).good().contains("2 of 2 scripts passed"));
    assert!(std::fs::read_to_string(&bad).unwrap().ends_with("----\n1\n2\n"));
    let nothing = millstream(&["test", &format!("{folder}/none.slt")]);
    assert!(nothing.code == Some(1) && nothing.out.contains("FAIL"), "{nothing:?}");
    let broken = millstream(&["test", &good, "--mode", "fast"]);
    assert!(broken.err.contains("there is no mode 'fast'"), "{broken:?}");
}
