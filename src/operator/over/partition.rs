//! What is kept of one partition.

use std::collections::VecDeque;

use datafusion_expr::Accumulator;

use super::frame::Frame;

/// A row that has gone out and that a frame may still reach.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// Its number in the history.
    pub id: u32,
    /// Its time.
    pub time: i64,
}

/// What a function keeps of a partition.
#[derive(Default)]
pub(super) enum Memory {
    /// Nothing.
    #[default]
    None,
    /// What all rows so far add up to.
    Running(Box<dyn Accumulator>),
    /// What the rows from an ordinal up to the last one add up to.
    Sliding(Box<dyn Accumulator>, u64),
    /// Ordinals and numbers of rows whose value is not NULL.
    Valid(VecDeque<(u64, u32)>),
}

/// One partition. Rows that went out are counted: their ordinals.
#[derive(Default)]
pub(super) struct Partition {
    /// The last of the rows that went out, as far as frames may reach.
    pub held: VecDeque<Held>,
    /// How many rows went out; the ordinal of the next.
    pub count: u64,
    /// The ordinal, from 1 on, of the first row that has the time of the last.
    pub rank: u64,
    /// How many times there were.
    pub dense: u64,
    /// The time of the last row that went out.
    pub last: Option<i64>,
    /// How many rows wait for the watermark.
    pub waiting: u32,
    /// By function.
    pub memory: Vec<Memory>,
}

impl Partition {
    /// Whether anything is known of it.
    pub fn is_live(&self) -> bool {
        self.waiting > 0 || self.count > 0
    }

    /// The ordinal of the first row that is held.
    pub fn first(&self) -> u64 {
        self.count - self.held.len() as u64
    }

    /// The row of an ordinal, if it is held.
    pub fn at(&self, ordinal: u64) -> Option<Held> {
        self.held.get(usize::try_from(ordinal.checked_sub(self.first())?).ok()?).copied()
    }

    /// The ordinal that the frame of a row begins with, among the rows that are held.
    pub fn begin(&self, frame: Frame, ordinal: u64, time: i64) -> u64 {
        let first = self.first();
        match frame {
            Frame::Rows(None) | Frame::Range(None) => first,
            Frame::Rows(Some(n)) => ordinal.saturating_sub(n).max(first),
            Frame::Range(Some(reach)) | Frame::Recent(reach) => {
                let bound = time.saturating_sub(reach);
                first + self.held.partition_point(|h| h.time < bound) as u64
            }
        }
    }

    /// The numbers of the rows of some ordinals, all of them held.
    pub fn ids(&self, ordinals: std::ops::Range<u64>) -> impl Iterator<Item = u32> + '_ {
        let first = self.first();
        let (from, to) = (ordinals.start.max(first) - first, ordinals.end.max(first) - first);
        self.held.range(from as usize..(to as usize).min(self.held.len()).max(from as usize)).map(|h| h.id)
    }

    /// Forgets all but the rows that wait; gives the numbers of the rows that were held.
    pub fn clear(&mut self) -> impl Iterator<Item = u32> {
        let before = std::mem::take(self);
        self.waiting = before.waiting;
        before.held.into_iter().map(|h| h.id)
    }

    /// Lets go of the rows before an ordinal, each by its number.
    pub fn trim(&mut self, keep: u64, mut gone: impl FnMut(u32)) {
        while self.first() < keep
            && let Some(held) = self.held.pop_front()
        {
            gone(held.id);
        }
    }
}
