//! The test scripts of `tests/scripts`, and what the test driver finds wrong in scripts that are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::DataType;
use millstream::datafusion_common::ScalarValue;
use millstream::datafusion_expr::{ColumnarValue, Volatility, create_udf};
use millstream::testing::{Mode, ModeKind, Options, Report, Script, TestDriver};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts")
}

#[test]
fn scripts_hold_in_every_mode() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "slt"));
    files.sort();
    let mut all = Report::default();
    for file in &files {
        let report = Script::read(file).unwrap().run(&Options::default());
        all.cases += report.cases;
        all.runs += report.runs;
        all.checks += report.checks;
        all.time += report.time;
        all.failures.extend(report.failures);
    }
    let told: Vec<String> = all.failures.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{}", told.join("\n\n"));
    assert!(all.cases >= 30, "only {} cases", all.cases);
    // Each case in five modes and more.
    assert!(all.runs >= 5 * 30, "only {} runs", all.runs);
    println!("{} cases, {} runs, {} checks, {:?}", all.cases, all.runs, all.checks, all.time);
}

const TABLE: &str = "
statement ok
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '10' SECOND)
WITH ('connector' = 'channel')
";

fn run(script: &str) -> Report {
    Script::parse("wrong.slt", format!("{TABLE}\n{script}")).unwrap().run(&Options::default())
}

/// The kinds of modes in which something is wrong, the first message, and its line.
fn wrong(script: &str) -> (Vec<Mode>, String, usize) {
    let report = run(script);
    let first = report.failures.first().unwrap_or_else(|| panic!("nothing is found wrong in {script}"));
    (report.failures.iter().map(|f| f.mode).collect(), first.to_string(), first.place.line)
}

