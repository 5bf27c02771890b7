//! Jobs that are suspended, cancelled and started again.

use millstream::engine::JobEnd;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;

const COUNT: u64 = 400;

#[test]
fn nothing_shows_before_a_checkpoint_covers_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::start(&script(folder.path(), ""));
    run.push_to(200);
    run.checkpoint_all();
    let seen = shown(&folder.path().join("spent"));
    assert!(!seen.is_empty());
    run.push_to(COUNT);
    run.job.cancel();
    let _ = run.engine.block_on(run.job.wait());
    assert_eq!(shown(&folder.path().join("spent")), seen);
}

#[test]
fn a_suspended_job_goes_on_with_its_windows_open() {
    let folder = tempfile::tempdir().unwrap();
    let text = script(folder.path(), "");
    for end in [1, 50, 51, 333] {
        let mut run = Run::start(&text);
        run.push_to(end);
        // Pushed is not yet read: a checkpoint that is asked for now may hold less, and says so by where it goes on.
        run.job.suspend();
        assert_eq!(run.engine.block_on(run.job.wait()).unwrap(), JobEnd::Suspended);
    }
    let mut run = Run::start(&text);
    run.push_to(COUNT);
    drop(run.input);
    assert_eq!(run.engine.block_on(run.job.wait()).unwrap(), JobEnd::Finished);
    assert_eq!(shown(&folder.path().join("spent")), undisturbed(COUNT));
}

#[test]
fn a_job_that_came_to_its_end_is_not_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let text = script(folder.path(), "");
    let mut run = Run::start(&text);
    run.push_to(COUNT);
    drop(run.input);
    run.engine.block_on(run.job.wait()).unwrap();
    let seen = shown(&folder.path().join("spent"));
    let mut engine = Engine::new().unwrap();
    let (declarations, insert) = text.rsplit_once(";\n").unwrap();
    engine.run(declarations, |_, _| Ok(())).unwrap();
    let _input = engine.input("payments").unwrap();
    let job = engine.run(insert, |_, _| Ok(())).unwrap().unwrap();
    assert_eq!(engine.block_on(job.wait()).unwrap(), JobEnd::Finished);
    assert!(job.metrics().sources[0].ended);
    assert_eq!(shown(&folder.path().join("spent")), seen);
}

/// Cancelled at any moment, as often as one likes, onto other numbers of workers: what is shown in the end is what an undisturbed
/// run shows.
#[test]
fn cancelled_jobs_lose_nothing_and_repeat_nothing() {
    let expected = undisturbed(COUNT);
    for seed in 0..12 {
        assert_eq!(disturbed(&script, seed), expected, "seed {seed}");
    }
}

/// The same for a join whose state is on disk after each step.
#[test]
fn state_on_disk_survives() {
    let joined = |folder: &Path, settings: &str| {
        let text = script(folder, settings);
        let (declarations, _) = text.split_once("INSERT INTO").unwrap();
        let query = "SELECT a.card, a.ts, b.amount, 1 FROM payments a JOIN payments b ON a.amount = b.amount";
        format!("{};\nINSERT INTO spent {query}", declarations.trim_end().trim_end_matches(';'))
    };
    let expected = undisturbed_of(&joined, COUNT);
    assert_eq!(expected.len() as u64, COUNT * COUNT / 100);
    let limited = |folder: &Path, settings: &str| {
        joined(
            folder,
            &format!("SET 'state.memory.limit' = '1 bytes'; SET 'io.tmp.dirs' = '{}'; {settings}", folder.display()),
        )
    };
    for seed in 0..6 {
        assert_eq!(disturbed(&limited, seed), expected, "seed {seed}");
    }
}

/// What a script shows that is cancelled again and again.
fn disturbed(script: &dyn Fn(&Path, &str) -> String, seed: u64) -> Vec<String> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    loop {
        let workers = rng.random_range(1..=3);
        let mut run = Run::start(&script(folder.path(), &format!("SET 'parallelism.default' = '{workers}';")));
        let end = (run.next + rng.random_range(1..150)).min(COUNT);
        while run.next < end {
            run.push_to((run.next + rng.random_range(1..20)).min(end));
            if rng.random_bool(0.3) {
                run.checkpoint();
            }
        }
        if end == COUNT && rng.random_bool(0.7) {
            drop(run.input);
            assert_eq!(run.engine.block_on(run.job.wait()).unwrap(), JobEnd::Finished);
            break;
        }
        run.job.cancel();
        let _ = run.engine.block_on(run.job.wait());
    }
    shown(&folder.path().join("spent"))
}
