//! What a step took in, as bytes.
//!
//! All numbers are little-endian; a list is its length and its entries. A batch is the number of its schema (counted in the segment from
//! 0 on) and an Arrow IPC message; changes have a byte of flags behind: 1 where kinds follow, 2 where watermarks do.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::batch::BatchWriter;
use super::frame::{Kind, begin, seal};
use crate::change::ChangeBatch;
use crate::runtime::executor::{SourceState, StepInput, StepPartitions};
use crate::runtime::lookup::LookupInput;
use crate::{Error, Result};

/// So many schemas at most stand in a segment.
const MOST_SCHEMAS: usize = 1024;
/// A buffer that a large step has grown beyond this is let go.
const KEPT_BYTES: usize = 16 << 20;

pub(super) const KINDS: u8 = 1;
pub(super) const WATERMARKS: u8 = 2;

/// A step on its way into the journal.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorded {
    /// Its number, from 1 on.
    pub step: u64,
    /// Whether the state was frozen just before it. Operators may arrange what they keep differently then; so does a replay.
    pub after_snapshot: bool,
    pub input: StepInput,
}

/// Turns steps into frames.
pub(super) struct Encoder {
    batches: BatchWriter,
    schemas: Vec<SchemaRef>,
    buffer: Vec<u8>,
}

impl Encoder {
    pub fn try_new() -> Result<Self> {
        Ok(Self { batches: BatchWriter::try_new()?, schemas: Vec::new(), buffer: Vec::new() })
    }

    /// Begins a segment, which knows no schemas.
    pub fn restart(&mut self) {
        self.schemas.clear();
    }

    /// Whether the segment should be the last with these schemas.
    pub fn is_full(&self) -> bool {
        self.schemas.len() >= MOST_SCHEMAS
    }

    /// Hands the frames of a step to `out`, those of schemas that are new first.
    ///
    /// # Errors
    /// What `out` says; or when rows cannot be written.
    pub fn step(&mut self, recorded: &Recorded, mut out: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let input = &recorded.input;
        let changes = input.batches.iter().flatten().map(|b| &b.rows);
        let answers = input.lookups.iter().flat_map(|l| l.read.iter().chain(l.answers.iter().map(|a| &a.rows)));
        for rows in changes.chain(answers) {
            if self.number(rows).is_none() {
                begin(&mut self.buffer, Kind::Schema);
                self.batches.schema(rows.schema_ref(), &mut self.buffer)?;
                seal(&mut self.buffer)?;
                out(&self.buffer)?;
                self.schemas.push(rows.schema());
            }
        }
        begin(&mut self.buffer, Kind::Step);
        self.put_step(recorded)?;
        seal(&mut self.buffer)?;
        out(&self.buffer)?;
        if self.buffer.capacity() > KEPT_BYTES {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    fn number(&self, rows: &RecordBatch) -> Option<usize> {
        let schema = rows.schema_ref();
        self.schemas.iter().position(|s| Arc::ptr_eq(s, schema) || s == schema)
    }

    fn put_step(&mut self, recorded: &Recorded) -> Result<()> {
        let Recorded { step, after_snapshot, input } = recorded;
        self.put(step.to_le_bytes());
        self.put([u8::from(*after_snapshot)]);
        self.put(input.processing_time.to_le_bytes());
        self.length(input.sources.len())?;
        let state = |s: &SourceState| match s {
            SourceState::Active => 0,
            SourceState::Idle => 1,
            SourceState::Ended => 2,
        };
        self.buffer.extend(input.sources.iter().map(state));
        self.length(input.watermarks.len())?;
        input.watermarks.iter().for_each(|w| self.put(w.0.to_le_bytes()));
        self.length(input.partitions.len())?;
        input.partitions.iter().try_for_each(|p| self.put_partitions(p))?;
        self.length(input.batches.len())?;
        for batches in &input.batches {
            self.length(batches.len())?;
            batches.iter().try_for_each(|b| self.put_changes(b))?;
        }
        self.length(input.lookups.len())?;
        input.lookups.iter().try_for_each(|l| self.put_lookup(l))
    }

    fn put_partitions(&mut self, partitions: &StepPartitions) -> Result<()> {
        self.length(partitions.holds.len())?;
        self.buffer.extend(partitions.holds.iter().map(|h| u8::from(*h)));
        self.length(partitions.of_batches.len())?;
        partitions.of_batches.iter().try_for_each(|p| self.length(*p))
    }

    fn put_changes(&mut self, changes: &ChangeBatch) -> Result<()> {
        self.put_rows(&changes.rows)?;
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        self.put([flag(changes.kinds.is_some(), KINDS) | flag(changes.watermarks.is_some(), WATERMARKS)]);
        if let Some(kinds) = &changes.kinds {
            self.buffer.extend(kinds.iter().map(|k| *k as u8));
        }
        if let Some(watermarks) = &changes.watermarks {
            if watermarks.null_count() > 0 {
                return Err(Error::internal("a row without the watermark before it"));
            }
            watermarks.values().iter().for_each(|w| self.put(w.to_le_bytes()));
        }
        Ok(())
    }

    fn put_lookup(&mut self, lookup: &LookupInput) -> Result<()> {
        self.put([u8::from(lookup.table.is_some())]);
        self.length(lookup.read.len())?;
        lookup.read.iter().try_for_each(|rows| self.put_rows(rows))?;
        self.length(lookup.answers.len())?;
        for answer in &lookup.answers {
            self.put_rows(&answer.rows)?;
            self.length(answer.pairs.len())?;
            let numbers = answer.pairs.probes.values().iter().chain(answer.pairs.found.values());
            numbers.for_each(|n| self.buffer.extend_from_slice(&n.to_le_bytes()));
        }
        Ok(())
    }

    fn put_rows(&mut self, rows: &RecordBatch) -> Result<()> {
        let number = self.number(rows).ok_or_else(|| Error::internal("a batch whose schema was not written"))?;
        self.length(number)?;
        self.batches.rows(rows, &mut self.buffer)
    }

    fn length(&mut self, length: usize) -> Result<()> {
        let length = u32::try_from(length).map_err(|_| Error::internal("a list that is too long for a journal"))?;
        self.put(length.to_le_bytes());
        Ok(())
    }

    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.buffer.extend_from_slice(&bytes);
    }
}
