//! One side of an interval join: the rows that are held.

use std::collections::HashMap;

use arrow::array::RecordBatch;

use super::{IntervalJoinFactory, JoinTime};
use crate::Result;
use crate::operator::join::Role;
use crate::operator::join::output::Layout;
use crate::state::{Deadlines, Remap, RowStore, Timed, Timelines, row_store};

/// No watermark: the row was on time.
pub(super) const ON_TIME: i64 = i64::MIN;

/// The rows of one side.
pub(super) struct Side {
    /// The key columns of the input.
    pub keys: Vec<usize>,
    /// The columns of the input that are kept.
    pub kept: Vec<usize>,
    /// Of `kept`, which are key columns, in the order of the keys.
    pub kept_keys: Vec<usize>,
    /// The column of the input that holds the rowtime.
    pub time: Option<usize>,
    pub role: Role,
    /// By how much rows of the other side that match can be later.
    pub span: i64,
    pub store: Box<dyn RowStore>,
    pub lines: Timelines,
    /// When the first of a key's rows is to be let go, if not something before it.
    pub deadlines: Deadlines,
    /// By row whether it has had a match; empty where that is not asked.
    pub matched: Vec<bool>,
    /// Of rows that came late, the watermark just before them.
    pub late: HashMap<u32, i64>,
}

/// Rows that a step brings, all with a key and a time.
pub(super) struct Fresh {
    /// The columns that are kept.
    pub rows: RecordBatch,
    /// The numbers of their keys.
    pub keys: Vec<u32>,
    /// Their times.
    pub times: Vec<i64>,
    /// For each the watermark just before it if it is late, else [`ON_TIME`]; empty where none is late.
    pub marks: Vec<i64>,
}

impl Fresh {
    pub fn mark(&self, row: usize) -> i64 {
        self.marks.get(row).copied().unwrap_or(ON_TIME)
    }
}

impl Side {
    pub fn try_new(plan: &IntervalJoinFactory, layout: &Layout, side: usize) -> Result<Self> {
        let input = &plan.join.inputs[side];
        let kept = layout.kept[side].clone();
        let time = match plan.time {
            JoinTime::Rowtime(columns) => Some(columns[side]),
            JoinTime::Processing => None,
        };
        Ok(Self {
            keys: input.keys.clone(),
            kept_keys: input.keys.iter().filter_map(|k| kept.iter().position(|c| c == k)).collect(),
            time,
            role: plan.join.kind.role(side),
            span: plan.reach[side],
            store: row_store(std::sync::Arc::new(input.schema.project(&kept)?)),
            kept,
            lines: Timelines::default(),
            deadlines: Deadlines::default(),
            matched: Vec::new(),
            late: HashMap::new(),
        })
    }

    pub fn rows(&self) -> usize {
        self.store.len()
    }

    pub fn bytes(&self) -> usize {
        let by_row = self.matched.capacity() + self.late.capacity() * 16;
        self.store.bytes() + self.lines.bytes() + self.deadlines.bytes() + by_row
    }

    /// Whether a row was held when it came, and still is when a row comes at watermark `now`.
    pub fn holds(&self, time: i64, mark: i64, now: i64) -> bool {
        let until = time.saturating_add(self.span);
        // Before its own time it may not have come yet: then it is the other that was held.
        (mark == ON_TIME || mark < until) && (now <= until || now < time)
    }

    /// The watermark at which a row is let go.
    fn end(&self, time: i64) -> i64 {
        time.saturating_add(self.span.saturating_add(1).max(0))
    }

    /// The watermark before a row that is held, if it was late.
    pub fn mark(&self, row: u32) -> i64 {
        self.late.get(&row).copied().unwrap_or(ON_TIME)
    }

    /// Makes room for what is to be known of some more rows; gives the number of the first.
    pub fn announce(&mut self, rows: usize) -> u32 {
        let first = self.store.ids();
        if self.role != Role::None {
            self.matched.resize(first as usize + rows, false);
        }
        first
    }

    /// Holds some rows, which were announced.
    pub fn hold(&mut self, fresh: &Fresh) -> Result<()> {
        let first = self.store.append(&fresh.rows)?;
        let mut deadlines = Vec::new();
        for ((row, key), time) in (first..).zip(&fresh.keys).zip(&fresh.times) {
            if self.lines.push(*key, *time, row) {
                deadlines.push((self.end(*time), *key));
            }
        }
        self.deadlines.add(&deadlines);
        let late = (first..).zip(&fresh.marks).filter(|(_, mark)| **mark != ON_TIME);
        self.late.extend(late.map(|(row, mark)| (row, *mark)));
        Ok(())
    }

    /// Takes out the rows that nothing can match once the watermark stands at `now`. They can be read until compaction.
    pub fn pass(&mut self, now: i64) -> Vec<Timed> {
        let mut gone = Vec::new();
        let ahead = self.span.saturating_add(1).max(0);
        let until = if now == i64::MAX { now } else { now.saturating_sub(ahead) };
        let Self { deadlines, lines, .. } = self;
        let mut next = Vec::new();
        deadlines.due(now, |key| {
            let first = lines.pass(key, until, |timed| gone.push(timed));
            next.extend(first.map(|first| (first.saturating_add(ahead), key)));
        });
        deadlines.add(&next);
        gone
    }

    /// Forgets rows that were taken out.
    pub fn forget(&mut self, rows: &[Timed]) {
        for Timed { row, .. } in rows {
            self.store.remove(*row);
            if !self.late.is_empty() {
                self.late.remove(row);
            }
        }
    }

    /// Gives back what dropped rows took, once that is most.
    pub fn compact(&mut self) -> Result<()> {
        if !self.store.wants_compaction() {
            return Ok(());
        }
        let remap = self.store.compact()?;
        self.lines.remap_rows(&remap);
        if self.role != Role::None {
            remap.apply(&mut self.matched);
        }
        self.late = self.late.iter().filter_map(|(row, mark)| Some((remap.get(*row)?, *mark))).collect();
        Ok(())
    }

    /// Follows keys to their new numbers.
    pub fn renumber_keys(&mut self, keys: &Remap) {
        self.lines.remap_keys(keys);
        self.deadlines.remap(keys);
    }
}
