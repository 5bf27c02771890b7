//! The join of what came to windows of one end.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{max, min, take};

use super::WindowJoin;
use crate::Result;
use crate::change::{ChangeBatch, rowtime_millis};
use crate::operator::join::Role;
use crate::operator::join::collect::{number, without_nulls};
use crate::operator::join::side::NO_KEY;
use crate::state::Keys;

/// Pairs are judged and given out so many at a time.
const CHUNK: usize = 8192;

/// Rows by key, in their order.
struct Table {
    /// By key where its rows begin; they end where those of the next begin.
    starts: Vec<u32>,
    rows: Vec<u32>,
}

impl Table {
    fn new(keys: &[u32], count: usize) -> Self {
        let mut starts = vec![0u32; count + 1];
        keys.iter().filter(|k| **k != NO_KEY).for_each(|key| starts[*key as usize + 1] += 1);
        (0..count).for_each(|key| starts[key + 1] += starts[key]);
        let mut next = starts.clone();
        let mut rows = vec![0; starts[count] as usize];
        for (row, key) in (0u32..).zip(keys).filter(|(_, k)| **k != NO_KEY) {
            rows[next[*key as usize] as usize] = row;
            next[*key as usize] += 1;
        }
        Self { starts, rows }
    }

    fn of(&self, key: u32) -> &[u32] {
        match self.starts.get(key as usize..) {
            Some([from, to, ..]) => &self.rows[*from as usize..*to as usize],
            _ => &[],
        }
    }
}

fn picked(rows: &RecordBatch, columns: &[usize], places: &[u32]) -> Result<Vec<ArrayRef>> {
    if places.len() == rows.num_rows() && (0u32..).zip(places).all(|(a, b)| a == *b) {
        return Ok(columns.iter().map(|c| rows.column(*c).clone()).collect());
    }
    let at = UInt32Array::from(places.to_vec());
    columns.iter().map(|c| Ok(take(rows.column(*c), &at, None)?)).collect()
}

impl WindowJoin {
    /// Joins the rows of both sides, whose windows have one end.
    pub(super) fn meet(&self, rows: [RecordBatch; 2], out: &mut Vec<ChangeBatch>) -> Result<()> {
        let kind = self.plan.join.kind;
        let mut matched = rows.each_ref().map(|rows| vec![false; rows.num_rows()]);
        if rows.iter().all(|r| r.num_rows() > 0) {
            let keys = self.numbered(&rows)?;
            let count = keys[1].iter().filter(|k| **k != NO_KEY).max().map_or(0, |last| *last as usize + 1);
            let table = Table::new(&keys[1], count);
            if kind.pairs() || self.layout.condition.is_some() {
                let mut pairs = [Vec::new(), Vec::new()];
                for (row, key) in (0u32..).zip(&keys[0]) {
                    for part in table.of(*key).chunks(CHUNK) {
                        pairs[0].extend(std::iter::repeat_n(row, part.len()));
                        pairs[1].extend_from_slice(part);
                        if pairs[0].len() >= CHUNK {
                            self.give(&rows, &mut pairs, &mut matched, out)?;
                        }
                    }
                }
                self.give(&rows, &mut pairs, &mut matched, out)?;
            } else {
                let found = keys[0].iter().map(|key| !table.of(*key).is_empty());
                matched[0] = found.collect();
            }
        }
        self.give_alone(&rows[0], 0, &matched[0], out)?;
        self.give_alone(&rows[1], 1, &matched[1], out)
    }

    /// The numbers of both sides' keys.
    fn numbered(&self, rows: &[RecordBatch; 2]) -> Result<[Vec<u32>; 2]> {
        // Where all windows begin at one time too, as they mostly do, the rows' other keys tell them apart.
        let mut starts = None;
        let mut one_start = true;
        for (side, rows) in self.sides.iter().zip(rows) {
            let column = rowtime_millis(rows.column(side.window.0))?;
            let (first, last) = (min(&column), max(&column));
            one_start &= column.null_count() == 0 && first == last && starts.is_none_or(|start| start == first);
            starts = Some(first);
        }
        let of = |side: usize| if one_start { &self.sides[side].plain_keys } else { &self.sides[side].keys };
        let mut keys = Keys::try_new(Arc::new(self.sides[1].schema.project(of(1))?))?;
        let mut ids = [1, 0].map(|side| {
            let columns: Vec<ArrayRef> = of(side).iter().map(|k| rows[side].column(*k).clone()).collect();
            let matchable = if self.plan.join.nulls_equal { None } else { without_nulls(&columns) };
            number(&mut keys, &columns, rows[side].num_rows(), matchable.as_ref())
        });
        ids.reverse();
        let [left, right] = ids;
        Ok([left?, right?])
    }

    /// Judges the pairs collected so far and gives them out.
    fn give(
        &self,
        rows: &[RecordBatch; 2],
        pairs: &mut [Vec<u32>; 2],
        matched: &mut [Vec<bool>; 2],
        out: &mut Vec<ChangeBatch>,
    ) -> Result<()> {
        if pairs[0].is_empty() {
            return Ok(());
        }
        let columns = |pairs: &[Vec<u32>; 2], columns: &[Vec<usize>; 2]| {
            Ok::<_, crate::Error>([
                picked(&rows[0], &columns[0], &pairs[0])?,
                picked(&rows[1], &columns[1], &pairs[1])?,
            ])
        };
        if self.layout.condition.is_some() {
            let read = columns(pairs, &self.layout.condition_columns)?;
            if let Some(verdict) = self.layout.verdict(read, pairs[0].len())? {
                keep(pairs, &verdict);
            }
        }
        for (pairs, matched) in pairs.iter().zip(matched) {
            pairs.iter().for_each(|row| matched[*row as usize] = true);
        }
        if self.plan.join.kind.pairs() && !pairs[0].is_empty() {
            let taken = columns(pairs, &self.layout.taken)?;
            out.push(ChangeBatch::append(self.layout.assemble(&taken, None, pairs[0].len())?));
        }
        pairs.iter_mut().for_each(Vec::clear);
        Ok(())
    }

    /// Gives out the rows of one side that are to be given by themselves.
    fn give_alone(&self, rows: &RecordBatch, side: usize, matched: &[bool], out: &mut Vec<ChangeBatch>) -> Result<()> {
        let role = self.plan.join.kind.role(side);
        if role == Role::None {
            return Ok(());
        }
        let alone: Vec<u32> = (0u32..).zip(matched).filter(|(_, m)| role.shows(**m)).map(|(row, _)| row).collect();
        for part in alone.chunks(CHUNK) {
            let mut columns = [Vec::new(), Vec::new()];
            columns[side] = picked(rows, &self.layout.taken[side], part)?;
            let marks = part.iter().map(|row| Some(matched[*row as usize])).collect::<BooleanArray>();
            let rows = self.layout.assemble(&columns, Some(Arc::new(marks)), part.len())?;
            out.push(ChangeBatch::append(rows));
        }
        Ok(())
    }
}

fn keep(pairs: &mut [Vec<u32>; 2], verdict: &BooleanArray) {
    let kept = |i: &usize| verdict.is_valid(*i) && verdict.value(*i);
    for pairs in pairs {
        *pairs = pairs.iter().enumerate().filter(|(i, _)| kept(i)).map(|(_, row)| *row).collect();
    }
}
