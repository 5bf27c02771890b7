//! Rows that wait for the watermark.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::Result;
use crate::state::{Remap, RowStore, row_store};

/// A row that waits.
#[derive(Debug, Clone, Copy)]
pub(in crate::operator) struct Waiting {
    /// Its time.
    pub time: i64,
    /// Its number; numbers are in the order of arrival.
    pub id: u32,
    /// Its partition.
    pub key: u32,
}

/// Rows that wait, in the order of their times, those of one time in the order of arrival.
pub(in crate::operator) struct Queue {
    rows: Box<dyn RowStore>,
    queue: VecDeque<Waiting>,
}

impl Queue {
    pub fn new(schema: SchemaRef) -> Self {
        Self { rows: row_store(schema), queue: VecDeque::new() }
    }

    /// Adds rows with their partitions and times.
    pub fn push(&mut self, rows: &RecordBatch, keys: &[u32], times: &[i64]) -> Result<()> {
        let first = self.rows.append(rows)?;
        let new = keys.iter().zip(times).zip(first..).map(|((key, time), id)| Waiting { time: *time, id, key: *key });
        let mut new: Vec<Waiting> = new.collect();
        new.sort_by_key(|w| w.time);
        let Some(earliest) = new.first().map(|w| w.time) else { return Ok(()) };
        // Rows come nearly in order: what is behind the earliest of the new ones is little.
        let from = self.queue.partition_point(|w| w.time <= earliest);
        let tail: Vec<Waiting> = self.queue.drain(from..).collect();
        let mut tail = tail.into_iter().peekable();
        for row in new {
            while let Some(before) = tail.next_if(|w| w.time <= row.time) {
                self.queue.push_back(before);
            }
            self.queue.push_back(row);
        }
        self.queue.extend(tail);
        Ok(())
    }

    /// Takes out the rows up to a time.
    pub fn pop(&mut self, until: i64) -> Result<(RecordBatch, Vec<Waiting>)> {
        let ready: Vec<Waiting> = self.queue.drain(..self.queue.partition_point(|w| w.time <= until)).collect();
        let ids: Vec<u32> = ready.iter().map(|w| w.id).collect();
        let rows = self.rows.take(&ids)?;
        ids.iter().for_each(|id| self.rows.remove(*id));
        if self.rows.wants_compaction() {
            let remap = self.rows.compact()?;
            self.queue.iter_mut().for_each(|w| w.id = remap.get(w.id).unwrap_or(w.id));
        }
        Ok((rows, ready))
    }

    /// Whether a row up to a time waits.
    pub fn has(&self, until: i64) -> bool {
        self.queue.front().is_some_and(|w| w.time <= until)
    }

    /// Follows partitions to their new numbers.
    pub fn remap_keys(&mut self, keys: &Remap) {
        self.queue.iter_mut().for_each(|w| w.key = keys.get(w.key).unwrap_or(w.key));
    }

    /// The rows, in their order.
    pub fn freeze(&self, batch_rows: usize) -> Result<Vec<RecordBatch>> {
        let ids: Vec<u32> = self.queue.iter().map(|w| w.id).collect();
        ids.chunks(batch_rows).map(|ids| self.rows.take(ids)).collect()
    }

    /// How many rows wait, and the bytes that they take.
    pub fn size(&self) -> (usize, usize) {
        (self.queue.len(), self.rows.bytes() + self.queue.capacity() * size_of::<Waiting>())
    }
}
