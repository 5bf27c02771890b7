//! The house: rooms use only rooms below them, what is synchronous stays so, and files stay small.

use std::path::Path;

/// Rooms by floor, from the top. Rooms on one floor may not use each other, except where `MAY_USE` says so.
const FLOORS: &[&[&str]] = &[
    &["main", "cli"],
    &["engine", "testing"],
    &["flink"],
    &["sql"],
    &["plan"],
    &["runtime"],
    &["connector"],
    &["format"],
    &["table"],
    &["operator"],
    &["state"],
    &["change"],
];

/// Of rooms on one floor.
const MAY_USE: &[(&str, &str)] = &[("main", "cli")];

/// Rooms that know nothing of tokio.
const SYNCHRONOUS: &[&str] = &["table", "operator", "state", "change", "plan", "sql"];

const MOST_LINES: usize = 600;

/// Calls `f` with the path (below `src`, or as given) and text of every Rust file in a folder.
pub fn for_each_source(folder: &Path, f: &mut dyn FnMut(&Path, &str)) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            for_each_source(&path, f);
        } else if path.extension().is_some_and(|e| e == "rs") {
            f(&path, &std::fs::read_to_string(&path).unwrap());
        }
    }
}

fn for_each_file(f: &mut dyn FnMut(&str, &Path, &str)) {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for_each_source(&src, &mut |path, text| {
        let below = path.strip_prefix(&src).unwrap();
        let room = below.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        f(room, below, text);
    });
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The rooms that a text names: after `crate::`, also within braces; in the binary after `millstream::`.
fn rooms_named(text: &str) -> Vec<String> {
    let mut named = Vec::new();
    for line in text.lines().filter(|l| !l.trim_start().starts_with("//")) {
        for start in ["crate::", "millstream::"] {
            for rest in line.split(start).skip(1) {
                let word =
                    |s: &str| s.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
                match rest.strip_prefix('{') {
                    Some(group) => named.extend(group.split([',', '{', '}']).map(word)),
                    None => named.push(word(rest)),
                }
            }
        }
    }
    named
}

#[test]
fn rooms_use_only_rooms_below_them() {
    let mut wrong = Vec::new();
    let mut uses = 0;
    for_each_file(&mut |room, path, text| {
        if room == "lib" || room == "error" {
            return;
        }
        let own = floor(room).unwrap_or_else(|| panic!("{} is on no floor", path.display()));
        for other in rooms_named(text) {
            let Some(theirs) = floor(&other) else { continue };
            uses += 1;
            let allowed = theirs > own || other == room || MAY_USE.contains(&(room, other.as_str()));
            if !allowed {
                wrong.push(format!("{} uses '{other}'", path.display()));
            }
        }
    });
    assert!(uses > 100, "only {uses} uses were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn uses_are_found() {
    assert_eq!(rooms_named("use crate::plan::{Query, compile};"), ["plan"]);
    assert_eq!(rooms_named("use crate::{Error, plan, sql::Session};"), ["Error", "plan", "sql", ""]);
    assert_eq!(rooms_named("    let x = crate::sql::parse(y); // crate::cli"), ["sql", "cli"]);
    assert!(rooms_named("//! see [`crate::cli`]").is_empty());
}

#[test]
fn synchronous_rooms_know_no_tokio() {
    let mut wrong = Vec::new();
    for_each_file(&mut |room, path, text| {
        let speaks = text.lines().any(|l| l.contains("tokio") && !l.trim_start().starts_with("//"));
        if SYNCHRONOUS.contains(&room) && (speaks || text.contains("async fn") || text.contains(".await")) {
            wrong.push(path.display().to_string());
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn operators_read_no_clock_and_do_no_io() {
    let mut wrong = Vec::new();
    for_each_file(&mut |room, path, text| {
        let forbidden = ["SystemTime", "Instant", "std::fs", "std::net", "std::thread", "rand::", "std::env"];
        // Tests stand at the end of a file.
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let found =
            forbidden.iter().find(|f| code.lines().any(|l| l.contains(*f) && !l.trim_start().starts_with("//")));
        let is_test = path.ends_with("tests.rs");
        if let ("operator" | "state", Some(found), false) = (room, found, is_test) {
            wrong.push(format!("{}: {found}", path.display()));
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_are_small() {
    let mut wrong = Vec::new();
    for_each_file(&mut |_, path, text| {
        let lines = text.lines().count();
        if lines > MOST_LINES {
            wrong.push(format!("{}: {lines} lines", path.display()));
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_library_reads_no_environment() {
    let mut wrong = Vec::new();
    for_each_file(&mut |room, path, text| {
        let reads = text.contains("env::var") || text.contains("env::home_dir");
        if !matches!(room, "main" | "cli") && reads {
            wrong.push(path.display().to_string());
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}
