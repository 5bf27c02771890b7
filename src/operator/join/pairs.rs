//! Pairs of a changed entry of one side and entries of the other.

use super::output::{Output, Pairs};
use super::side::{Delta, Moment, NO_KEY, Side};
use super::{Join, Role};
use crate::Result;

/// Pairs are judged and given out so many at a time.
const CHUNK: usize = 8192;

/// One of the four ways in which changes of a step meet the other side.
#[derive(Clone, Copy)]
pub(super) struct Phase {
    /// The side whose changes are gone through.
    pub side: usize,
    /// Whether what came is gone through, or what went.
    pub added: bool,
    /// The other side as of when.
    pub other: Moment,
}

/// Rows whose matches changed, each with how many it had before; a row may stand in it more than once, the first counts.
pub(super) type Touched = [Vec<(u32, u64)>; 2];

impl Join {
    /// Gives out the pairs of a phase, and counts matches by row.
    pub(super) fn meet(&mut self, phase: Phase, touched: &mut Touched, output: &mut Output) -> Result<()> {
        let Phase { side, added, other } = phase;
        // Nothing here changes the lists or the changes; taken out, they can be read while the rest is written.
        let delta = std::mem::take(&mut self.sides[side].delta);
        let lists = std::mem::take(&mut self.sides[1 - side].lists);
        let mut pairs = Pairs::new(side, added);
        let mut chunks = delta.chunks.iter().skip(1).map(|(start, _)| *start);
        let mut next_chunk = chunks.next().unwrap_or(usize::MAX);
        for (i, key) in delta.keys.iter().enumerate() {
            if i == next_chunk {
                self.give(&mut pairs, other, &delta, touched, output)?;
                next_chunk = chunks.next().unwrap_or(usize::MAX);
            }
            let weight = delta.weight(i);
            if *key == NO_KEY || weight == 0 || (weight > 0) != added {
                continue;
            }
            for entry in lists.iter(*key) {
                let times = weight.unsigned_abs().saturating_mul(self.sides[1 - side].weight(entry, other));
                pairs.push(i as u32, entry, times);
                if pairs.len() >= CHUNK {
                    self.give(&mut pairs, other, &delta, touched, output)?;
                }
            }
        }
        self.give(&mut pairs, other, &delta, touched, output)?;
        self.sides[side].delta = delta;
        self.sides[1 - side].lists = lists;
        Ok(())
    }

    /// Judges the pairs collected so far and gives them out.
    fn give(
        &mut self,
        pairs: &mut Pairs,
        other: Moment,
        delta: &Delta,
        touched: &mut Touched,
        output: &mut Output,
    ) -> Result<()> {
        if pairs.len() == 0 {
            return Ok(());
        }
        if self.layout.condition.is_some() {
            let read = &self.layout.condition_columns;
            let columns =
                [pairs.columns(&self.sides, 0, &read[0], delta)?, pairs.columns(&self.sides, 1, &read[1], delta)?];
            if let Some(verdict) = self.layout.verdict(columns, pairs.len())? {
                pairs.retain(&verdict);
            }
            self.count(pairs, other, delta, touched);
        }
        if self.kind.pairs() {
            output.pairs(&self.layout, &self.sides, pairs, delta)?;
        }
        pairs.clear();
        Ok(())
    }

    /// Counts the matches of both sides' rows.
    fn count(&mut self, pairs: &Pairs, other: Moment, delta: &Delta, touched: &mut Touched) {
        let [left, right] = &mut self.sides;
        let (own, others) = if pairs.side == 0 { (left, right) } else { (right, left) };
        for (i, entry) in pairs.delta.iter().zip(&pairs.others) {
            let weight = delta.weight(*i as usize);
            if let Some(matches) = &mut others.matches {
                let count = &mut matches[*entry as usize];
                touched[1 - pairs.side].push((*entry, *count));
                *count = count.saturating_add_signed(weight);
            }
            let entry_of_i = delta.entries[*i as usize];
            if pairs.added && own.role != Role::None && is_new(own, delta, *i as usize) {
                let times = others.weight(*entry, other);
                if let Some(count) = own.matches.as_mut().and_then(|m| m.get_mut(entry_of_i as usize)) {
                    *count = count.saturating_add(times);
                }
            }
        }
    }
}

/// Whether an entry was not there before the step.
pub(super) fn is_new(side: &Side, delta: &Delta, i: usize) -> bool {
    delta.weight(i) > 0 && side.weight(delta.entries[i], Moment::New) == delta.weight(i).unsigned_abs()
}
