//! Rows that go out together, ordered by partition.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array, UInt64Array};
use arrow::compute::take;

use super::frame::Frame;
use super::partition::Partition;
use crate::Result;

/// Rows of one partition that go out together.
pub(super) struct Run {
    pub key: u32,
    /// Where they stand among all rows, ordered by partition.
    pub rows: std::ops::Range<usize>,
    /// The ordinal of the first.
    pub first: u64,
}

/// The rows that go out, ordered by partition.
pub(super) struct Firing {
    pub order: UInt32Array,
    pub times: Vec<i64>,
    pub runs: Vec<Run>,
}

impl Firing {
    pub fn new(keys: &[u32], times: &[i64]) -> Self {
        let mut order: Vec<u32> = (0..keys.len() as u32).collect();
        order.sort_by_key(|row| keys[*row as usize]);
        let mut runs: Vec<Run> = Vec::new();
        for (at, row) in order.iter().enumerate() {
            let key = keys[*row as usize];
            match runs.last_mut() {
                Some(run) if run.key == key => run.rows.end = at + 1,
                _ => runs.push(Run { key, rows: at..at + 1, first: 0 }),
            }
        }
        let times = order.iter().map(|row| times[*row as usize]).collect();
        Self { order: UInt32Array::from(order), times, runs }
    }

    /// Brings a column that is ordered by partition into the order in which the rows go out.
    pub fn restore(&self, column: &ArrayRef) -> Result<ArrayRef> {
        let mut back = vec![0u32; self.order.len()];
        (0u32..).zip(self.order.values()).for_each(|(at, row)| back[*row as usize] = at);
        Ok(take(column, &UInt32Array::from(back), None)?)
    }

    /// The groups of a run's rows that share a result: rows of one time where the frame has peers, else single rows.
    pub fn groups<'a>(&'a self, run: &'a Run, frame: Frame) -> impl Iterator<Item = std::ops::Range<usize>> + 'a {
        let mut from = run.rows.start;
        std::iter::from_fn(move || {
            let time = *self.times.get(from).filter(|_| from < run.rows.end)?;
            let mut to = from + 1;
            while frame.has_peers() && to < run.rows.end && self.times[to] == time {
                to += 1;
            }
            let group = from..to;
            from = to;
            Some(group)
        })
    }
}

impl Run {
    pub fn ordinal(&self, at: usize) -> u64 {
        self.first + (at - self.rows.start) as u64
    }

    /// The ordinal after the last row.
    pub fn end(&self) -> u64 {
        self.ordinal(self.rows.end)
    }
}

/// Where the rows of a run, and those before it that are wanted, stand in columns read from the history.
pub(super) struct Span {
    pub offset: usize,
    /// The first ordinal that is wanted.
    pub start: u64,
    /// The first ordinal before the run that is not wanted.
    pub cut: u64,
    /// The run's first ordinal.
    pub first: u64,
}

impl Span {
    pub fn place(&self, ordinal: u64) -> usize {
        let place = match ordinal <= self.cut {
            true => ordinal.saturating_sub(self.start),
            false => ordinal.saturating_sub(self.first) + (self.cut - self.start),
        };
        self.offset + place as usize
    }

    pub fn range(&self, ordinals: std::ops::Range<u64>) -> std::ops::Range<usize> {
        self.place(ordinals.start)..self.place(ordinals.end)
    }
}

pub(super) fn numbers(firing: &Firing, number: impl Fn(&Run, usize) -> u64) -> ArrayRef {
    let rows = firing.runs.iter().flat_map(|run| run.rows.clone().map(|at| number(run, at)).collect::<Vec<_>>());
    Arc::new(UInt64Array::from_iter_values(rows))
}

pub(super) fn ranks(firing: &Firing, partitions: &[Partition], dense: bool) -> ArrayRef {
    let mut all = Vec::with_capacity(firing.times.len());
    for run in &firing.runs {
        let ranks = ranks_of(firing, run, &partitions[run.key as usize]);
        all.extend(ranks.map(|(rank, counted)| if dense { counted } else { rank }));
    }
    Arc::new(UInt64Array::from(all))
}

/// Rank and dense rank of each row of a run, as the partition was before it.
pub(super) fn ranks_of<'a>(
    firing: &'a Firing,
    run: &'a Run,
    before: &Partition,
) -> impl Iterator<Item = (u64, u64)> + 'a {
    let (mut rank, mut dense, mut last) = (before.rank, before.dense, before.last);
    run.rows.clone().map(move |at| {
        if last != Some(firing.times[at]) {
            (rank, dense, last) = (run.ordinal(at) + 1, dense + 1, Some(firing.times[at]));
        }
        (rank, dense)
    })
}

pub(super) fn rank_of_last(firing: &Firing, run: &Run, before: &Partition) -> (u64, u64) {
    ranks_of(firing, run, before).last().unwrap_or((before.rank, before.dense))
}
