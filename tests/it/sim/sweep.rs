//! Every operation of a small run, and the process dies in it.

use std::sync::Arc;

use millstream::change::ManualClock;
use millstream::runtime::JobEnd;
use rand::SeedableRng;

use super::Random;
use super::case::Case;
use super::run::{End, Manner, Story, judge, live};
use super::world::{Dangers, Fate, WAYS, World};

/// Windows, and an answer that changes.
const CASES: [usize; 2] = [1, 2];

fn case(number: usize) -> Case {
    Case::fixed(number, 24, &mut Random::seed_from_u64(7))
}

/// Lives that die so, one after another, and one that does not. Gives how many operations each had.
fn lives(case: &Case, deaths: &[(u64, Fate)], forgets_prepared: bool) -> Vec<u64> {
    let world = World::new(None, forgets_prepared);
    let clock = Arc::new(ManualClock::new(1_000));
    let mut story = Story::default();
    let mut operations = Vec::new();
    let dangers = deaths.iter().map(|(at, how)| Dangers::death(*at, *how)).chain([Dangers::NONE]);
    for dangers in dangers {
        let about = |e: String| panic!("{deaths:?}, {forgets_prepared}: {e}");
        let lived = live(case, &world, &Manner::plain(dangers), &clock, None).unwrap_or_else(about);
        story.ends.push(lived.end);
        story.trace.extend(lived.life.trace());
        operations.push(lived.life.operations());
    }
    assert_eq!(story.ends.last(), Some(&End::Job(JobEnd::Finished)), "{deaths:?}, {forgets_prepared}");
    judge(case, &world, story).unwrap_or_else(|e| panic!("{deaths:?}, {forgets_prepared}: {e}"));
    operations
}

#[test]
fn a_death_in_every_operation() {
    for number in CASES {
        let case = case(number);
        for forgets_prepared in [false, true] {
            let all = lives(&case, &[], forgets_prepared)[0];
            assert!(all > 40, "{all} operations");
            for at in 1..=all {
                WAYS.iter().for_each(|how| drop(lives(&case, &[(at, *how)], forgets_prepared)));
            }
        }
    }
}

#[test]
fn a_death_in_every_operation_of_the_recovery_from_another() {
    let case = case(1);
    let all = lives(&case, &[], true)[0];
    for first in (1..=all).step_by(7) {
        for second in 1..=24 {
            let how = WAYS[(first + second) as usize % WAYS.len()];
            lives(&case, &[(first, Fate::Unheard), (second, how)], true);
        }
    }
}
