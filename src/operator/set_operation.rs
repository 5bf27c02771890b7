//! `INTERSECT ALL` and `EXCEPT ALL`: how often each row is there on both sides.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};

use super::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::change::{ChangeBatch, RowKind};
use crate::state::{Expiry, Keys, Placement, StateTable, absent_row};
use crate::{Error, Result};

/// How often a row is in the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd)]
pub enum SetKind {
    /// `INTERSECT ALL`: as often as on the side where it is less often.
    Intersect,
    /// `EXCEPT ALL`: as often as on the left, less as often as on the right.
    Except,
}

impl SetKind {
    fn times(self, [left, right]: [u64; 2]) -> u64 {
        match self {
            SetKind::Intersect => left.min(right),
            SetKind::Except => left.saturating_sub(right),
        }
    }
}

/// Makes the operators of a set operation; all inputs and the result have the same columns.
#[derive(Debug, Clone)]
pub struct SetOperationFactory {
    /// Which it is.
    pub kind: SetKind,
    /// The columns.
    pub schema: SchemaRef,
    /// For how many milliseconds of processing time each side's counts are kept untouched; `None` is for ever.
    pub ttl: [Option<i64>; 2],
}

impl OperatorFactory for SetOperationFactory {
    fn build(&self) -> Result<Box<dyn Operator>> {
        let side = |ttl| Side { counts: Vec::new(), expiry: Expiry::new(ttl), pending: Vec::new() };
        Ok(Box::new(SetOperation {
            kind: self.kind,
            schema: Arc::clone(&self.schema),
            rows: Keys::try_new(Arc::clone(&self.schema))?,
            sides: self.ttl.map(side),
            given: Vec::new(),
            check_at: CHECK_FROM,
        }))
    }

    fn name(&self) -> &'static str {
        "SetOperation"
    }

    fn works_by_key(&self) -> bool {
        true
    }

    fn state_ttl(&self) -> Option<i64> {
        self.ttl[0].zip(self.ttl[1]).map(|(left, right)| left.max(right))
    }
}

/// With fewer distinct rows it is not asked whether they are still there.
const CHECK_FROM: usize = 4096;
/// How many rows a batch of the result holds at most.
const BATCH: usize = 8192;

struct Side {
    /// By row number: how often it is there.
    counts: Vec<u64>,
    expiry: Expiry,
    pending: Vec<ChangeBatch>,
}

impl Side {
    fn count(&self, row: u32) -> u64 {
        self.counts.get(row as usize).copied().unwrap_or(0)
    }
}

struct SetOperation {
    kind: SetKind,
    schema: SchemaRef,
    /// All rows of both sides.
    rows: Keys,
    sides: [Side; 2],
    /// By row number: how often it was given out. Counts may have expired since, so they do not tell.
    given: Vec<u64>,
    check_at: usize,
}

impl Operator for SetOperation {
    fn push(&mut self, input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.num_rows() > 0 {
            self.sides[input].pending.push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let now = time.processing_time;
        self.expire(now);
        let mut touched = Vec::new();
        for side in [0, 1] {
            let from = touched.len();
            for batch in std::mem::take(&mut self.sides[side].pending) {
                self.count(side, &batch, &mut touched)?;
            }
            self.sides[side].expiry.touch(&touched[from..], now);
        }
        touched.sort_unstable();
        touched.dedup();
        self.give(&touched, out)?;
        self.drop_dead_rows()
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let live: Vec<u32> = (0..self.given.len() as u32).filter(|row| self.is_live(*row)).collect();
        if live.is_empty() {
            return Ok(Vec::new());
        }
        let width = self.schema.fields().len();
        let mut fields: Vec<Arc<Field>> = self.schema.fields().iter().cloned().collect();
        let mut columns = self.rows.take(&live)?;
        let mut add = |name: &str, data_type: DataType, column: ArrayRef| {
            fields.push(Arc::new(Field::new(name, data_type, false)));
            columns.push(column);
        };
        for (side, name) in self.sides.iter().zip(["left", "right"]) {
            let counts = UInt64Array::from_iter_values(live.iter().map(|row| side.count(*row)));
            add(&format!("__{name}"), DataType::UInt64, Arc::new(counts));
            let written = Int64Array::from_iter_values(live.iter().map(|row| side.expiry.written(*row)));
            add(&format!("__{name}_written"), DataType::Int64, Arc::new(written));
        }
        let given = UInt64Array::from_iter_values(live.iter().map(|row| self.given[*row as usize]));
        add("__given", DataType::UInt64, Arc::new(given));
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        Ok(vec![StateTable { name: "rows".into(), placement: Placement::Key((0..width).collect()), rows: vec![rows] }])
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        tables.iter().flat_map(|t| &t.rows).try_for_each(|rows| self.restore_rows(rows))
    }

    fn stats(&self) -> OperatorStats {
        let of_sides = self.sides.iter().map(|s| s.counts.capacity() * 8 + s.expiry.bytes()).sum::<usize>();
        OperatorStats {
            state_rows: self.live() as u64,
            state_bytes: (self.rows.bytes() + of_sides + self.given.capacity() * 8) as u64,
            ..OperatorStats::default()
        }
    }
}

impl SetOperation {
    /// The numbers of some rows, with a place for each in all that is kept by number.
    fn number(&mut self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(rows);
        self.rows.intern(columns, rows, &mut ids)?;
        self.given.resize(self.rows.len(), 0);
        self.sides.iter_mut().for_each(|s| s.counts.resize(self.rows.len(), 0));
        Ok(ids)
    }

