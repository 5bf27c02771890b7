//! State beyond memory: `state.memory.limit`.

use std::process::{Command, Stdio};
use std::time::Duration;

const KEYS: u64 = 1_500_000;
const LIMIT: u64 = 224 << 20;

/// The memory that a process has had at most, in bytes; `None` when it is gone.
fn most_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kb| kb << 10)
}

/// A join whose state is ten times what may be in memory: each row of the one side meets one of the other that came at any time
/// before or after it.
#[test]
fn a_join_of_ten_times_its_limit_keeps_within_it() {
    let folder = tempfile::tempdir().unwrap();
    let table = |name: &str, seed: u32| {
        format!(
            "CREATE TABLE {name} (k BIGINT, v STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '100000000',
             'number-of-rows' = '{KEYS}', 'seed' = '{seed}', 'fields.k.kind' = 'sequence', 'fields.k.start' = '0',
             'fields.k.end' = '{last}', 'fields.v.length' = '800');",
            last = KEYS - 1
        )
    };
    let script = format!(
        "SET 'state.memory.limit' = '{LIMIT} bytes';
         SET 'io.tmp.dirs' = '{folder}';
         {} {}
         SELECT COUNT(*), SUM(l.k), SUM(CAST(CHAR_LENGTH(l.v) + CHAR_LENGTH(r.v) AS BIGINT)) FROM l
         JOIN (SELECT MOD(k * 7919, {KEYS}) AS k, v FROM r) AS r ON l.k = r.k;",
        table("l", 1),
        table("r", 2),
        folder = folder.path().display(),
    );
    let file = folder.path().join("script.sql");
    std::fs::write(&file, script).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(["run", "--quiet", "--result-mode", "table"]).arg(&file).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(most_memory(child.id()).unwrap_or(0));
        // Not to wait for anything: how often it is looked at.
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let done = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{err}");
    let row = |line: &str| line.split('|').map(str::trim).filter_map(|n| n.parse().ok()).collect::<Vec<u64>>();
    assert!(out.lines().any(|line| row(line) == [KEYS, KEYS * (KEYS - 1) / 2, KEYS * 1600]), "{out}");
    const { assert!(KEYS * 1600 >= LIMIT * 10, "the state is not ten times the limit") };
    assert!(most > LIMIT / 4, "{most} bytes were measured, which cannot be");
    assert!(most <= LIMIT * 13 / 10, "{most} bytes of memory, and {LIMIT} were set");
    // Nothing is left behind.
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(left, ["script.sql"]);
}
