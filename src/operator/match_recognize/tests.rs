use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_physical_expr::expressions::Column;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;
use crate::operator::{OperatorFactory, StepTime};

fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("v", DataType::Int64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
    ]))
}

fn rows(rows: &[(&str, i64, i64)]) -> RecordBatch {
    let k: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.0)));
    let v: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1)));
    let ts: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.2)));
    RecordBatch::try_new(input(), vec![k, v, ts]).unwrap()
}

/// `A B* C`: B is more than the row of A, C is less. Of each match A and C come out, and how many there were before it.
fn plan(within: Option<i64>) -> MatchRecognize {
    plan_with(within, 0)
}

/// The same, but B and C are held against the row of A less something.
fn plan_with(within: Option<i64>, less: i64) -> MatchRecognize {
    let repeat = Pattern::Repeat { inner: Box::new(Pattern::Variable(1)), min: 0, max: None, greedy: true };
    let pattern = Pattern::Concat(vec![Pattern::Variable(0), repeat, Pattern::Variable(2)]);
    let a = Box::new(Term::Register { at: 0, absent: Scalar::Null });
    let less = Box::new(Term::Constant(Scalar::Int(less)));
    let a = Box::new(Term::Arithmetic(Arithmetic::Minus, Number::Int(64), a, less));
    let than_a = |compare| Condition::Term(Term::Compare(compare, Box::new(Term::Cell(0)), a.clone()));
    let program = Program {
        cells: vec![1],
        registers: 1,
        conditions: vec![Condition::Always, than_a(Compare::Greater), than_a(Compare::Less)],
        updates: vec![
            vec![Update::Last { at: 0, count: 1, value: Beside { cell: 0, shift: 0, absent: Scalar::Null } }],
            vec![],
            vec![],
        ],
        ..Program::default()
    };
    let last = |variable: u32| Slot::Value {
        navigation: Navigation {
            variables: Variables::Some(vec![variable]),
            end: End::Last,
            offset: 0,
            shift: 0,
            whole: true,
        },
        column: 1,
    };
    let number = |name: &str| Field::new(name, DataType::Int64, true);
    let slots = Schema::new(vec![number("s0"), number("s1"), number("s2")]);
    let outputs = (0..3).map(|n| Output::Measure(Arc::new(Column::new(&format!("s{n}"), n))));
    let measures = Measures {
        slots: Slots { slots: vec![last(0), last(2), Slot::Number], schema: Arc::new(slots) },
        outputs: std::iter::once(Output::Column(0)).chain(outputs).collect(),
        all_rows: false,
        empty: true,
    };
    let key = Field::new("k", DataType::Utf8, true);
    MatchRecognize {
        keys: vec![0],
        time: MatchTime::Rowtime(2),
        order: vec![],
        automaton: Arc::new(Automaton::try_new(&pattern).unwrap()),
        program: Arc::new(program),
        names: ["A", "B", "C"].map(String::from).to_vec().into(),
        within,
        skip: Skip::PastLastRow,
        measures: Arc::new(measures),
        input: input(),
        own: vec![0, 1, 2],
        schema: Arc::new(Schema::new(vec![key, number("a"), number("c"), number("n")])),
    }
}

/// The same, and the row that comes next is more than that of C.
fn ahead(within: Option<i64>) -> MatchRecognize {
    let mut plan = plan(within);
    let mut program = (*plan.program).clone();
    let next = Term::Beside(Beside { cell: 0, shift: 1, absent: Scalar::Null });
    program.conditions[2] = Condition::Term(Term::Compare(Compare::Greater, Box::new(next), Box::new(Term::Cell(0))));
    program.after = 1;
    plan.program = Arc::new(program);
    plan
}

fn step(operator: &mut dyn Operator, batch: Option<ChangeBatch>, watermark: i64) -> Vec<(String, i64, i64, i64)> {
    let mut out = Vec::new();
    batch.into_iter().for_each(|batch| operator.push(0, batch, &mut out).unwrap());
    let watermark = Watermark(watermark);
    operator.advance(&StepTime { inputs: vec![watermark], watermark, processing_time: 0 }, &mut out).unwrap();
    let mut found = Vec::new();
    for batch in out {
        let number = |c: usize| batch.rows.column(c).as_any().downcast_ref::<Int64Array>().unwrap().clone();
        let keys = batch.rows.column(0).as_any().downcast_ref::<StringArray>().unwrap();
        let (a, c, n) = (number(1), number(2), number(3));
        found.extend((0..batch.num_rows()).map(|i| (keys.value(i).to_string(), a.value(i), c.value(i), n.value(i))));
    }
    found
}

fn append(all: &[(&str, i64, i64)]) -> Option<ChangeBatch> {
    Some(ChangeBatch::append(rows(all)))
}

