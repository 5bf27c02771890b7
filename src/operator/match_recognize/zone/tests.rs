use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;
use crate::operator::match_recognize::program::Current;
use crate::operator::match_recognize::tape::{Held, Tape};

fn value(rng: &mut Xoshiro256PlusPlus) -> Scalar {
    match rng.random_range(0..12) {
        0 => Scalar::Null,
        1 => Scalar::Int(i64::from(i32::MAX)),
        _ => Scalar::Int(rng.random_range(-2..4)),
    }
}

fn number(rng: &mut Xoshiro256PlusPlus, depth: usize) -> Box<Term> {
    Box::new(match rng.random_range(0..6) {
        0 => Term::Constant(value(rng)),
        1 => Term::Register { at: 0, absent: Scalar::Null },
        2 if depth > 0 => {
            let operation = [Arithmetic::Plus, Arithmetic::Minus, Arithmetic::Times][rng.random_range(0..3)];
            Term::Arithmetic(operation, Number::Int(32), number(rng, depth - 1), number(rng, depth - 1))
        }
        _ => Term::Cell(rng.random_range(0..2)),
    })
}

fn condition(rng: &mut Xoshiro256PlusPlus, depth: usize) -> Box<Term> {
    Box::new(match rng.random_range(0..7) {
        0 if depth > 0 => Term::And(condition(rng, depth - 1), condition(rng, depth - 1)),
        1 if depth > 0 => Term::Or(condition(rng, depth - 1), condition(rng, depth - 1)),
        2 if depth > 0 => Term::Not(condition(rng, depth - 1)),
        3 => Term::IsNull(number(rng, 1)),
        _ => {
            let compare = [
                Compare::Equal,
                Compare::NotEqual,
                Compare::Less,
                Compare::LessOrEqual,
                Compare::Greater,
                Compare::GreaterOrEqual,
                Compare::Distinct,
                Compare::NotDistinct,
            ][rng.random_range(0..8)];
            Term::Compare(compare, number(rng, 1), number(rng, 1))
        }
    })
}

#[test]
fn what_rows_tell_together_holds_of_each() {
    let mut told = 0;
    for seed in 0..3000 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut tape = Tape::default();
        let (one, other) = (value(&mut rng), value(&mut rng));
        for id in 0..300u32 {
            // Mostly all alike, so that there is something to tell.
            let cells = if rng.random_range(0..200) == 0 { [value(&mut rng), value(&mut rng)] } else { [one, other] };
            tape.push(Held { id, time: i64::from(id) }, cells.into_iter());
        }
        let registers = [value(&mut rng)];
        let term = condition(&mut rng, 2);
        let program = Program {
            cells: vec![0, 1],
            registers: 1,
            conditions: vec![Condition::Term((*term).clone())],
            ..Program::default()
        };
        let mut zones = Zones::default();
        zones.grow(&tape, &program);
        for _ in 0..3 {
            let from = rng.random_range(0..299);
            let until = rng.random_range(from + 1..=300);
            let zone = zones.between(from, until, &tape);
            assert_eq!(zone.latest, until as i64 - 1);
            let condition = &program.conditions[0];
            let (always, never) = (zone.always(condition, &registers), zone.never(condition, &registers));
            told += usize::from(always || never);
            for row in from as usize..until as usize {
                let current = Current { cells: tape.cells(), width: 2, row, registers: &registers };
                let holds = term.evaluate(&current).is_true();
                assert!(!(always && !holds || never && holds), "seed {seed}: {term:?} in row {row}");
            }
        }
    }
    assert!(told > 3000, "{told}");
}
