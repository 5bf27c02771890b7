//! Rows of both sides, in the order in which they come.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, Schema};
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

/// A row of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// 0 is the left side.
    pub side: usize,
    pub id: i64,
    pub k: Option<i64>,
    pub v: Option<i64>,
    pub ts: i64,
    /// The watermark just before it.
    pub mark: i64,
}

impl Row {
    pub fn is_late(&self) -> bool {
        self.ts <= self.mark
    }
}

/// The columns of every table; `side` is 'l' or 'r'.
pub const COLUMNS: &str = "side STRING, id BIGINT, k BIGINT, v BIGINT, ts TIMESTAMP(3)";

/// Rows of both sides in one stream, `delay` ms before which rows are late. Without `late` none is.
pub fn rows(late: bool, delay: i64, rng: &mut Xoshiro256PlusPlus) -> Vec<Row> {
    let count = *[0, 3, 30, 90, 200].get(rng.random_range(0..5)).unwrap();
    let gap = *[0, 3, 300, 2000].get(rng.random_range(0..4)).unwrap();
    let disorder = if late { 12_000 } else { delay - 1000 };
    let keys = *[1, 3, 20].get(rng.random_range(0..3)).unwrap();
    let mut clock = *[-50_000, 0, 1_700_000_000_000].get(rng.random_range(0..3)).unwrap();
    let mut reached = i64::MIN;
    let mut row = |id: i64| {
        clock += rng.random_range(0..=gap);
        let behind = if rng.random_bool(0.3) { rng.random_range(0..=disorder) } else { 0 };
        let ts = match rng.random_range(0..3) {
            0 => (clock - behind).div_euclid(1000) * 1000,
            1 => (clock - behind).div_euclid(500) * 500 - 1,
            _ => clock - behind,
        };
        let ts = if late { ts } else { ts.max(clock - disorder) };
        let mark = reached;
        reached = reached.max(ts - delay);
        let some = |n: i64, rng: &mut Xoshiro256PlusPlus| (!rng.random_bool(0.1)).then(|| rng.random_range(0..n));
        Row { side: rng.random_range(0..2), id, k: some(keys, rng), v: some(4, rng), ts, mark }
    };
    (0..count).map(&mut row).collect()
}

/// Rows as a table's batch.
pub fn batch(rows: &[&Row], schema: &Arc<Schema>) -> RecordBatch {
    let longs = |of: fn(&Row) -> Option<i64>| Arc::new(rows.iter().map(|r| of(r)).collect::<Int64Array>()) as ArrayRef;
    let sides = rows.iter().map(|r| Some(["l", "r"][r.side])).collect::<StringArray>();
    let times = TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.ts));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(sides), longs(|r| Some(r.id)), longs(|r| r.k), longs(|r| r.v), Arc::new(times)];
    let typed = columns.iter().zip(schema.fields()).map(|(c, f)| cast(c, f.data_type()).unwrap());
    RecordBatch::try_new(Arc::clone(schema), typed.collect()).unwrap()
}

/// A row of a result; times in milliseconds.
pub type Values = Vec<Option<i64>>;

/// The rows of some results, sorted.
pub fn values(batches: &[RecordBatch]) -> Vec<Values> {
    let mut all = Vec::new();
    for batch in batches {
        let columns: Vec<Int64Array> = batch
            .columns()
            .iter()
            .map(|c| cast(c, &DataType::Int64).unwrap().as_primitive::<Int64Type>().clone())
            .collect();
        let value = |c: &Int64Array, row: usize| c.is_valid(row).then(|| c.value(row));
        all.extend((0..batch.num_rows()).map(|row| columns.iter().map(|c| value(c, row)).collect::<Values>()));
    }
    all.sort();
    all
}

/// What has been consumed, and the join's watermark.
#[derive(Debug, Clone)]
pub struct Consumed {
    pub rows: Vec<Row>,
    pub watermark: i64,
}

/// How many rows of each table a schedule is of.
pub fn counts(tables: &[(String, Vec<Row>)]) -> HashMap<String, usize> {
    tables.iter().map(|(name, rows)| (name.clone(), rows.len())).collect()
}
