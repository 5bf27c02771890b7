//! Rows that come meet those that are held.

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take};

use super::side::{Fresh, ON_TIME};
use super::{IntervalJoin, JoinKind, Output};
use crate::Result;
use crate::change::{ChangeBatch, rowtime_millis};
use crate::operator::join::Role;
use crate::operator::join::collect::without_nulls;
use crate::state::{Timed, Timelines};

/// Pairs are judged and given out so many at a time.
const CHUNK: usize = 8192;

/// Pairs of a row that comes and one of the other side.
#[derive(Default)]
struct Pairs {
    /// For each the row that comes, by its place among those that come with it.
    own: Vec<u32>,
    /// For each the row that is held.
    others: Vec<u32>,
    /// For each the watermark before the later of both; empty where all are on time.
    marks: Vec<i64>,
}

impl Pairs {
    fn len(&self) -> usize {
        self.own.len()
    }

    fn clear(&mut self) {
        self.own.clear();
        self.others.clear();
        self.marks.clear();
    }

    fn retain(&mut self, verdict: &BooleanArray) {
        let kept = |i: &usize| verdict.is_valid(*i) && verdict.value(*i);
        if (0..self.len()).all(|i| kept(&i)) {
            return;
        }
        let kept: Vec<usize> = (0..self.len()).filter(kept).collect();
        self.own = kept.iter().map(|i| self.own[*i]).collect();
        self.others = kept.iter().map(|i| self.others[*i]).collect();
        if !self.marks.is_empty() {
            self.marks = kept.iter().map(|i| self.marks[*i]).collect();
        }
    }
}

/// Some columns of the rows at `places`; no copy where these are all rows as they stand.
fn taken(rows: &RecordBatch, columns: &[usize], places: &[u32]) -> Result<Vec<ArrayRef>> {
    if places.len() == rows.num_rows() && (0u32..).zip(places).all(|(a, b)| a == *b) {
        return Ok(columns.iter().map(|c| rows.column(*c).clone()).collect());
    }
    let at = UInt32Array::from(places.to_vec());
    columns.iter().map(|c| Ok(take(rows.column(*c), &at, None)?)).collect()
}

impl IntervalJoin {
    /// Takes in a batch of one side: gives out what it matches, and holds it.
    pub(super) fn take_in(&mut self, side: usize, batch: ChangeBatch, now: i64, out: &mut Output) -> Result<()> {
        let Some(fresh) = self.fresh(side, batch, now, out)? else { return Ok(()) };
        self.sides[side].announce(fresh.keys.len());
        // Nothing here changes the lines; taken out, they can be read while the rest is written.
        let lines = std::mem::take(&mut self.sides[1 - side].lines);
        let met = self.meet(side, &fresh, &lines, out);
        self.sides[1 - side].lines = lines;
        met?;
        self.sides[side].hold(&fresh)
    }

    /// The rows of a batch that can match something, their keys numbered. The others are given out at once where rows without a
    /// match are.
    fn fresh(&mut self, side: usize, batch: ChangeBatch, now: i64, out: &mut Output) -> Result<Option<Fresh>> {
        let own = &self.sides[side];
        let mut rows = batch.rows.project(&own.kept)?;
        let mut keys: Vec<ArrayRef> = own.keys.iter().map(|k| batch.rows.column(*k).clone()).collect();
        let mut times = match own.time {
            Some(column) => rowtime_millis(batch.rows.column(column))?,
            None => Int64Array::from_value(now, batch.num_rows()),
        };
        let mut marks = match own.time {
            Some(_) => self.reached.marks(side, &batch),
            None => None,
        };
        let mut needed = if self.plan.join.nulls_equal { Vec::new() } else { keys.clone() };
        needed.push(std::sync::Arc::new(times.clone()));
        if let Some(matchable) = without_nulls(&needed) {
            if own.role == Role::Unmatched {
                let alone = arrow::compute::not(&matchable)?;
                let picked = |a: &Int64Array| picked(a, &alone);
                let marks = marks.as_ref().map(picked).transpose()?;
                self.give_alone_rows(side, &filter_record_batch(&rows, &alone)?, &picked(&times)?, marks, out)?;
            }
            rows = filter_record_batch(&rows, &matchable)?;
            keys = keys.iter().map(|k| Ok(arrow::compute::filter(k, &matchable)?)).collect::<Result<_>>()?;
            times = picked(&times, &matchable)?;
            marks = marks.map(|m| picked(&m, &matchable)).transpose()?;
        }
        if rows.num_rows() == 0 {
            return Ok(None);
        }
        let mut ids = Vec::with_capacity(rows.num_rows());
        self.keys.intern(&keys, rows.num_rows(), &mut ids)?;
        let late = |(mark, time): (&i64, &i64)| if mark < time { ON_TIME } else { *mark };
        let mut marks: Vec<i64> =
            marks.map_or_else(Vec::new, |m| m.values().iter().zip(times.values()).map(late).collect());
        if marks.iter().all(|m| *m == ON_TIME) {
            marks.clear();
        }
        Ok(Some(Fresh { rows, keys: ids, times: times.values().to_vec(), marks }))
    }

