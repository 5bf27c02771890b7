use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, Schema};

use super::sessions::{NONE, Sessions};

struct Watched {
    sessions: Sessions,
    late: usize,
}

impl Watched {
    fn new(gap: i64) -> Self {
        Self::with(gap, false)
    }

    fn with(gap: i64, strict: bool) -> Self {
        let keys = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
        Self { sessions: Sessions::try_new(gap, strict, keys).unwrap(), late: 0 }
    }

    /// Adds rows of (key, time, watermark before).
    fn add(&mut self, rows: &[(i64, i64, i64)]) -> Vec<u32> {
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0)));
        let times: Vec<i64> = rows.iter().map(|r| r.1).collect();
        let marks: Vec<i64> = rows.iter().map(|r| r.2).collect();
        let mut assigned = Vec::new();
        self.sessions.assign(&[keys], &times, Some(&marks), &mut assigned).unwrap();
        self.sessions.take_merged();
        self.late += assigned.iter().filter(|s| **s == NONE).count();
        assigned.into_iter().map(|s| if s == NONE { s } else { self.sessions.resolve(s) }).collect()
    }

    fn close(&mut self, watermark: i64) -> Vec<(i64, i64)> {
        let ended = self.sessions.close(watermark);
        self.sessions.release(&ended).unwrap();
        ended.iter().map(|e| (e.window.start, e.window.end)).collect()
    }
}

const MIN: i64 = i64::MIN;

#[test]
fn rows_make_and_join_sessions() {
    let mut all = Watched::new(10);
    let assigned = all.add(&[(1, 0, MIN), (1, 10, MIN), (1, 21, MIN), (2, 5, MIN), (1, 15, MIN)]);
    assert_eq!(assigned, [assigned[2], assigned[2], assigned[2], assigned[3], assigned[2]]);
    assert_eq!(all.sessions.len(), 3, "one is part of another");
    assert_eq!(all.close(13), []);
    assert_eq!(all.close(14), [(5, 15)]);
    assert_eq!(all.close(i64::MAX), [(0, 31)]);
    assert_eq!((all.sessions.len(), all.sessions.next_end()), (0, None));
}

#[test]
fn a_gap_apart_they_merge_unless_the_earlier_is_closed() {
    let mut all = Watched::new(10);
    all.add(&[(1, 0, MIN), (2, 0, MIN), (1, 10, 8), (2, 10, 9)]);
    assert_eq!(all.close(i64::MAX), [(0, 10), (0, 20), (10, 20)]);
}

#[test]
fn late_rows_join_what_is_open() {
    let mut all = Watched::new(10);
    let first = all.add(&[(1, 20, MIN), (1, 12, 25), (1, 3, 25), (1, 1, 25), (1, -9, 25), (1, 8, 29)]);
    assert_eq!(first[..5], [first[0]; 5]);
    assert_eq!((first[5], all.late), (NONE, 1), "its session is closed by now, and its own would be");
    assert_eq!(all.close(29), [(-9, 30)]);
    // What went out took the rows before it with it.
    all.add(&[(1, 20, 29), (1, 25, 29), (1, 19, 29)]);
    assert_eq!(all.close(40), [(19, 35)]);
    assert_eq!(all.late, 2);
}

#[test]
fn where_order_is_not_defined_late_rows_join_nothing() {
    let mut all = Watched::with(10, true);
    assert_eq!(all.add(&[(1, 20, MIN), (1, 12, 25), (1, 17, 25)])[1], NONE);
    assert_eq!((all.close(29), all.late), (vec![(17, 30)], 1));
}

#[test]
fn numbers_are_given_again_and_keys_dropped() {
    let mut all = Watched::new(10);
    for round in 0..6 {
        let rows: Vec<(i64, i64, i64)> = (0..2000).map(|k| (round * 2000 + k, round * 100, MIN)).collect();
        let assigned = all.add(&rows);
        assert!(assigned.iter().all(|s| *s < 4000), "{round}");
        assert_eq!(all.close(round * 100 + 9).len(), 2000);
    }
    all.add(&[(3, 700, MIN), (11_999, 700, MIN)]);
    assert_eq!(all.sessions.len(), 2);
    let open = all.sessions.all_open();
    let keys = all.sessions.key_columns(&open.iter().map(|s| s.key).collect::<Vec<_>>()).unwrap();
    assert_eq!(keys[0].as_ref(), &Int64Array::from(vec![3, 11_999]) as &dyn arrow::array::Array);
}
