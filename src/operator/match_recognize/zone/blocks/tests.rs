use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;
use crate::operator::match_recognize::program::Condition;
use crate::operator::match_recognize::scalar::Scalar;
use crate::operator::match_recognize::tape::Held;
use crate::operator::match_recognize::term::{Compare, Term};

/// The value is more than the register.
fn more() -> Program {
    let (value, than) = (Box::new(Term::Cell(1)), Box::new(Term::Register { at: 0, absent: Scalar::Null }));
    let condition = Condition::Term(Term::Compare(Compare::Greater, value, than));
    Program { cells: vec![0, 1], registers: 1, conditions: vec![condition], ..Program::default() }
}

#[test]
fn the_first_row_below_is_found_in_any_course_of_values() {
    let program = more();
    for seed in 0..200 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (mut tape, mut zones, mut values) = (Tape::default(), Zones::default(), Vec::new());
        let (mut course, mut begin) = (0, 0);
        for _ in 0..12 {
            for _ in 0..rng.random_range(0..200) {
                course += if seed % 4 < 3 { [1, -1, 0][seed as usize % 4] } else { rng.random_range(-3..=3) };
                let odd = rng.random_range(0..60) == 0;
                let value = if odd { course + rng.random_range(-20..20) } else { course };
                let held = Held { id: values.len() as u32, time: values.len() as i64 };
                tape.push(held, [Scalar::Null, Scalar::Int(value)].into_iter());
                values.push(value);
            }
            zones.grow(&tape, &program);
            for _ in 0..10.min(tape.len()) {
                let from = rng.random_range(begin..values.len());
                let than = values[from] - rng.random_range(0..30);
                let registers = [Scalar::Int(than)];
                let until = rng.random_range(from + 1..=values.len());
                let holds = |zone: Zone<'_>| zone.always(&program.conditions[0], &registers);
                let found = zones.first_not(from as u64, until as u64, &tape, holds) as usize;
                let first = (from..until).find(|row| values[*row] <= than).unwrap_or(until);
                assert_eq!(found, first, "seed {seed}: from {from} of {until}");
                let zone = zones.between(from as u64, until as u64, &tape);
                assert_eq!((zone.latest, holds(zone)), (until as i64 - 1, first == until), "seed {seed}");
            }
            begin = rng.random_range(begin..=values.len());
            tape.release(begin as u64, 2, |_| ());
            if rng.random_bool(0.7) {
                zones.release(begin as u64);
            }
        }
    }
}

#[test]
fn rows_taken_together_are_so_wherever_a_window_stands() {
    let program = more();
    for seed in 0..30 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (mut tape, mut zones) = (Tape::default(), Zones::default());
        let values: Vec<i64> = (0..6000).map(|_| rng.random_range(0..1_000_000)).collect();
        for (row, value) in values.iter().enumerate() {
            let held = Held { id: row as u32, time: row as i64 };
            tape.push(held, [Scalar::Null, Scalar::Int(*value)].into_iter());
        }
        zones.grow(&tape, &program);
        let (mut from, mut reach) = (0, 0);
        while from < 5990 {
            let until: usize = match rng.random_range(0..10) {
                0 => rng.random_range(from + 1..=6000),
                1 => from + 1,
                _ => reach.max(from + 1) + rng.random_range(0..4),
            };
            let until = until.min(6000);
            reach = if rng.random_bool(0.99) { until } else { rng.random_range(0..6000) };
            let zone = zones.between(from as u64, until as u64, &tape);
            let least = values[from..until].iter().min().unwrap();
            for (than, holds) in [(*least - 1, true), (*least, false)] {
                assert_eq!(
                    zone.always(&program.conditions[0], &[Scalar::Int(than)]),
                    holds,
                    "seed {seed}: {from}..{until}"
                );
            }
            assert_eq!(zone.latest, until as i64 - 1);
            from += rng.random_range(0..4);
        }
    }
}

#[test]
fn few_blocks_are_looked_at() {
    let program = more();
    let (mut tape, mut zones) = (Tape::default(), Zones::default());
    for row in 0..100_000u32 {
        tape.push(Held { id: row, time: 0 }, [Scalar::Null, Scalar::Int(i64::from(row))].into_iter());
    }
    zones.grow(&tape, &program);
    for (from, than) in [(1, 0), (77_777, 5), (3, 2)] {
        let looked = std::cell::Cell::new(0);
        let registers = [Scalar::Int(than)];
        let found = zones.first_not(from, 100_000, &tape, |zone| {
            looked.set(looked.get() + 1);
            zone.always(&program.conditions[0], &registers)
        });
        assert_eq!(found, 100_000);
        assert!(looked.get() < 80, "{} blocks", looked.get());
    }
}

#[test]
fn blocks_of_rows_that_are_gone_take_no_memory() {
    let program = more();
    let (mut tape, mut zones) = (Tape::default(), Zones::default());
    for row in 0..20_000u32 {
        tape.push(Held { id: row, time: 0 }, [Scalar::Null, Scalar::Int(1)].into_iter());
        zones.grow(&tape, &program);
        let begin = u64::from(row.saturating_sub(1000));
        tape.release(begin, 2, |_| ());
        zones.release(begin);
        assert_eq!(zones.between(begin, tape.end(), &tape).latest, 0);
    }
    // A third as many blocks as rows, for twice as many rows, in vectors that double.
    let block = 2 * size_of::<Range>() + size_of::<i64>();
    assert!(zones.bytes() < 1400 * block, "{}", zones.bytes());
}
