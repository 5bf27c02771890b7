//! Rows that come meet those that are held.

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take};

use super::batches::{ON_TIME, TimedRows};
use super::output::picked;
use super::side::Fresh;
use super::{IntervalJoin, JoinKind, Output};
use crate::Result;
use crate::change::{ChangeBatch, rowtime_millis};
use crate::operator::join::Role;
use crate::operator::join::collect::without_nulls;
use crate::operator::late::Late;
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
    /// Takes in what a step brings to a side: gives out what it matches, and holds it.
    pub(super) fn take_in(&mut self, side: usize, batches: Vec<ChangeBatch>, now: i64, out: &mut Output) -> Result<()> {
        let mut fresh = Vec::with_capacity(batches.len());
        for batch in batches {
            fresh.extend(self.fresh(side, batch, now, out)?);
        }
        self.sides[1 - side].prepare(&fresh)?;
        fresh.iter().try_for_each(|fresh| self.meet(side, fresh, out))
    }

    /// The rows of a batch that can match something, which are held from now on. The others are given out at once where rows without
    /// a match are.
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
        let mut matchable = without_nulls(&needed);
        if let Some(matchable) = matchable.as_ref().filter(|_| own.role == Role::Unmatched) {
            let alone = arrow::compute::not(matchable)?;
            let marks = marks.as_ref().map(|m| picked(m, &alone)).transpose()?;
            self.give_alone_rows(side, &filter_record_batch(&rows, &alone)?, &picked(&times, &alone)?, marks, out)?;
        }
        if let Some(marks) = &marks {
            self.drop_late(side, &batch, &times, marks, &mut matchable)?;
        }
        if let Some(matchable) = matchable {
            rows = filter_record_batch(&rows, &matchable)?;
            keys = keys.iter().map(|k| Ok(arrow::compute::filter(k, &matchable)?)).collect::<Result<_>>()?;
            times = picked(&times, &matchable)?;
            marks = marks.map(|m| picked(&m, &matchable)).transpose()?;
        }
        if rows.num_rows() == 0 {
            return Ok(None);
        }
        let late = |(mark, time): (&i64, &i64)| if mark < time { ON_TIME } else { *mark };
        let mut marks: Vec<i64> =
            marks.map_or_else(Vec::new, |m| m.values().iter().zip(times.values()).map(late).collect());
        if marks.iter().all(|m| *m == ON_TIME) {
            marks.clear();
        }
        let times = times.values().clone();
        let held = TimedRows { rows: rows.clone(), times: times.clone(), marks: marks.clone(), matched: Vec::new() };
        let (earliest, latest) = held.span();
        let (back, ahead) = (self.plan.reach[1 - side], self.plan.reach[side]);
        let asks = (earliest.saturating_sub(back), latest.saturating_add(ahead));
        let first = self.sides[side].batches.append(held, (earliest, latest))?;
        Ok(Some(Fresh { first, rows, keys, times, marks, asks }))
    }

    /// Drops the rows that come when all that they can match has been let go, unless they go out without a match.
    fn drop_late(
        &mut self,
        side: usize,
        batch: &ChangeBatch,
        times: &Int64Array,
        marks: &Int64Array,
        matchable: &mut Option<BooleanArray>,
    ) -> Result<()> {
        let (back, ahead) = (self.plan.reach[1 - side], self.plan.reach[side]);
        if self.sides[side].role == Role::Unmatched || ahead.saturating_add(back) < 0 {
            return Ok(());
        }
        // The last row that it can match is `ahead` later, and was held for `back` more.
        let too_late = |row: usize| {
            let last = times.value(row).saturating_add(ahead);
            marks.value(row) >= last && marks.value(row) > last.saturating_add(back)
        };
        let can = |row: &usize| matchable.as_ref().is_none_or(|m| m.value(*row));
        let late = (0..batch.num_rows()).filter(can).filter(|row| too_late(*row));
        let late = late.map(|row| Late { row: row as u32, time: times.value(row), watermark: marks.value(row) });
        let late: Vec<Late> = late.collect();
        if !late.is_empty() {
            self.late.dropped(&batch.rows, batch.kinds.as_ref(), &late)?;
            let mut left: Vec<bool> = (0..batch.num_rows()).map(|row| can(&row)).collect();
            late.iter().for_each(|l| left[l.row as usize] = false);
            *matchable = Some(left.into());
        }
        Ok(())
    }

    /// Finds what rows that come match among the other side's.
    fn meet(&mut self, side: usize, fresh: &Fresh, out: &mut Output) -> Result<()> {
        let other = &mut self.sides[1 - side];
        if other.index.lines.rows() == 0 || !other.batches.overlap(fresh.asks) {
            return Ok(());
        }
        let mut keys = Vec::with_capacity(fresh.times.len());
        other.index.find(&fresh.keys, fresh.times.len(), &mut keys)?;
        // Nothing here changes the lines; taken out, they can be read while the rest is written.
        let lines = std::mem::take(&mut other.index.lines);
        let met = self.meet_lines(side, fresh, &keys, &lines, out);
        self.sides[1 - side].index.lines = lines;
        met
    }

    fn meet_lines(
        &mut self,
        side: usize,
        fresh: &Fresh,
        keys: &[u32],
        lines: &Timelines,
        out: &mut Output,
    ) -> Result<()> {
        let (back, ahead) = (self.plan.reach[1 - side], self.plan.reach[side]);
        let others = &self.sides[1 - side].batches;
        // Then all that is found is held, and was when the row came.
        let plain = fresh.marks.is_empty() && fresh.asks.0 > others.past().until && !others.any_late();
        let (mut pairs, mut late) = (Pairs::default(), Pairs::default());
        for (i, (key, time)) in keys.iter().zip(fresh.times.iter()).enumerate() {
            let found = lines.between(*key, time.saturating_sub(back), time.saturating_add(ahead));
            for part in found.chunks(CHUNK) {
                if plain {
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
        let others = &self.sides[1 - side].batches;
        if !others.past().is_there(held.time, held.row) {
            return;
        }
        let (mark, other) = (fresh.mark(i), others.mark(held.row));
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
        if self.plan.join.kind == JoinKind::Semi {
            let lefts = (0..pairs.len()).map(|i| if side == 0 { fresh.first + pairs.own[i] } else { pairs.others[i] });
            let mut new = Vec::with_capacity(pairs.len());
            self.sides[0].batches.note_matches(lefts, |first| new.push(first));
            pairs.retain(&BooleanArray::from(new));
        }
        if self.sides[side].role == Role::Unmatched {
            self.sides[side].batches.note_matches(pairs.own.iter().map(|i| fresh.first + i), |_| ());
        }
        if self.sides[1 - side].role == Role::Unmatched {
            self.sides[1 - side].batches.note_matches(pairs.others.iter().copied(), |_| ());
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
            found[1 - side] = self.sides[1 - side].batches.take_columns(&columns[1 - side], &pairs.others)?;
        }
        Ok(found)
    }
}
