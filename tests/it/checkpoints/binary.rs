//! The binary: a job that other processes ask for savepoints, that is interrupted, killed, and run again.

use std::process::{Child, Command, Output, Stdio};

use super::*;

fn millstream(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command
}

fn output(folder: &Path, arguments: &[&str]) -> Output {
    millstream(folder, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes a script that counts numbers, `count` of them or without end, in windows by their own time.
fn write_script(folder: &Path, count: Option<u64>) {
    let end = count.map_or(String::new(), |n| format!("'number-of-rows' = '{n}',"));
    let script = format!(
        "SET 'execution.checkpointing.dir' = 'checkpoints';
         SET 'execution.checkpointing.interval' = '20 ms';
         CREATE TABLE numbers (n BIGINT, ts AS TO_TIMESTAMP_LTZ(n, 3), WATERMARK FOR ts AS ts)
         WITH ('connector' = 'datagen', 'seed' = '1', {end} 'rows-per-second' = '100000', 'fields.n.kind' = 'sequence',
               'fields.n.start' = '0', 'fields.n.end' = '1000000000');
         CREATE TABLE counts (s TIMESTAMP_LTZ(3), c BIGINT) WITH ('connector' = 'filesystem', 'path' = 'counts', 'format' = 'csv');
         INSERT INTO counts SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '1' SECOND))
         GROUP BY window_start, window_end;"
    );
    std::fs::write(folder.join("script.sql"), script).unwrap();
}

/// Has the job take a checkpoint, as soon as it is there to be asked.
fn savepoint(folder: &Path, child: &mut Child, arguments: &[&str]) -> String {
    loop {
        let all: Vec<&str> = ["savepoint", "checkpoints", "--timeout", "5"].iter().chain(arguments).copied().collect();
        let asked = output(folder, &all);
        if asked.status.success() {
            return text(&asked.stdout).trim().to_string();
        }
        assert!(child.try_wait().unwrap().is_none(), "the job has ended: {}", text(&asked.stderr));
    }
}

#[test]
fn another_process_asks_and_looks() {
    let folder = tempfile::tempdir().unwrap();
    write_script(folder.path(), None);
    let mut run = millstream(folder.path(), &["run", "script.sql"]).stderr(Stdio::piped()).spawn().unwrap();
    let address = savepoint(folder.path(), &mut run, &["--to", "kept"]);
    assert!(address.starts_with("kept/insert-into_counts/chk-"), "{address}");
    let state = output(folder.path(), &["state", "checkpoints"]);
    let shown = text(&state.stdout);
    assert!(state.status.success(), "{}", text(&state.stderr));
    for expected in ["of job 'insert-into_counts'", "numbers", "WindowAggregate", "counts"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let kept = output(folder.path(), &["state", "kept", "--script", "script.sql"]);
    assert!(text(&kept.stdout).contains("keeps its state of"), "{}{}", text(&kept.stdout), text(&kept.stderr));
    // An interrupt suspends, and the next run goes on.
    assert!(Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
    let ended = run.wait_with_output().unwrap();
    assert!(ended.status.success() && text(&ended.stderr).contains("suspended"), "{}", text(&ended.stderr));
    let mut again = millstream(folder.path(), &["run", "script.sql"]).stderr(Stdio::piped()).spawn().unwrap();
    savepoint(folder.path(), &mut again, &[]);
    assert!(Command::new("kill").args(["-TERM", &again.id().to_string()]).status().unwrap().success());
    let ended = again.wait_with_output().unwrap();
    assert!(text(&ended.stderr).contains("goes on from checkpoint"), "{}", text(&ended.stderr));
}

/// Killed by the signal that no process hears, again and again: in the end each window stands in one file, once, and whole.
#[test]
fn a_killed_process_loses_nothing_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write_script(folder.path(), Some(150_000));
    for _ in 0..6 {
        let mut run = millstream(folder.path(), &["run", "script.sql"]).stderr(Stdio::null()).spawn().unwrap();
        let before = shown(&folder.path().join("counts")).len();
        while run.try_wait().unwrap().is_none() && shown(&folder.path().join("counts")).len() < before + 10 {
            std::thread::yield_now();
        }
        let _ = run.kill();
        run.wait().unwrap();
    }
    let last = output(folder.path(), &["run", "script.sql"]);
    assert!(last.status.success(), "{}", text(&last.stderr));
    let rows = shown(&folder.path().join("counts"));
    assert_eq!(rows.len(), 150, "{rows:?}");
    assert!(rows.iter().all(|row| row.ends_with(",1000")), "{rows:?}");
    assert!(rows.windows(2).all(|pair| pair[0] != pair[1]), "{rows:?}");
}