    /// Lets go of counts that no row has touched for too long. A row of which nothing is left begins anew.
    fn expire(&mut self, now: i64) {
        for side in [0, 1] {
            let Side { counts, expiry, .. } = &mut self.sides[side];
            let expired = expiry.expired(now);
            expired.iter().for_each(|row| counts[*row as usize] = 0);
            for row in expired {
                if !self.is_live(row) {
                    self.given[row as usize] = 0;
                }
            }
        }
    }

    fn is_live(&self, row: u32) -> bool {
        self.sides.iter().any(|s| s.count(row) > 0)
    }

    /// How many distinct rows are there.
    fn live(&self) -> usize {
        (0..self.rows.len() as u32).filter(|row| self.is_live(*row)).count()
    }

    fn count(&mut self, side: usize, batch: &ChangeBatch, touched: &mut Vec<u32>) -> Result<()> {
        let ids = self.number(batch.rows.columns(), batch.num_rows())?;
        let Side { counts, expiry, .. } = &mut self.sides[side];
        for (row, id) in ids.iter().enumerate() {
            let count = &mut counts[*id as usize];
            match batch.kind(row).is_addition() {
                true => *count += 1,
                false if *count > 0 => *count -= 1,
                false if expiry.is_on() => continue,
                false => return Err(absent_row(&batch.rows, row)),
            }
            touched.push(*id);
        }
        Ok(())
    }

    /// Gives out what changed of some rows.
    fn give(&mut self, rows: &[u32], out: &mut Vec<ChangeBatch>) -> Result<()> {
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for row in rows {
            let now = self.kind.times([self.sides[0].count(*row), self.sides[1].count(*row)]);
            let before = std::mem::replace(&mut self.given[*row as usize], now);
            removed.extend((now..before).map(|_| *row));
            added.extend((before..now).map(|_| *row));
        }
        for (ids, kind) in [(removed, RowKind::Delete), (added, RowKind::Insert)] {
            for ids in ids.chunks(BATCH) {
                let options = RecordBatchOptions::new().with_row_count(Some(ids.len()));
                let columns = self.rows.take(ids)?;
                let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
                let kinds = (kind != RowKind::Insert).then(|| vec![kind; ids.len()].into());
                out.push(ChangeBatch { kinds, ..ChangeBatch::append(rows) });
            }
        }
        Ok(())
    }

    fn drop_dead_rows(&mut self) -> Result<()> {
        if self.rows.len() < self.check_at {
            return Ok(());
        }
        if self.live() < self.rows.len() / 2 {
            let sides = &self.sides;
            let remap = self.rows.retain(|row| sides.iter().any(|s| s.count(row) > 0))?;
            remap.apply(&mut self.given);
            for side in &mut self.sides {
                remap.apply(&mut side.counts);
                side.expiry.remap(&remap);
            }
        }
        self.check_at = (self.rows.len() * 2).max(CHECK_FROM);
        Ok(())
    }

