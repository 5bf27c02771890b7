//! `docs/replay.md`: what it shows is what the binary prints.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The fenced blocks of a language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// Runs the binary in a folder.
fn millstream(folder: &Path, args: &[&str], script: &str) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(args).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(done.stdout), text(done.stderr))
}

/// Without the time, which is another in each run.
fn timeless(text: &str) -> String {
    let line = |line: &str| match (line.split_once(" at "), line.rsplit_once("Z, ")) {
        (Some((step, _)), Some((_, rows))) => format!("{step}, {rows}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn the_page_shows_what_the_binary_prints() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/replay.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (given, err) = millstream(folder.path(), &["run", "-"], &blocks(&page, "sql").concat());
    assert_eq!(err, "");
    let shown = blocks(&page, "console");
    assert_eq!(shown.len(), 3);
    for block in shown {
        let (command, expected) = block.split_once('\n').unwrap();
        let args: Vec<&str> = command.strip_prefix("$ millstream ").unwrap().split(' ').collect();
        let (out, err) = millstream(folder.path(), &args, "");
        assert_eq!((timeless(&out), err.as_str()), (timeless(expected), ""), "{command}");
    }
    let (all, _) = millstream(folder.path(), &["replay", "journal"], "");
    let changes: String = all.lines().filter(|l| !l.starts_with("step ")).map(|l| format!("{l}\n")).collect();
    assert_eq!(changes, given);
    let (plan, _) = millstream(folder.path(), &["replay", "journal", "--operators"], "");
    assert!(plan.starts_with("#") && plan.contains("GroupAggregate"), "{plan}");
}

#[test]
fn what_cannot_be_replayed_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (_, err) = millstream(folder.path(), &["replay", "."], "");
    assert!(err.contains("there is no journal in this folder"), "{err}");
    let script = "SET 'millstream.journal.dir' = 'journal'; SELECT n FROM (VALUES (1)) AS v(n)";
    millstream(folder.path(), &["run", "-"], script);
    for (operator, expected) in
        [("nothing", "there is no operator 'nothing': there are #0 "), ("77", "there is no operator 77")]
    {
        let (_, err) = millstream(folder.path(), &["replay", "journal", "--operator", operator], "");
        assert!(err.contains(expected), "{err}");
    }
}

/// What a run took in and had taken before it was killed is there, and is what a replay runs.
#[cfg(unix)]
#[test]
fn a_killed_run_leaves_its_steps() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let script = "SET 'millstream.journal.dir' = 'journal';
        CREATE TABLE endless (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '2000', 'fields.n.kind' = 'sequence',
          'fields.n.start' = '1', 'fields.n.end' = '1000000000000');
        SELECT n FROM endless";
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(["run", "-"]).current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let given: Vec<String> = out.by_ref().take(500).map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let (all, err) = millstream(folder.path(), &["replay", "journal"], "");
    assert!(err.is_empty() || err.contains("in the middle of what was being written"), "{err}");
    let rows: Vec<&str> = all.lines().filter(|l| !l.starts_with("step ")).collect();
    // The last few steps may be missing.
    let least = rows.len().min(given.len());
    assert!(least > 0 && rows[..least] == given[..least]);
    assert!(rows.len() * 2 > given.len(), "{} of {}", rows.len(), given.len());
}