#[test]
fn matches_wait_for_the_watermark_and_rows_are_let_go() {
    let mut operator = plan(None).build().unwrap();
    // Out of order; the row at 40 is not looked at yet.
    let found = step(&mut *operator, append(&[("a", 9, 20), ("a", 5, 10), ("a", 1, 40), ("b", 1, 10)]), 30);
    assert_eq!((found, operator.stats().state_rows), (vec![], 4));
    let found = step(&mut *operator, append(&[("a", 7, 50)]), 40);
    // What stays is b's row, and the one that is ahead.
    assert_eq!((found, operator.stats().state_rows), (vec![("a".into(), 5, 1, 1)], 2));
    assert_eq!(step(&mut *operator, append(&[("a", 6, 60)]), 60), [("a".into(), 7, 6, 2)]);
    assert_eq!(operator.stats().state_rows, 1);
    assert!(operator.stats().state_bytes > 0);
}

#[test]
fn the_watermark_ends_searches() {
    let mut operator = plan(Some(100)).build().unwrap();
    // The first search holds up the match of the second row with the third.
    assert_eq!(step(&mut *operator, append(&[("a", 1, 0), ("a", 9, 10), ("a", 8, 20)]), 99), []);
    assert_eq!(step(&mut *operator, None, 100), [("a".into(), 9, 8, 1)]);
    assert_eq!(operator.stats().state_rows, 0);
}

#[test]
fn rows_wait_for_those_that_are_looked_ahead_to() {
    let mut operator = ahead(None).build().unwrap();
    assert_eq!(step(&mut *operator, append(&[("a", 5, 10), ("a", 3, 20), ("a", 4, 30), ("b", 1, 20)]), 29), []);
    assert_eq!(operator.stats().state_rows, 4);
    assert_eq!(step(&mut *operator, None, 30), [("a".into(), 5, 3, 1)]);
    // The last row of each key waits.
    assert_eq!(operator.stats().state_rows, 2);
    // Behind the last there is none.
    assert_eq!(step(&mut *operator, append(&[("a", 2, 40)]), i64::MAX), []);
    assert_eq!(operator.stats().state_rows, 2);
}

#[test]
fn the_watermark_does_not_end_a_search_that_waits_for_a_row() {
    let mut operator = ahead(Some(15)).build().unwrap();
    assert_eq!(step(&mut *operator, append(&[("a", 5, 10), ("a", 3, 20), ("b", 5, 10), ("b", 3, 25)]), 1000), []);
    // Of b's rows the second is too late for the first, whatever comes behind it.
    assert_eq!(operator.stats().state_rows, 3);
    assert_eq!(step(&mut *operator, append(&[("a", 9, 1001)]), 1001), [("a".into(), 5, 3, 1)]);
    assert_eq!(operator.stats().state_rows, 2);
}

#[test]
fn rows_that_wait_are_part_of_a_snapshot() {
    let all: Vec<(&str, i64, i64)> = (0..40).map(|n| (["a", "b"][n % 2], (n * n) as i64 % 11, n as i64 * 10)).collect();
    let expected = step(&mut *ahead(None).build().unwrap(), append(&all), i64::MAX);
    assert!(expected.len() > 5, "{expected:?}");
    for cut in 1..all.len() {
        let mut before = ahead(None).build().unwrap();
        let mut found = step(&mut *before, append(&all[..cut]), all[cut - 1].2);
        let mut after = ahead(None).build().unwrap();
        after.restore(before.snapshot().unwrap()).unwrap();
        assert_eq!(after.stats().state_rows, before.stats().state_rows);
        found.extend(step(&mut *after, append(&all[cut..]), i64::MAX));
        assert_eq!(found, expected, "cut at {cut}");
    }
}

#[test]
fn late_rows_are_dropped_and_counted() {
    let mut operator = plan(None).build().unwrap();
    let batch = ChangeBatch {
        watermarks: Some(Int64Array::from(vec![i64::MIN, 10, 10])),
        ..ChangeBatch::append(rows(&[("a", 5, 10), ("a", 4, 10), ("a", 3, 11)]))
    };
    assert_eq!(step(&mut *operator, Some(batch), 11), [("a".into(), 5, 3, 1)]);
    assert_eq!(operator.stats().late_rows, 1);
}

