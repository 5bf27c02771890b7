//! Window joins by hand. Random ones against nested loops: `tests/it/law/joins`.

use arrow::array::{ArrayRef, AsArray, Int64Array, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};

use super::*;
use crate::operator::join::{JoinColumn, JoinInput};

/// A row's key, the start of its window of ten, and its id.
type Row = (Option<i64>, i64, i64);

fn factory(kind: JoinKind, keys: Vec<usize>) -> WindowJoinFactory {
    let time = || DataType::Timestamp(TimeUnit::Millisecond, None);
    let fields = [("k", DataType::Int64), ("start", time()), ("end", time()), ("id", DataType::Int64)];
    let schema = Arc::new(Schema::new(fields.map(|(n, t)| Field::new(n, t, true)).to_vec()));
    let input = || JoinInput { schema: Arc::clone(&schema), keys: keys.clone(), changing: false, ttl: None };
    let mut outputs = vec![JoinColumn::Left(3)];
    if kind.pairs() {
        outputs.push(JoinColumn::Right(3));
    }
    let fields = (0..outputs.len()).map(|i| Field::new(format!("c{i}"), DataType::Int64, true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let join = JoinFactory { kind, inputs: [input(), input()], nulls_equal: false, condition: None, outputs, schema };
    WindowJoinFactory { join, windows: [(1, 2); 2], clock: WallClock::default(), origin: Origin::Apart }
}

fn batch(rows: &[Row]) -> ChangeBatch {
    let schema = Arc::clone(&factory(JoinKind::Inner, vec![1, 2]).join.inputs[0].schema);
    let keys: ArrayRef = Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.0)));
    let starts: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.1)));
    let ends: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.1 + 10)));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2)));
    ChangeBatch::append(RecordBatch::try_new(schema, vec![keys, starts, ends, ids]).unwrap())
}

fn step(join: &mut dyn Operator, inputs: [ChangeBatch; 2], marks: [i64; 2]) -> Vec<Vec<Option<i64>>> {
    let mut out = Vec::new();
    for (input, batch) in inputs.into_iter().enumerate() {
        join.push(input, batch, &mut out).unwrap();
    }
    let time = StepTime {
        inputs: marks.map(Watermark).to_vec(),
        watermark: Watermark(marks[0].min(marks[1])),
        processing_time: 0,
    };
    join.advance(&time, &mut out).unwrap();
    let value = |c: &ArrayRef, row: usize| c.is_valid(row).then(|| c.as_primitive::<Int64Type>().value(row));
    let rows = |b: &RecordBatch| {
        (0..b.num_rows()).map(|row| b.columns().iter().map(|c| value(c, row)).collect()).collect::<Vec<_>>()
    };
    out.iter().flat_map(|changes| rows(&changes.rows)).collect()
}

fn pair(left: i64, right: i64) -> Vec<Option<i64>> {
    vec![Some(left), Some(right)]
}

#[test]
fn a_window_goes_out_when_it_closes() {
    let mut join = factory(JoinKind::Inner, vec![0, 1, 2]).build().unwrap();
    let left = batch(&[(Some(1), 0, 1), (Some(1), 10, 2), (None, 0, 3)]);
    let right = batch(&[(Some(1), 0, 1), (Some(1), 0, 2), (Some(1), 10, 3), (None, 0, 4)]);
    assert!(step(join.as_mut(), [left, right], [8, 8]).is_empty());
    assert_eq!(join.stats().state_rows, 7);
    // The side that is behind holds it back.
    assert!(step(join.as_mut(), [batch(&[]), batch(&[])], [9, 8]).is_empty());
    assert_eq!(step(join.as_mut(), [batch(&[]), batch(&[])], [9, 9]), [pair(1, 1), pair(1, 2)]);
    assert_eq!(join.stats().state_rows, 2);
    assert_eq!(step(join.as_mut(), [batch(&[]), batch(&[])], [i64::MAX; 2]), [pair(2, 3)]);
    assert_eq!(join.stats().state_rows, 0);
}

#[test]
fn rows_of_closed_windows_are_late() {
    let mut join = factory(JoinKind::Left, vec![0, 1, 2]).build().unwrap();
    step(join.as_mut(), [batch(&[]), batch(&[])], [20, 9]);
    // The left side's own watermark has passed the window, the right's has not closed it.
    let late =
        ChangeBatch { watermarks: Some(Int64Array::from(vec![20, 20])), ..batch(&[(Some(1), 0, 1), (Some(1), 10, 2)]) };
    assert!(step(join.as_mut(), [late, batch(&[])], [20, 9]).is_empty());
    assert_eq!((join.stats().late_rows, join.stats().state_rows), (1, 1));
    assert_eq!(step(join.as_mut(), [batch(&[]), batch(&[])], [20, 19]), [[Some(2), None]]);
}

#[test]
fn what_has_no_match_in_its_window() {
    let inputs = || {
        let left = batch(&[(Some(1), 0, 1), (Some(2), 0, 2), (None, 0, 3), (Some(1), 10, 4)]);
        [left, batch(&[(Some(1), 0, 1), (None, 0, 2)])]
    };
    let answer = |kind| {
        let mut join = factory(kind, vec![0, 1, 2]).build().unwrap();
        step(join.as_mut(), inputs(), [i64::MAX; 2])
    };
    let alone = |id: i64| vec![Some(id), None];
    assert_eq!(answer(JoinKind::Left), [pair(1, 1), alone(2), alone(3), alone(4)]);
    assert_eq!(answer(JoinKind::Full), [pair(1, 1), alone(2), alone(3), vec![None, Some(2)], alone(4)]);
    assert_eq!(answer(JoinKind::Semi), [[Some(1)]]);
    assert_eq!(answer(JoinKind::Anti), [[Some(2)], [Some(3)], [Some(4)]]);
}

#[test]
fn without_further_keys_all_of_a_window_match() {
    let mut join = factory(JoinKind::Inner, vec![1, 2]).build().unwrap();
    let left = batch(&[(Some(1), 0, 1), (None, 0, 2)]);
    let out = step(join.as_mut(), [left, batch(&[(Some(2), 0, 1), (Some(2), 10, 2)])], [i64::MAX; 2]);
    assert_eq!(out, [pair(1, 1), pair(2, 1)]);
}

#[test]
fn windows_of_one_end_can_begin_apart() {
    let mut join = factory(JoinKind::Inner, vec![1, 2]).build().unwrap();
    let wide = |rows: &[Row]| {
        let batch = batch(rows);
        let mut columns = batch.rows.columns().to_vec();
        columns[2] = Arc::new(TimestampMillisecondArray::from_value(20, rows.len()));
        ChangeBatch::append(RecordBatch::try_new(batch.schema(), columns).unwrap())
    };
    let inputs = [wide(&[(None, 0, 1), (None, 10, 2)]), wide(&[(None, 10, 1)])];
    assert_eq!(step(join.as_mut(), inputs, [i64::MAX; 2]), [pair(2, 1)]);
}

#[test]
fn state_is_handed_on() {
    let plan = factory(JoinKind::Left, vec![0, 1, 2]);
    let mut join = plan.build().unwrap();
    step(join.as_mut(), [batch(&[(Some(1), 0, 1), (Some(2), 10, 2)]), batch(&[(Some(1), 0, 1)])], [5, 5]);
    let mut other = plan.build().unwrap();
    other.restore(join.snapshot().unwrap()).unwrap();
    assert_eq!(other.stats().state_rows, 3);
    assert_eq!(step(other.as_mut(), [batch(&[]), batch(&[])], [i64::MAX; 2]), [pair(1, 1), vec![Some(2), None]]);
}