#[test]
fn what_does_not_hold_is_shown_with_its_place() {
    let (modes, message, line) =
        wrong("query sums\nSELECT SUM(v) FROM t\n\npush t\na, 1, 00:00:01\n\ntable sums\n----\n2\n");
    assert_eq!((modes, line), (vec![Mode::Written], 12));
    for part in ["-   2", "+   1", "at wrong.slt:12", "as written", "the table of sums"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let (_, message, _) = wrong("query sums\nSELECT SUM(v) FROM t\n\npush t\na, 1, 00:00:01\n\nchanges\n----\n+U[1]\n");
    assert!(message.contains("-   +U[1]") && message.contains("+   +I[1]"), "{message}");
    let (_, message, line) = wrong("query\nSELECT nope FROM t\n----\n");
    assert!(line == 6 && message.contains("unknown column 'nope'"), "{message}");
    let (_, message, _) = wrong("statement error no such thing\nSELECT nope FROM t\n");
    assert!(message.contains("no such thing") && message.contains("unknown column 'nope'"), "{message}");
    let (_, message, _) = wrong("statement error\nSELECT k FROM t\n");
    assert!(message.contains("expected to fail"), "{message}");
    let (_, message, line) = wrong("push t\na, 1, 00:00:01\nb, two, 00:00:02\n");
    assert!(line == 8 && message.contains("column 'v'") && message.contains("[row] b, two"), "{message}");
    let (_, message, _) = wrong("push t\n{\"k\": \"a\", \"w\": 1}\n");
    assert!(message.contains("no column 'w'"), "{message}");
    let (_, message, _) = wrong("push t\n-D a, 1, 00:00:01\n");
    assert!(message.contains("takes new rows only"), "{message}");
    let (_, message, _) = wrong("query\nSELECT k FROM t\n\nlate 1\n");
    assert!(message.contains("1 late rows are expected, and there are 0"), "{message}");
    let (_, message, _) =
        wrong("query\nSELECT SUM(v) FROM t GROUP BY k\n\npush t\na, 1, 00:00:01\n\nstate GroupAggregate <= 0\n");
    assert!(message.contains("GroupAggregate holds 1 rows of state"), "{message}");
    let (_, message, _) = wrong("query sums\nSELECT v FROM t\n\ntable sum\n----\n");
    assert!(message.contains("did you mean 'sums'?"), "{message}");
    let (_, message, _) = wrong("query IT\nSELECT v, v FROM t\n");
    assert!(message.contains("column") && message.contains("not T"), "{message}");
    let (_, message, _) = wrong("clock 10:00\n\nclock 09:00\n");
    assert!(message.contains("goes forward only"), "{message}");
}

#[test]
fn a_query_that_fails_unseen_is_told() {
    let (_, message, line) = wrong("query\nSELECT 1 / v FROM t\n\npush t\na, 0, 00:00:01\n");
    assert!(line == 6 && message.contains("division by zero"), "{message}");
    assert!(run("push t\na, 0, 00:00:01\n\nquery error division by zero\nSELECT 1 / v FROM t\n").passed());
    let (_, message, _) = wrong("push t\na, 1, 00:00:01\n\nquery error division by zero\nSELECT 1 / v FROM t\n");
    assert!(message.contains("expected to fail"), "{message}");
}

#[test]
fn what_cannot_be_read_is_told_with_its_form() {
    for (script, form) in [
        ("watermark t\n", "watermark TABLE '2024-01-01 00:00:10'"),
        ("clock later\n", "'later' is no time"),
        ("changes\n+I[1]\n", "expected ----"),
        ("state GroupAggregate = 1\n", "state OPERATOR <= ROWS"),
        ("tolerates chaos\n", "tolerates disorder"),
        ("modes writen\n", "did you mean 'written'?"),
        ("sleep 1s\n", "nothing sleeps here"),
        ("system ok\necho\n", "nothing is run outside"),
        ("selct 1\n", "selct"),
    ] {
        let error = Script::parse("x.slt", format!("\n{script}")).unwrap_err().to_string();
        assert!(error.starts_with("x.slt:") && error.contains(form), "{form}: {error}");
    }
}

/// The one who says that order does not matter, and is wrong, is told so with the seed; the same for rows that come twice.
#[test]
fn what_hangs_on_order_or_repetition_is_found() {
    let last = "query\nSELECT k, LAST_VALUE(v) FROM t GROUP BY k\n\npush t\na, 1, 00:00:01\na, 2, 00:00:02\na, 3, 00:00:03\n\n\
                table\n----\na, 3\n\n";
    assert!(run(last).passed());
    let (modes, message, _) = wrong(&format!("{last}tolerates disorder\n"));
    assert!(modes.iter().all(|m| matches!(m, Mode::Disorder(_))), "{modes:?}");
    assert!(message.contains("rows shuffled, seed "), "{message}");

    let count = "query\nSELECT COUNT(*) FROM t\n\npush t\na, 1, 00:00:01\nb, 2, 00:00:02\nc, 3, 00:00:03\nd, 3, 00:00:03\n\n\
                 table\n----\n4\n\n";
    assert!(run(&format!("{count}tolerates disorder t\n")).passed());
    let (modes, message, _) = wrong(&format!("{count}tolerates duplicates t\n"));
    assert!(modes.iter().all(|m| matches!(m, Mode::Duplicates(_))), "{modes:?}");
    assert!(message.contains("rows repeated, seed "), "{message}");
}

/// What depends on how the input is cut is found in the mode that cuts it otherwise, unless the script says that this is no mode
/// for it.
#[test]
fn what_hangs_on_the_cut_is_found() {
    let stamped = "query\nSELECT COUNT(DISTINCT CURRENT_TIMESTAMP) FROM t\n\npush t\na, 1, 00:00:01\n\nclock +1 s\n\npush t\nb, 2, 00:00:02\n\n\
                   table\n----\n2\n\n";
    assert!(run(stamped).passed());
    let changes = "query\nSELECT COUNT(*) FROM t\n\npush t\na, 1, 00:00:01\nb, 2, 00:00:02\n\nchanges\n----\n+I[2]\n\n";
    assert!(run(changes).passed());
    let report = run(&format!("{changes}modes written, restored\n"));
    assert_eq!((report.runs, report.passed()), (2, true));
    let only = Options { modes: vec![ModeKind::Rows, ModeKind::Workers], ..Options::default() };
    let report = Script::parse("x.slt", format!("{TABLE}\n{changes}")).unwrap().run(&only);
    assert_eq!((report.runs, report.passed()), (2, true));
}

#[test]
fn completing_writes_what_comes_out() {
    let script = format!(
        "{TABLE}\nquery sums\nSELECT k, SUM(v) FROM t GROUP BY k\n\n# Rows.\npush t\na, 1, 00:00:01\nb, 2, 00:00:02\n\n\
         table\n----\nwrong\n\nchanges\n----\n\nlate 7\n\nstatement error something else\nSELECT nope FROM t\n"
    );
    let report = Script::parse("x.slt", script.clone()).unwrap().run(&Options::default());
    let completed = report.completed.unwrap();
    let expected = script
        .replace("wrong\n", "a, 1\nb, 2\n")
        .replace("changes\n----\n", "changes\n----\n+I[a, 1]\n+I[b, 2]\n")
        .replace("late 7", "late 0")
        .replace("something else", "line 1, column 8: unknown column 'nope'");
    assert_eq!(completed, expected);
    let report = Script::parse("x.slt", completed).unwrap().run(&Options::default());
    assert!(report.passed(), "{:?}", report.failures);
    assert!(report.completed.is_none());
}

const PAIRS: &str = "CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
                     WITH ('connector' = 'channel');
                     CREATE TABLE sums (k STRING, total INT) WITH ('connector' = 'channel');
                     INSERT INTO sums SELECT k, SUM(v) FROM t GROUP BY k";

#[test]
fn a_driver_goes_back_to_a_snapshot() {
    let mut driver = TestDriver::new().with_workers(2);
    driver.execute(PAIRS).unwrap();
    driver.push("t", "a, 1, 00:00:01\nb, 2, 00:00:02").unwrap();
    driver.step().unwrap();
    let snapshot = driver.snapshot().unwrap();
    for workers in [1, 3] {
        driver.restore(&snapshot, workers).unwrap();
        driver.push("t", "+I[a, 4, 2024-01-01T00:00:03]").unwrap();
        driver.advance_clock(Duration::from_secs(1));
        driver.step().unwrap();
        let mut changes = driver.changes("sums").unwrap();
        changes.sort();
        assert_eq!(changes, ["+I[a, 1]", "+I[b, 2]", "+U[a, 5]", "-U[a, 1]"], "on {workers}");
        assert!(driver.changes("sums").unwrap().is_empty());
        let groups = driver.operators("sums").unwrap().into_iter().find(|o| o.name == "GroupAggregate").unwrap();
        assert_eq!(groups.stats.state_rows, 2);
    }
    // Started late, it sees all that has gone in, and nothing of what was taken back.
    driver.query("late", "SELECT COUNT(*), SUM(v) FROM t").unwrap();
    assert_eq!(driver.table("late").unwrap(), ["3, 7"]);
    assert!(driver.restore(&snapshot, 1).unwrap_err().to_string().contains("other queries"));
}

#[test]
fn a_driver_tells_what_cannot_be_done() {
    let mut driver = TestDriver::new();
    driver.execute(PAIRS).unwrap();
    let told = |error: millstream::Error| error.to_string();
    assert!(told(driver.push("s", "1").unwrap_err()).contains("no table 's'"));
    assert!(told(driver.push("t", "a, 1, 00:00:01\nb").unwrap_err()).starts_with("row 2: 1 values for the 3 columns"));
    assert!(told(driver.watermark("sums", "00:00:01").unwrap_err()).contains("no watermark"));
    assert!(told(driver.changes("sum").unwrap_err()).contains("did you mean 'sums'?"));
    assert!(told(driver.execute("SELECT k FROM t").unwrap_err()).contains("needs a name"));
    assert!(told(driver.query("two", "SELECT k FROM t; SELECT v FROM t").unwrap_err()).contains("one query"));
    driver.query("inverse", "SELECT 1 / v FROM t").unwrap();
    driver.push("t", "a, 0, 00:00:01").unwrap();
    assert!(told(driver.step().unwrap_err()).contains("division by zero"));
    // The other goes on.
    assert_eq!(driver.table("sums").unwrap(), ["a, 0"]);
    assert!(driver.table("inverse").is_err());
    driver.end_all();
    assert!(driver.step().is_err());
    driver.push("t", "a, 1, 00:00:02").unwrap();
    driver.step().unwrap_err();
    assert!(told(driver.table("sums").unwrap_err()).contains("whose input has ended"));
}

#[test]
fn scripts_run_with_functions_of_the_programs_own() {
    let script = "query I\nSELECT ascii_sum('ab')\n----\n195\n";
    let script = Script::parse("own.slt", script).unwrap();
    let sum = |args: &[ColumnarValue]| {
        let ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) = &args[0] else { panic!("{args:?}") };
        let sum: i64 = text.bytes().map(i64::from).sum();
        Ok(ColumnarValue::Scalar(ScalarValue::Int64(Some(sum))))
    };
    let sum = create_udf("ascii_sum", vec![DataType::Utf8], DataType::Int64, Volatility::Volatile, Arc::new(sum));
    let report = script.run_with(&Options::default(), |session| session.register_scalar(sum.clone()));
    assert!(report.passed(), "{}", report.failures[0]);
    assert!(!script.run(&Options::default()).passed());
}