    fn restore_rows(&mut self, table: &RecordBatch) -> Result<()> {
        let odd = || Error::internal("a table that is no state of a set operation");
        let width = self.schema.fields().len();
        if table.num_columns() != width + 5 {
            return Err(odd());
        }
        let numbers = |at: usize| table.column(width + at).as_primitive_opt::<UInt64Type>().ok_or_else(odd);
        let times = |at: usize| table.column(width + at).as_primitive_opt::<Int64Type>().ok_or_else(odd);
        let ids = self.number(&table.columns()[..width], table.num_rows())?;
        for (side, at) in [(0, 0), (1, 2)] {
            let (counts, written) = (numbers(at)?, times(at + 1)?);
            let side = &mut self.sides[side];
            for ((id, count), time) in ids.iter().zip(counts.values()).zip(written.values()) {
                side.counts[*id as usize] = *count;
                if *count > 0 {
                    side.expiry.touch(&[*id], *time);
                }
            }
        }
        let given = numbers(4)?;
        ids.iter().zip(given.values()).for_each(|(id, times)| self.given[*id as usize] = *times);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;
    use crate::change::Watermark;
    use crate::state::place;

    fn factory(kind: SetKind, ttl: Option<i64>) -> SetOperationFactory {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        SetOperationFactory { kind, schema, ttl: [ttl; 2] }
    }

    /// Below 0 a row is taken away; 0 is NULL.
    fn batch(values: &[i64]) -> ChangeBatch {
        let column: ArrayRef = Arc::new(values.iter().map(|v| (*v != 0).then(|| v.abs())).collect::<Int64Array>());
        let kind = |v: &i64| if *v < 0 { RowKind::Delete } else { RowKind::Insert };
        let rows = RecordBatch::try_from_iter_with_nullable([("a", column, true)]).unwrap();
        ChangeBatch { kinds: Some(values.iter().map(kind).collect()), ..ChangeBatch::append(rows) }
    }

    fn step(operator: &mut dyn Operator, now: i64, left: &[i64], right: &[i64]) -> Result<Vec<i64>> {
        let mut out = Vec::new();
        operator.push(0, batch(left), &mut out)?;
        operator.push(1, batch(right), &mut out)?;
        let time = StepTime { inputs: vec![Watermark::MIN; 2], watermark: Watermark::MIN, processing_time: now };
        operator.advance(&time, &mut out)?;
        let values = |b: &ChangeBatch| {
            let column = b.rows.column(0).as_primitive::<Int64Type>().clone();
            let sign = |i: usize| if b.kind(i).is_addition() { 1 } else { -1 };
            (0..b.num_rows()).map(|i| if column.is_null(i) { 0 } else { column.value(i) * sign(i) }).collect::<Vec<_>>()
        };
        Ok(out.iter().flat_map(values).collect())
    }

    #[test]
    fn copies_are_counted() {
        let mut all = factory(SetKind::Intersect, None).build().unwrap();
        assert_eq!(step(all.as_mut(), 0, &[1, 1, 1, 2, 0], &[1, 1, 3, 0, 0]).unwrap(), [1, 1, 0]);
        assert_eq!(step(all.as_mut(), 0, &[-1, -1], &[2]).unwrap(), [-1, 2]);
        let mut less = factory(SetKind::Except, None).build().unwrap();
        assert_eq!(step(less.as_mut(), 0, &[1, 1, 1, 2], &[1, 3]).unwrap(), [1, 1, 2]);
        assert_eq!(step(less.as_mut(), 0, &[3, 3], &[-1, 2, 2]).unwrap(), [-2, 1, 3]);
        assert!(step(less.as_mut(), 0, &[-3, 3], &[]).unwrap().is_empty());
        match step(less.as_mut(), 0, &[-7], &[]) {
            Err(Error::Execution(message)) => assert!(message.contains("a = 7"), "{message}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_expired_begins_anew() {
        for restored in [false, true] {
            let factory = factory(SetKind::Except, Some(10));
            let mut less = factory.build().unwrap();
            assert_eq!(step(less.as_mut(), 0, &[1, 2], &[]).unwrap(), [1, 2]);
            assert!(step(less.as_mut(), 5, &[], &[3]).unwrap().is_empty());
            assert_eq!(step(less.as_mut(), 12, &[4], &[]).unwrap(), [4]);
            if restored {
                let tables = less.snapshot().unwrap();
                less = factory.build().unwrap();
                less.restore(tables).unwrap();
            }
            assert_eq!(step(less.as_mut(), 13, &[1], &[2]).unwrap(), [1], "restored: {restored}");
        }
    }

    #[test]
    fn state_is_dealt_and_goes_on() {
        let factory = factory(SetKind::Except, Some(10));
        let mut one = factory.build().unwrap();
        let left: Vec<i64> = (1..=20).chain(1..=10).collect();
        assert_eq!(step(one.as_mut(), 0, &left, &(5..=30).collect::<Vec<_>>()).unwrap().len(), 14);
        let dealt = place(vec![one.snapshot().unwrap()], 2).unwrap();
        let mut snapshots = Vec::new();
        for tables in dealt {
            let mut worker = factory.build().unwrap();
            worker.restore(tables).unwrap();
            snapshots.push(worker.snapshot().unwrap());
        }
        let mut again = factory.build().unwrap();
        again.restore(place(snapshots, 1).unwrap().remove(0)).unwrap();
        assert_eq!(again.stats().state_rows, 30);
        for operator in [&mut one, &mut again] {
            let mut given = step(operator.as_mut(), 5, &[-1, 12], &[-6]).unwrap();
            given.sort_unstable();
            assert_eq!(given, [-1, 6, 12]);
            // All but what was written at 5 has run out; a row that ran out is not taken away.
            assert_eq!(step(operator.as_mut(), 12, &[-2, 40], &[]).unwrap(), [40]);
        }
    }
}
