//! Journals that end early, are damaged, or cannot be written.

use std::path::PathBuf;

use millstream::Error;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;

const QUERY: &str = "SELECT customer, COUNT(*) FROM orders GROUP BY customer";

/// A journal's only segment, and what its steps gave.
fn journal(folder: &Path) -> (PathBuf, Vec<Vec<u8>>) {
    let (mut engine, clock) = journaling(folder, &[]);
    let given = live(&mut engine, &clock, QUERY, 400).unwrap();
    (folder.join("collect/run-00000001/segment-0000000000000001.journal"), bytes(&given))
}

/// What a damaged journal gives before it gives no more, and why.
fn attempt(folder: &Path) -> (Vec<Vec<u8>>, Option<Error>, bool) {
    let mut given = Vec::new();
    let mut replay = match Engine::new().unwrap().replay(folder) {
        Ok(replay) => replay,
        Err(e) => return (given, Some(e), false),
    };
    loop {
        match replay.step() {
            Ok(None) => return (given, None, replay.journal().note().is_some()),
            Err(e) => return (given, Some(e), false),
            Ok(Some(mut step)) => {
                given.extend(bytes(&step.output.sinks.remove(0)).into_iter().filter(|b| !b.is_empty()))
            }
        }
    }
}

#[test]
fn a_torn_tail_is_cut_off_with_a_note() {
    let folder = tempfile::tempdir().unwrap();
    let (segment, given) = journal(folder.path());
    let whole = std::fs::read(&segment).unwrap();
    let mut notes = 0;
    for length in (0..whole.len()).rev().step_by(whole.len() / 60 + 1) {
        std::fs::write(&segment, &whole[..length]).unwrap();
        let (before, error, note) = attempt(folder.path());
        assert!(given.starts_with(&before), "{length} bytes");
        match error {
            None => notes += usize::from(note),
            Some(Error::Journal { reason, .. }) => assert_eq!(reason, "it ends too early"),
            Some(other) => panic!("{length} bytes: {other}"),
        }
    }
    assert!(notes > 10, "{notes}");
}

#[test]
fn damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (segment, given) = journal(folder.path());
    let whole = std::fs::read(&segment).unwrap();
    for seed in 0..60 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut bytes = whole.clone();
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8);
        std::fs::write(&segment, &bytes).unwrap();
        let (before, error, _) = attempt(folder.path());
        assert!(given.starts_with(&before), "seed {seed}");
        let Some(Error::Journal { place, reason }) = error else { panic!("seed {seed}: {error:?}") };
        assert!(place.ends_with(".journal") && reason.contains("it is "), "{place}: {reason}");
    }
}

#[test]
fn segments_of_other_runs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (segment, _) = journal(folder.path());
    let (mut engine, clock) = journaling(folder.path(), &[]);
    live(&mut engine, &clock, QUERY, 400).unwrap();
    let other = folder.path().join("collect/run-00000002/segment-0000000000000001.journal");
    std::fs::copy(other, segment.with_file_name("segment-0000000000000099.journal")).unwrap();
    let (_, error, _) = attempt(segment.parent().unwrap());
    assert!(error.unwrap().to_string().contains("its header names 1 as the first step"));
    assert!(attempt(&folder.path().join("none")).1.is_some());
}

#[test]
fn a_journal_that_cannot_be_written_ends_the_job_or_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a file");
    std::fs::write(&file, "").unwrap();
    let (mut engine, clock) = journaling(&file, &[]);
    let error = live(&mut engine, &clock, QUERY, 100).unwrap_err();
    assert!(matches!(&error, Error::Journal { reason, .. } if reason.starts_with("it cannot be written: ")), "{error}");
    let (mut engine, clock) = journaling(&file, &[("millstream.journal.on-error", "continue")]);
    assert!(!live(&mut engine, &clock, QUERY, 100).unwrap().is_empty());
}
