//! What Flink answers: scripts over the rows of `flink/*.json`, in the order of `_at`, and the answers that Flink 2.3.0
//! gave to them with parallelism 1 and a watermark after every row.
//!
//! How a script is compared stands in its first line:
//!
//! - no word: the same append-only rows, however the input is cut and on any number of workers;
//! - `-- compare: order`: the same, and on one worker in this very order;
//! - `-- compare: changelog`: with one row a step on one worker the same changes with the same kinds; else the same table;
//! - `-- compare: table`: the same table in the end, where a step's net changes may be fewer than Flink's;
//! - `-- compare: failure`: the job fails while it runs; the answer is Flink's reason;
//! - `-- compare: refused`: not planned yet, and refused as `COMPAT.md` says;
//! - `-- compare: differs`: runs as something more general, as an interval join does as a plain one, and answers otherwise.
//!
//! Under the last two, `-- when built: …` says how the script will be compared; when it answers as Flink does, this test
//! fails until it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use millstream::Engine;
use millstream::engine::Progress;
use serde_json::Value;

use self::value::row_of;

mod value;

#[derive(Clone, Copy, PartialEq)]
enum Compare {
    Rows,
    Order,
    Changelog,
    Table,
    Failure,
    Refused,
    Differs,
}

impl Compare {
    fn of(script: &str) -> Self {
        Self::named(script.lines().next().and_then(|l| l.strip_prefix("-- compare: ")))
    }

    /// How a script that differs yet is to be compared when it does not.
    fn when_built(script: &str) -> Self {
        let how = script.lines().nth(1).and_then(|l| l.strip_prefix("-- when built: "));
        Self::named(how.filter(|how| *how != "rows"))
    }

    fn named(name: Option<&str>) -> Self {
        match name {
            None => Compare::Rows,
            Some("order") => Compare::Order,
            Some("changelog") => Compare::Changelog,
            Some("table") => Compare::Table,
            Some("failure") => Compare::Failure,
            Some("refused") => Compare::Refused,
            Some("differs") => Compare::Differs,
            Some(other) => panic!("no such comparison: {other}"),
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/flink")
}

#[test]
fn scripts_answer_as_flink_does() {
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()).collect();
    scripts.retain(|p| p.extension().is_some_and(|e| e == "sql"));
    scripts.sort();
    assert!(scripts.len() >= 457);
    let failures: Vec<String> = scripts.iter().filter_map(|script| differs(script).err()).collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), scripts.len(), failures.join("\n"));
}

/// Holds one script's answers against Flink's.
fn differs(script: &Path) -> Result<(), String> {
    let name = script.file_stem().unwrap().to_string_lossy();
    let flinks = std::fs::read_to_string(script.with_extension("answer")).unwrap();
    let text = std::fs::read_to_string(script).unwrap();
    let compare = Compare::of(&text);
    let flinks: Vec<Value> = match compare {
        Compare::Failure | Compare::Refused => Vec::new(),
        _ => flinks.lines().map(|l| value::rounded(serde_json::from_str(l).unwrap())).collect(),
    };
    let (how, differs) = match compare {
        Compare::Differs => (Compare::when_built(&text), true),
        _ => (compare, false),
    };
    let text = text.replace("${DIR}", folder().to_str().unwrap());
    for workers in [1, 3] {
        for step_rows in [1, 3, 100] {
            let run = format!("{name} with {workers} workers, steps of {step_rows}");
            let ours = match (answer(&text, workers, step_rows), how) {
                (Err(e), Compare::Failure) if !e.starts_with("line ") => continue,
                (Err(e), Compare::Refused) if e.starts_with("line ") => continue,
                (Err(e), _) => return Err(format!("{run}: {e}")),
                (Ok(ours), _) => ours,
            };
            let same = match how {
                Compare::Order if workers == 1 => ours == flinks,
                Compare::Rows | Compare::Order => count(&ours) == count(&flinks),
                Compare::Changelog if workers == 1 && step_rows == 1 => count(&ours) == count(&flinks),
                Compare::Changelog | Compare::Table => fold(&ours)? == fold(&flinks)?,
                Compare::Failure | Compare::Refused | Compare::Differs => false,
            };
            match (same, differs) {
                (false, true) => return Ok(()),
                (false, false) => {
                    return Err(format!("{run}: Flink's, then ours\n{}\n--\n{}", lines(&flinks), lines(&ours)));
                }
                (true, _) => {}
            }
        }
    }
    if differs { Err(format!("{name} answers as Flink does: compare it")) } else { Ok(()) }
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
}

/// Rows and how often each comes: the order within a window or a step is not Flink's promise.
fn count(rows: &[Value]) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    rows.iter().for_each(|row| *counts.entry(row.to_string()).or_insert(0) += 1);
    counts
}

/// The table that changes lead to, each row with how often it is there.
///
/// # Errors
/// When a row is taken away that is not there.
fn fold(changes: &[Value]) -> Result<BTreeMap<String, i64>, String> {
    let mut table = BTreeMap::new();
    for change in changes {
        let (kind, row) = change.as_array().unwrap().split_first().unwrap();
        let row = Value::from(row).to_string();
        let count = table.entry(row.clone()).or_insert(0);
        *count += if kind.as_str().unwrap().starts_with('+') { 1 } else { -1 };
        match *count {
            0 => _ = table.remove(&row),
            1.. => {}
            _ => return Err(format!("{row} is taken away and was not there:\n{}", lines(changes))),
        }
    }
    Ok(table)
}

fn answer(script: &str, workers: usize, step_rows: usize) -> Result<Vec<Value>, String> {
    let mut engine = Engine::new().unwrap();
    engine.set("parallelism.default", &workers.to_string()).unwrap();
    engine.set("millstream.step.max-rows", &step_rows.to_string()).unwrap();
    let mut rows = Vec::new();
    let job = engine.run(script, |engine, progress| {
        if let Progress::Query(job, mut results) = progress {
            while let Some(batch) = results.blocking_next() {
                rows.extend((0..batch.num_rows()).map(|row| row_of(&batch, row)));
            }
            engine.block_on(job.wait())?;
        }
        Ok(())
    });
    assert!(job.map_err(|e| e.to_string())?.is_none());
    Ok(rows)
}
