//! Rows that a side gives by themselves: by whether they had a match before the step, and whether they have one now.

use super::output::{Alone, Output};
use super::pairs::{Touched, is_new};
use super::side::{Moment, NO_KEY, Side, Store};
use super::{Join, JoinKind, Role};
use crate::Result;
use crate::change::RowKind;

/// What a step changed of which keys are there at all. Kept from step to step for its memory, which is as large as all keys.
#[derive(Default)]
pub(super) struct Presence {
    /// Keys that came to be there, or ceased to be, on each side.
    flipped: [Vec<u32>; 2],
    /// By key, whether it stands in `flipped`.
    is_flipped: [Vec<bool>; 2],
    /// The right side before the step, as `NOT IN` sees it.
    before: Whole,
}

/// What `NOT IN` asks of the whole right side.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Whole {
    Empty,
    HasNull,
    #[default]
    Other,
}

impl Presence {
    /// Begins a step.
    pub fn begin(&mut self, right: Whole) {
        self.before = right;
        for (flipped, is_flipped) in self.flipped.iter_mut().zip(&mut self.is_flipped) {
            flipped.drain(..).for_each(|key| is_flipped[key as usize] = false);
        }
    }

    /// Notes which of a side's changed keys are there, before its changes are put into the lists, to find those that flip.
    pub fn note(side: &Side) -> Vec<(u32, bool)> {
        let keys = side.delta.keys.iter().enumerate().filter(|(_, k)| **k != NO_KEY);
        match &side.store {
            Store::Counts(counts) => {
                let before = |i: usize, k: u32| counts.get(k).saturating_add_signed(-side.delta.weight(i)) > 0;
                keys.map(|(i, k)| (*k, before(i, *k))).collect()
            }
            _ => keys.map(|(_, k)| (*k, side.has(*k))).collect(),
        }
    }

    /// Compares what was noted of a side with what is.
    pub fn compare(&mut self, side: usize, noted: Vec<(u32, bool)>, now: &Side) {
        let is_flipped = &mut self.is_flipped[side];
        for (key, before) in noted {
            if now.has(key) == before {
                continue;
            }
            if is_flipped.len() <= key as usize {
                is_flipped.resize(key as usize + 1, false);
            }
            if !std::mem::replace(&mut is_flipped[key as usize], true) {
                self.flipped[side].push(key);
            }
        }
    }

    fn flips(&self, side: usize, key: u32) -> bool {
        self.is_flipped[side].get(key as usize).copied().unwrap_or(false)
    }
}

/// A row that may show or no longer show.
struct Judged {
    entry: u32,
    /// [`NO_KEY`] where it is not at hand.
    key: u32,
    before: (u64, bool),
    now: (u64, bool),
    kinds: (RowKind, RowKind),
}

impl Join {
    /// The right side as `NOT IN` sees it; of no meaning for other kinds.
    pub(super) fn whole(&self) -> Whole {
        let Store::Counts(counts) = &self.sides[1].store else { return Whole::Other };
        match self.null_key {
            _ if counts.live == 0 => Whole::Empty,
            Some(null) if counts.get(null) > 0 => Whole::HasNull,
            _ => Whole::Other,
        }
    }

    /// Gives out the rows of a side that show by themselves since this step, and takes away those that no longer do.
    pub(super) fn stand_alone(
        &mut self,
        side: usize,
        presence: &Presence,
        touched: &mut Touched,
        output: &mut Output,
    ) -> Result<()> {
        if self.sides[side].role == Role::None {
            return Ok(());
        }
        let judged = match self.layout.condition.is_some() {
            true => self.judge_by_row(side, &mut touched[side]),
            false => self.judge_by_key(side, presence),
        };
        let role = self.sides[side].role;
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for row in &judged {
            for mark in [false, true].into_iter().filter(|m| role.shows(*m)) {
                let times = |(weight, matched): (u64, bool)| if matched == mark { weight } else { 0 };
                let (before, now) = (times(row.before), times(row.now));
                let entry = row.entry;
                if now > before {
                    added.push(Alone { entry, times: now - before, kind: row.kinds.0, mark });
                } else if before > now {
                    removed.push(Alone { entry, times: before - now, kind: row.kinds.1, mark });
                }
            }
        }
        output.alone(&self.layout, &self.sides, side, &removed, false)?;
        output.alone(&self.layout, &self.sides, side, &added, true)?;
        if self.settles {
            let settled = judged.iter().filter(|row| row.now.1 && row.key != NO_KEY);
            settled.for_each(|row| self.sides[side].let_go(row.entry, row.key));
        }
        Ok(())
    }

    /// Whether rows of a key match something, before and after the step.
    fn matched(&self, side: usize, key: u32, presence: &Presence) -> (bool, bool) {
        let other = &self.sides[1 - side];
        let now = key != NO_KEY && other.has(key);
        let before = now ^ (key != NO_KEY && presence.flips(1 - side, key));
        if self.kind != JoinKind::NotIn {
            return (before, now);
        }
        let judge = |whole: Whole, has: bool| match whole {
            Whole::Empty => false,
            Whole::HasNull => true,
            Whole::Other => key == NO_KEY || has,
        };
        (judge(presence.before, before), judge(self.whole(), now))
    }

