//! Rows that wait for the watermark.

use std::collections::VecDeque;

use super::tape::Held;

/// Rows that wait, in the order of their times, those of one time in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<Held>);

impl Queue {
    /// Adds rows with consecutive numbers.
    pub fn push(&mut self, first: u32, times: &[i64]) {
        let mut new: Vec<Held> = times.iter().zip(first..).map(|(time, id)| Held { id, time: *time }).collect();
        if !new.is_sorted_by_key(|row| row.time) {
            new.sort_by_key(|row| row.time);
        }
        let Some(earliest) = new.first().map(|row| row.time) else { return };
        // Rows come nearly in order: what is behind the earliest of the new ones is little.
        let from = self.0.partition_point(|row| row.time <= earliest);
        let tail: Vec<Held> = self.0.drain(from..).collect();
        let mut tail = tail.into_iter().peekable();
        for row in new {
            while let Some(before) = tail.next_if(|before| before.time <= row.time) {
                self.0.push_back(before);
            }
            self.0.push_back(row);
        }
        self.0.extend(tail);
    }

    /// Takes out the rows up to a time.
    pub fn pop(&mut self, until: i64) -> Vec<Held> {
        self.0.drain(..self.0.partition_point(|row| row.time <= until)).collect()
    }

    /// How many rows wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The rows, in their order.
    pub fn ids(&self) -> Vec<u32> {
        self.0.iter().map(|row| row.id).collect()
    }

    /// Follows rows to their new numbers.
    pub fn renumber(&mut self, new: impl Fn(u32) -> u32) {
        self.0.iter_mut().for_each(|row| row.id = new(row.id));
    }
}
