//! The laws for joins that time bounds: random interval joins and window joins, held against nested loops after every step, and
//! their state against the rows that the clause speaks of.

mod case;
mod data;
mod interval;
mod window;

pub use case::{Case, Family};

use case::prove;

#[test]
fn interval_joins() {
    prove(Family::Interval);
}

#[test]
fn window_joins() {
    prove(Family::Window);
}

/// What the reference gets wrong on purpose must be found.
#[test]
fn a_bound_that_is_off_by_a_millisecond_is_found() {
    let found = |family| (1..60).any(|seed| Case::random(family, seed).off_by_one().failure().is_some());
    assert!(found(Family::Interval) && found(Family::Window));
}