    fn judge_by_key(&mut self, side: usize, presence: &Presence) -> Vec<Judged> {
        let own = &self.sides[side];
        let mut rows: Vec<(u32, u32, Option<usize>)> = own
            .delta
            .entries
            .iter()
            .zip(&own.delta.keys)
            .enumerate()
            .map(|(i, (entry, key))| (*entry, *key, Some(i)))
            .collect();
        let all = self.kind == JoinKind::NotIn && presence.before != self.whole();
        if all {
            let keys = (0u32..).zip(own.key_of.iter().flatten());
            let there = keys.filter(|(e, _)| own.is_there(*e) && !own.is_changed(*e));
            rows.extend(there.map(|(entry, key)| (entry, *key, None)));
        } else {
            for key in &presence.flipped[1 - side] {
                let others = own.lists.iter(*key).filter(|e| !own.is_changed(*e));
                rows.extend(others.map(|entry| (entry, *key, None)));
            }
        }
        let judged = rows.into_iter().map(|(entry, key, change)| {
            let (mut before, mut now) = self.matched(side, key, presence);
            let own = &self.sides[side];
            let weights = own.weights(entry, change);
            // With a time-to-live matches go silently: what was last said of a row is what stands.
            if let Some(said) = own.matches.as_ref().and_then(|m| m.get(entry as usize))
                && weights.0 > 0
            {
                let flips = before != now;
                before = *said > 0;
                now = if flips { now } else { before };
            }
            Judged {
                entry,
                key,
                before: (weights.0, before),
                now: (weights.1, now),
                kinds: own.kinds(change, self.kind),
            }
        });
        let judged: Vec<Judged> = judged.collect();
        if let Some(matches) = &mut self.sides[side].matches {
            judged.iter().for_each(|row| matches[row.entry as usize] = u64::from(row.now.1));
        }
        judged
    }

    fn judge_by_row(&mut self, side: usize, touched: &mut Vec<(u32, u64)>) -> Vec<Judged> {
        // Stable, so that of an entry the first comes first.
        touched.sort_by_key(|(entry, _)| *entry);
        touched.dedup_by_key(|(entry, _)| *entry);
        let own = &self.sides[side];
        let now = |entry: u32| own.matches.as_ref().and_then(|m| m.get(entry as usize)).copied().unwrap_or(0);
        let before = |entry: u32| match touched.binary_search_by_key(&entry, |(e, _)| *e) {
            Ok(at) => touched[at].1,
            Err(_) => now(entry),
        };
        let judge = |entry: u32, change: Option<usize>| {
            let weights = own.weights(entry, change);
            let (before, now) = ((weights.0, before(entry) > 0), (weights.1, now(entry) > 0));
            Judged { entry, key: NO_KEY, before, now, kinds: own.kinds(change, self.kind) }
        };
        let changed = own.delta.entries.iter().enumerate().map(|(i, entry)| judge(*entry, Some(i)));
        let others = touched.iter().filter(|(entry, _)| !own.is_changed(*entry));
        changed.chain(others.map(|(entry, _)| judge(*entry, None))).collect()
    }
}

impl Side {
    /// How often an entry was there before the step, and is now; `change` is its place among the changes.
    fn weights(&self, entry: u32, change: Option<usize>) -> (u64, u64) {
        match (&self.store, change) {
            (Store::Weighted(_), _) => (self.weight(entry, Moment::Old), self.weight(entry, Moment::New)),
            (_, Some(_)) => (0, 1),
            (_, None) => (1, 1),
        }
    }

    /// How a row is labelled that comes or goes: as its input was, where it is its own doing and no padding.
    fn kinds(&self, change: Option<usize>, kind: JoinKind) -> (RowKind, RowKind) {
        let own = change.filter(|_| !kind.pairs()).map(|i| (self.delta.kind(i, true), self.delta.kind(i, false)));
        own.unwrap_or((RowKind::Insert, RowKind::Delete))
    }

    /// Gives up a row that can change nothing any more.
    fn let_go(&mut self, entry: u32, key: u32) {
        if let Store::Rows(rows) = &mut self.store {
            rows.remove(entry);
            self.lists.remove(key, entry);
        }
    }

    /// Whether an entry's row is there.
    fn is_there(&self, entry: u32) -> bool {
        match &self.store {
            Store::Rows(rows) => rows.is_live(entry),
            Store::Weighted(rows) => rows.weight(entry) > 0,
            Store::Counts(counts) => counts.get(entry) > 0,
        }
    }

    /// Before matches are counted: entries that were not there have none.
    pub(super) fn forget_matches_of_new(&mut self) {
        let fresh: Vec<u32> =
            (0..self.delta.len()).filter(|i| is_new(self, &self.delta, *i)).map(|i| self.delta.entries[i]).collect();
        if let Some(matches) = &mut self.matches {
            fresh.iter().for_each(|entry| matches[*entry as usize] = 0);
        }
    }
}
