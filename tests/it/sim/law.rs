//! The law, by seeds; and that it would find faults.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Canary;
use super::case::Case;
use super::run::{Story, story};
use crate::law::panic_text;

/// Seeds that failed once, tried first.
const SEEDS: &str = include_str!("../seeds/crashes.txt");

/// Planning goes deep.
const STACK: usize = 64 << 20;

/// Does something for each seed, on all cores, until something is wrong; gives the failures by seed.
fn for_seeds(seeds: &[u64], f: impl Fn(u64) -> Result<(), String> + Sync) -> BTreeMap<u64, String> {
    let (next, failures) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while failures.lock().unwrap().is_empty()
            && let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize)
        {
            let outcome = catch_unwind(AssertUnwindSafe(|| f(*seed)));
            let outcome = outcome.unwrap_or_else(|panic| Err(format!("panic: {}", panic_text(panic.as_ref()))));
            if let Err(failure) = outcome {
                failures.lock().unwrap().insert(*seed, failure);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).unwrap();
        }
    });
    failures.into_inner().unwrap()
}

/// The story of a seed; `None` where the generator has no query for it.
fn told(seed: u64, canary: Option<Canary>) -> Result<Option<Story>, String> {
    let Some(case) = Case::random(seed) else { return Ok(None) };
    let told = story(&case, seed, canary).map_err(|e| format!("{}\n  {e}", case.text));
    told.map(Some)
}

#[test]
fn nothing_is_lost_and_nothing_is_twice() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (first, count) = (number("MILLSTREAM_SEED", 1), number("MILLSTREAM_SIM_SEEDS", 500));
    let kept = SEEDS.lines().filter(|l| !l.starts_with('#')).map(|l| l.trim().parse().unwrap());
    let seeds: Vec<u64> = kept.chain(first..first + count).collect();
    let (stories, lives) = (AtomicU64::new(0), AtomicU64::new(0));
    let failures = for_seeds(&seeds, |seed| {
        if let Some(story) = told(seed, None)? {
            stories.fetch_add(1, Ordering::Relaxed);
            lives.fetch_add(story.ends.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    });
    let (stories, lives) = (stories.into_inner(), lives.into_inner());
    println!("{} seeds, {stories} stories of {lives} lives", seeds.len());
    assert!(failures.is_empty(), "seed {failures:#?}");
    assert!(stories * 2 > seeds.len() as u64 && lives > stories, "{stories} stories, {lives} lives");
}

#[test]
fn a_seed_is_a_story() {
    let failures = for_seeds(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], |seed| {
        let trace = || told(seed, None).map(|s| s.map_or(Vec::new(), |s| s.trace));
        let (first, again) = (trace()?, trace()?);
        match first.iter().zip(&again).find(|(a, b)| a != b) {
            None if first.len() == again.len() => Ok(()),
            differing => Err(format!("the same seed told another story: {differing:?}")),
        }
    });
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn faults_are_found() {
    const WITHIN: u64 = 60;
    for canary in [
        Canary::LosesChunk,
        Canary::ListsLate,
        Canary::SeeksShort,
        Canary::NotesLate,
        Canary::CommitsEarly,
        Canary::CommitsTwice,
        Canary::ForgetsPrepared,
    ] {
        let seeds: Vec<u64> = (1..=WITHIN).collect();
        let failures = for_seeds(&seeds, |seed| told(seed, Some(canary)).map(|_| ()));
        println!("{canary:?} is found by seed {:?}", failures.keys().next());
        assert!(!failures.is_empty(), "{canary:?} is not found within {WITHIN} seeds");
    }
}