    /// Finds what rows that come match among the other side's lines.
    fn meet(&mut self, side: usize, fresh: &Fresh, lines: &Timelines, out: &mut Output) -> Result<()> {
        let (back, ahead) = (self.plan.reach[1 - side], self.plan.reach[side]);
        let all_on_time = fresh.marks.is_empty() && self.sides[1 - side].late.is_empty();
        let (mut pairs, mut late) = (Pairs::default(), Pairs::default());
        for (i, (key, time)) in fresh.keys.iter().zip(&fresh.times).enumerate() {
            let found = lines.between(*key, time.saturating_sub(back), time.saturating_add(ahead));
            for part in found.chunks(CHUNK) {
                if all_on_time {
                    pairs.own.extend(std::iter::repeat_n(i as u32, part.len()));
                    pairs.others.extend(part.iter().map(|t| t.row));
                } else {
                    part.iter().for_each(|t| self.pair(side, fresh, i, *t, &mut pairs, &mut late));
                }
                if pairs.len() >= CHUNK {
                    self.give(side, fresh, &mut pairs, out)?;
                }
                if late.len() >= CHUNK {
                    self.give(side, fresh, &mut late, out)?;
                }
            }
        }
        self.give(side, fresh, &mut pairs, out)?;
        self.give(side, fresh, &mut late, out)
    }

    /// Pairs a row that comes and one that is held, if the one of them that came first was held when the other came.
    fn pair(&self, side: usize, fresh: &Fresh, i: usize, held: Timed, pairs: &mut Pairs, late: &mut Pairs) {
        let (mark, other) = (fresh.mark(i), self.sides[1 - side].mark(held.row));
        let now = mark.max(other);
        let own_held = || self.sides[side].holds(fresh.times[i], mark, now);
        let other_held = || self.sides[1 - side].holds(held.time, other, now);
        let meet = match mark.cmp(&other) {
            std::cmp::Ordering::Less => own_held(),
            std::cmp::Ordering::Greater => other_held(),
            std::cmp::Ordering::Equal => own_held() && other_held(),
        };
        if meet {
            let pairs = if now == ON_TIME { pairs } else { late };
            pairs.own.push(i as u32);
            pairs.others.push(held.row);
            if now != ON_TIME {
                pairs.marks.push(now);
            }
        }
    }

    /// Judges the pairs collected so far and gives them out.
    fn give(&mut self, side: usize, fresh: &Fresh, pairs: &mut Pairs, out: &mut Output) -> Result<()> {
        if pairs.len() == 0 {
            return Ok(());
        }
        if self.layout.condition.is_some() {
            let columns = self.columns(side, fresh, pairs, &self.layout.condition_columns)?;
            if let Some(verdict) = self.layout.verdict(columns, pairs.len())? {
                pairs.retain(&verdict);
            }
        }
        let first = self.sides[side].store.ids();
        if self.plan.join.kind == JoinKind::Semi {
            let matched = &mut self.sides[0].matched;
            let left = |i: usize| if side == 0 { first + pairs.own[i] } else { pairs.others[i] };
            let new = |i: usize| !std::mem::replace(&mut matched[left(i) as usize], true);
            let new = (0..pairs.len()).map(new).collect::<Vec<_>>();
            pairs.retain(&BooleanArray::from(new));
        }
        for (role, row) in [(side, true), (1 - side, false)].map(|(s, own)| (self.sides[s].role, (s, own))) {
            if role == Role::Unmatched {
                let matched = &mut self.sides[row.0].matched;
                match row.1 {
                    true => pairs.own.iter().for_each(|i| matched[(first + i) as usize] = true),
                    false => pairs.others.iter().for_each(|other| matched[*other as usize] = true),
                }
            }
        }
        if self.plan.join.kind != JoinKind::Anti && pairs.len() > 0 {
            let columns = self.columns(side, fresh, pairs, &self.layout.taken)?;
            let rows = self.layout.assemble(&columns, None, pairs.len())?;
            self.put(rows, std::mem::take(&mut pairs.marks), out);
        }
        pairs.clear();
        Ok(())
    }

