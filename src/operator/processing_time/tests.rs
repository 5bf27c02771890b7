use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{Int64Type, TimestampMillisecondType};

use super::ByProcessingTime;
use crate::change::{ChangeBatch, WallClock, Watermark};
use crate::operator::session::{SessionAssignFactory, SessionSpec};
use crate::operator::window::{WindowKind, WindowSpec};
use crate::operator::window_aggregate::{WindowAggregateFactory, WindowOutput, WindowSource};
use crate::operator::{Operator, OperatorFactory, StepTime};

/// Rows of some keys; the time column holds what a step before left there.
fn rows(keys: &[i64]) -> ChangeBatch {
    let times = TimestampMillisecondArray::from_value(-1, keys.len());
    let columns: [(&str, ArrayRef); 2] = [("k", Arc::new(Int64Array::from(keys.to_vec()))), ("p", Arc::new(times))];
    ChangeBatch::append(RecordBatch::try_from_iter(columns).unwrap())
}

/// Groups of windows of 10 ms.
fn tumbling() -> ByProcessingTime {
    let input = rows(&[]).schema();
    let [key, time] = [0, 1].map(|i| Arc::clone(&input.fields()[i]));
    let times = ["s", "t"].map(|n| Arc::new(time.as_ref().clone().with_name(n)));
    let schema = Arc::new(arrow::datatypes::Schema::new([&[key], times.as_slice()].concat()));
    let windows = WindowAggregateFactory {
        windows: WindowSource::Rowtime {
            column: 1,
            spec: WindowSpec { kind: WindowKind::Tumble { size: 10 }, offset: 0 },
        },
        keys: vec![0],
        clock: WallClock::default(),
        aggregates: Vec::new(),
        outputs: vec![WindowOutput::Key(0), WindowOutput::Start, WindowOutput::Time],
        input,
        schema,
    };
    ByProcessingTime { windows: Arc::new(windows), time: 1, shown: vec![2] }
}

fn step(operator: &mut dyn Operator, keys: &[i64], now: i64, ended: bool) -> Vec<(i64, i64, i64)> {
    let mut out = Vec::new();
    if !keys.is_empty() {
        operator.push(0, rows(keys), &mut out).unwrap();
    }
    assert!(out.is_empty());
    let watermark = if ended { Watermark::MAX } else { Watermark::MIN };
    let time = StepTime { inputs: vec![watermark], watermark, processing_time: now };
    operator.advance(&time, &mut out).unwrap();
    let mut found = Vec::new();
    for batch in &out {
        let time = |i: usize| batch.rows.column(i).as_primitive::<TimestampMillisecondType>().values().to_vec();
        let keys = batch.rows.column(0).as_primitive::<Int64Type>().values().to_vec();
        let width = batch.rows.num_columns();
        found.extend(keys.into_iter().zip(time(width - 2)).zip(time(width - 1)).map(|((k, s), t)| (k, s, t)));
    }
    found.sort_unstable();
    found
}

#[test]
fn windows_close_when_the_clock_has_passed_them() {
    let mut windows = tumbling().build().unwrap();
    assert_eq!(windows.next_timer(), None);
    assert_eq!(step(windows.as_mut(), &[1, 2], 5, false), []);
    assert_eq!(windows.next_timer(), Some(10));
    assert_eq!(step(windows.as_mut(), &[1, 3], 9, false), [], "more may come in this millisecond");
    assert_eq!(step(windows.as_mut(), &[4], 10, false), [(1, 0, 10), (2, 0, 10), (3, 0, 10)]);
    assert_eq!(windows.next_timer(), Some(20));
    assert_eq!(step(windows.as_mut(), &[5], 7, false), [], "no row is late where clocks go back");
    assert_eq!(step(windows.as_mut(), &[], 31, false), [(4, 10, 31), (5, 10, 31)]);
    assert_eq!(windows.next_timer(), None);
    assert_eq!(step(windows.as_mut(), &[6], 32, true), [(6, 30, 32)], "all input has ended");
}

#[test]
fn state_moves_with_its_time() {
    let mut windows = tumbling().build().unwrap();
    step(windows.as_mut(), &[1], 25, false);
    let tables = windows.snapshot().unwrap();
    let mut again = tumbling().build().unwrap();
    again.restore(tables).unwrap();
    assert_eq!(again.next_timer(), Some(30));
    assert_eq!(step(again.as_mut(), &[2], 3, false), []);
    assert_eq!(step(again.as_mut(), &[], 30, false), [(1, 20, 30), (2, 20, 30)]);
}

#[test]
fn sessions_end_when_no_rows_come() {
    let input = rows(&[]).schema();
    let time = Arc::clone(&input.fields()[1]);
    let own = ["s", "e", "t"].map(|n| Arc::new(time.as_ref().clone().with_name(n)));
    let schema = Arc::new(arrow::datatypes::Schema::new([&input.fields()[..], own.as_slice()].concat()));
    let sessions = SessionSpec { gap: 10, time: 1, keys: vec![0], strict: false, clock: WallClock::default() };
    let windows = SessionAssignFactory { sessions, input, schema };
    let mut sessions = ByProcessingTime { windows: Arc::new(windows), time: 1, shown: vec![1, 4] }.build().unwrap();
    assert_eq!(step(sessions.as_mut(), &[1, 2], 100, false), []);
    assert_eq!(step(sessions.as_mut(), &[1], 109, false), []);
    assert_eq!(sessions.next_timer(), Some(110));
    // (key, end, when it went out)
    assert_eq!(step(sessions.as_mut(), &[], 110, false), [(2, 110, 110)]);
    assert_eq!(sessions.next_timer(), Some(119));
    assert_eq!(step(sessions.as_mut(), &[], 119, false), [(1, 119, 119), (1, 119, 119)]);
}
