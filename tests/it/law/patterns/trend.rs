//! Courses of values on which searches go on for long, and conditions that hold them against the row that a match begins with.

use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::pattern::{Condition, Value};

/// By variable.
pub fn conditions(rng: &mut Xoshiro256PlusPlus) -> Vec<Option<Condition>> {
    let (n, m) = (rng.random_range(0..40), rng.random_range(0..40));
    let than = |op, n| Condition::Compare(Value::Own, op, Value::Less(0, n));
    let both = |a, b| Condition::And(Box::new(a), Box::new(b));
    let either = |a, b| Condition::Or(Box::new(a), Box::new(b));
    let not = |a| Condition::Not(Box::new(a));
    let (b, c) = match rng.random_range(0..6) {
        // As in the last of Nexmark's queries for patterns.
        0 | 1 => (than(">", n), than("<", n)),
        2 => (than(">=", n), than("<", m)),
        3 => (not(than("<=", n)), both(than("<", n), than("<>", m + 1))),
        4 => (either(than(">", n), Condition::IsNull(Value::Own)), not(than(">=", m))),
        _ => {
            let sum = Value::Plus(Box::new(Value::Less(0, n)), Box::new(Value::Constant(m)));
            (Condition::Compare(Value::Own, ">", sum), than("<=", n))
        }
    };
    vec![None, Some(b), Some(c), Some(than(">", m))]
}

/// Values that rise, fall, do so by turns, or go this way and that, with some that are out of line.
pub fn values(rng: &mut Xoshiro256PlusPlus, count: usize) -> Vec<Option<i64>> {
    let (course, step, turn) = (rng.random_range(0..5), rng.random_range(1..4), rng.random_range(5..90));
    let rare = [0.0, 0.01, 0.05][rng.random_range(0..3)];
    let mut value = 0;
    let mut next = |at: usize| {
        value += match course {
            0 => step,
            1 => -step,
            2 if (at / turn).is_multiple_of(2) => step,
            2 => -step,
            3 if at.is_multiple_of(turn) => -step * turn as i64,
            3 => step,
            _ => rng.random_range(-step..=step),
        };
        let odd = if rng.random_bool(rare) { rng.random_range(-60..60) } else { 0 };
        (!rng.random_bool(rare / 5.0)).then_some(value + odd)
    };
    (0..count).map(&mut next).collect()
}