#[test]
fn searches_are_made_anew_from_a_snapshot() {
    let all = [
        ("a", 5, 10),
        ("b", 5, 11),
        ("a", 9, 20),
        ("b", 4, 21),
        ("a", 7, 30),
        ("a", 2, 40),
        ("b", 3, 41),
        ("b", 2, 42),
    ];
    let mut whole = plan(Some(1000)).build().unwrap();
    let expected = step(&mut *whole, append(&all), i64::MAX);
    assert_eq!(expected.len(), 3);
    for cut in 0..all.len() {
        let mut before = plan(Some(1000)).build().unwrap();
        let mut found = step(&mut *before, append(&all[..cut]), 25);
        let mut after = plan(Some(1000)).build().unwrap();
        after.restore(before.snapshot().unwrap()).unwrap();
        assert_eq!(after.stats().state_rows, before.stats().state_rows);
        let rest: Vec<_> = all[cut..].iter().copied().filter(|r| r.2 > 25 || cut == 0).collect();
        if rest.len() == all.len() - cut {
            found.extend(step(&mut *after, append(&rest), i64::MAX));
            assert_eq!(found, expected, "cut at {cut}");
        }
    }
}

#[test]
fn a_row_without_a_time_is_an_error() {
    let mut operator = plan(None).build().unwrap();
    let ts: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![None]));
    let mut columns = rows(&[("a", 1, 1)]).columns().to_vec();
    columns[2] = ts;
    let batch = ChangeBatch::append(RecordBatch::try_new(input(), columns).unwrap());
    operator.push(0, batch, &mut Vec::new()).unwrap();
    let watermark = Watermark(0);
    let time = StepTime { inputs: vec![watermark], watermark, processing_time: 0 };
    let error = operator.advance(&time, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("'ts' of MATCH_RECOGNIZE is NULL"), "{error}");
}

#[test]
fn partitions_that_are_idle_are_forgotten() {
    let mut operator = plan(Some(10)).build().unwrap();
    let keys: Vec<String> = (0..20_000).map(|k| format!("k{k}")).collect();
    for (at, part) in keys.chunks(2000).enumerate() {
        let now = at as i64 * 1000;
        let part: Vec<(&str, i64, i64)> = part.iter().map(|k| (k.as_str(), 1, now)).collect();
        assert_eq!(step(&mut *operator, append(&part), now), []);
    }
    assert_eq!(operator.stats().state_rows, 2000);
    let bytes = operator.stats().state_bytes;
    assert!(bytes < 8_000_000, "{bytes}");
}

/// What `plan_with` finds in the rows of one partition, a row a millisecond, by trying each.
fn tried(values: &[i64], within: usize, less: i64, skip: &Skip) -> Vec<(i64, i64)> {
    let (mut found, mut start) = (Vec::new(), 0);
    while start < values.len() {
        let than = values[start] - less;
        let mut rows = values.iter().enumerate().skip(start + 1).take(within - 1);
        let end = rows.find(|(_, value)| **value <= than).filter(|(_, value)| **value < than);
        found.extend(end.map(|(_, value)| (values[start], *value)));
        start = match (end, skip) {
            (Some((at, _)), Skip::PastLastRow) => at + 1,
            _ => start + 1,
        };
    }
    found
}

#[test]
fn hot_keys_are_matched_as_by_trying_each_row() {
    for seed in 0..60u64 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (less, within) = (rng.random_range(0..60), rng.random_range(2..700));
        let (mut course, noise) = (0, [0, 0, 5, 70][rng.random_range(0..4)]);
        let values: Vec<i64> = (0..2000)
            .map(|row| {
                course += match seed % 5 {
                    0 => 1,
                    1 => -1,
                    2 => [1, -1][row / 400 % 2],
                    3 => rng.random_range(-3..=3),
                    _ => [1, -99][usize::from(row % 100 == 99)],
                };
                course + if rng.random_range(0..50) == 0 { rng.random_range(-noise..=noise) } else { 0 }
            })
            .collect();
        let skip = if rng.random_bool(0.5) { Skip::PastLastRow } else { Skip::ToNextRow };
        let mut plan = plan_with(Some(within as i64), less);
        plan.skip = skip.clone();
        let mut operator = plan.build().unwrap();
        let mut found = Vec::new();
        let mut from = 0;
        while from < values.len() {
            let until = (from + rng.random_range(1..900)).min(values.len());
            let rows: Vec<(&str, i64, i64)> = (from..until).map(|row| ("a", values[row], row as i64)).collect();
            found.extend(step(&mut *operator, append(&rows), until as i64 - 1));
            assert!(operator.stats().state_rows <= within as u64, "seed {seed}: {:?}", operator.stats());
            from = until;
        }
        found.extend(step(&mut *operator, None, i64::MAX));
        // They go out in the order of their last rows.
        let mut found: Vec<(i64, i64)> = found.into_iter().map(|(_, a, c, _)| (a, c)).collect();
        let mut expected = tried(&values, within, less, &skip);
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "seed {seed}: less {less}, within {within}");
    }
}
