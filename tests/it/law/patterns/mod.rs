//! The laws of MATCH_RECOGNIZE: random patterns, conditions, measures and rows, against a matcher that tries everything.

mod case;
mod hostile;
mod matcher;
mod pattern;
mod trend;

pub use case::{material, operators};

#[test]
fn patterns_that_flink_takes() {
    case::prove("patterns-flink", true);
}

#[test]
fn patterns_of_the_standard() {
    case::prove("patterns-standard", false);
}

#[test]
fn partitions_with_many_rows() {
    case::prove_long("patterns-long", false);
}

#[test]
fn partitions_with_rising_and_falling_values() {
    case::prove_long("patterns-trends", true);
}