    /// Columns of both sides, for each pair.
    fn columns(
        &self,
        side: usize,
        fresh: &Fresh,
        pairs: &Pairs,
        columns: &[Vec<usize>; 2],
    ) -> Result<[Vec<ArrayRef>; 2]> {
        let mut found = [Vec::new(), Vec::new()];
        found[side] = taken(&fresh.rows, &columns[side], &pairs.own)?;
        if !columns[1 - side].is_empty() {
            found[1 - side] = self.sides[1 - side].store.take_columns(&columns[1 - side], &pairs.others)?;
        }
        Ok(found)
    }

    /// Adds rows to the result; `marks` are the watermarks before them, if they are late.
    fn put(&self, rows: RecordBatch, marks: Vec<i64>, out: &mut Output) {
        if marks.is_empty() {
            out.rows.push(ChangeBatch::append(rows));
            return;
        }
        let delay = self.delay();
        let marks = Int64Array::from_iter_values(marks.iter().map(|m| m.saturating_sub(delay)));
        out.late.push(ChangeBatch { watermarks: Some(marks), ..ChangeBatch::append(rows) });
    }

    fn delay(&self) -> i64 {
        use crate::operator::OperatorFactory;
        self.plan.watermark_delay()
    }

    /// Lets go of the rows that the watermark has passed, and gives out those of them that had no match, where they are asked for.
    pub(super) fn expire(&mut self, now: i64, out: &mut Output) -> Result<()> {
        for side in [0, 1] {
            let gone = self.sides[side].pass(now);
            if self.sides[side].role == Role::Unmatched {
                let alone: Vec<Timed> =
                    gone.iter().filter(|t| !self.sides[side].matched[t.row as usize]).copied().collect();
                for part in alone.chunks(CHUNK) {
                    let ids: Vec<u32> = part.iter().map(|t| t.row).collect();
                    let columns: Vec<usize> = (0..self.sides[side].kept.len()).collect();
                    let columns = self.sides[side].store.take_columns(&columns, &ids)?;
                    let rows = RecordBatch::try_new(self.sides[side].store.schema().clone(), columns)?;
                    let times = Int64Array::from_iter_values(part.iter().map(|t| t.time));
                    let marks = Int64Array::from_iter_values(ids.iter().map(|row| self.sides[side].mark(*row)));
                    self.give_alone_rows(side, &rows, &times, Some(marks), out)?;
                }
            }
            self.sides[side].forget(&gone);
        }
        Ok(())
    }

    /// Gives out rows that had no match, those apart that come out behind the watermark.
    fn give_alone_rows(
        &self,
        side: usize,
        rows: &RecordBatch,
        times: &Int64Array,
        marks: Option<Int64Array>,
        out: &mut Output,
    ) -> Result<()> {
        let delay = self.delay();
        let is_late = |i: usize, marks: &Int64Array| {
            marks.value(i) != ON_TIME && times.is_valid(i) && marks.value(i).saturating_sub(delay) >= times.value(i)
        };
        let late: BooleanArray = match &marks {
            Some(marks) => (0..rows.num_rows()).map(|i| Some(is_late(i, marks))).collect(),
            None => BooleanArray::from(vec![false; rows.num_rows()]),
        };
        for (part, late) in [(arrow::compute::not(&late)?, false), (late, true)] {
            let rows = filter_record_batch(rows, &part)?;
            if rows.num_rows() == 0 {
                continue;
            }
            let marks = match &marks {
                Some(marks) if late => picked(marks, &part)?.values().to_vec(),
                _ => Vec::new(),
            };
            let mut columns = [Vec::new(), Vec::new()];
            columns[side] = self.layout.taken[side].iter().map(|c| rows.column(*c).clone()).collect();
            self.put(self.layout.assemble(&columns, None, rows.num_rows())?, marks, out);
        }
        Ok(())
    }
}

fn picked(values: &Int64Array, which: &BooleanArray) -> Result<Int64Array> {
    use arrow::array::AsArray;
    let picked = arrow::compute::filter(values, which)?;
    Ok(picked.as_primitive::<arrow::datatypes::Int64Type>().clone())
}
