//! What makes a [`MessageDecoder`] of columns that grow with each message.

use arrow::datatypes::SchemaRef;

use super::{Decoded, MessageDecoder};
use crate::Result;
use crate::change::ChangeBatch;
use crate::format::batches::{Batches, Columns, MAX_RECORD};

/// Columns that grow with each message.
pub(in crate::format) trait MessageColumns: Columns {
    /// Reads a message and gives how many rows it has appended. After an error the columns may hold a part of them.
    fn read_message(&mut self, message: &[u8]) -> Result<usize, String>;
}

/// Collects rows of messages in columns.
pub(in crate::format) struct Collected<C> {
    batches: Batches<C>,
    /// How many rows the last message gave.
    last: usize,
    ignores_errors: bool,
}

impl<C: MessageColumns> Collected<C> {
    pub(in crate::format) fn boxed(columns: C, schema: SchemaRef, ignores_errors: bool) -> Box<dyn MessageDecoder>
    where
        C: 'static,
    {
        // What is done about bad messages is the connector's matter.
        Box::new(Self { batches: Batches::new(columns, schema, false), last: 0, ignores_errors })
    }
}

impl<C: MessageColumns> MessageDecoder for Collected<C> {
    fn decode(&mut self, message: &[u8]) -> Result<Decoded> {
        self.last = 0;
        if message.len() > MAX_RECORD {
            return Ok(Decoded::Bad(format!("the message is longer than {} MiB", MAX_RECORD >> 20)));
        }
        if self.batches.is_full() {
            // Columns never outgrow their offsets, even where nobody takes them out.
            self.batches.cut()?;
        }
        match self.batches.columns.read_message(message) {
            Ok(rows) => {
                self.batches.rows(rows);
                self.batches.bytes(message.len());
                self.last = rows;
                Ok(Decoded::Rows(rows))
            }
            Err(reason) => {
                self.batches.cut()?;
                Ok(Decoded::Bad(reason))
            }
        }
    }

    fn undo(&mut self) -> Result<()> {
        self.batches.take_back(std::mem::take(&mut self.last))
    }

    fn pending(&self) -> usize {
        self.batches.pending()
    }

    fn is_full(&self) -> bool {
        self.batches.is_full()
    }

    fn flush(&mut self) -> Result<Option<ChangeBatch>> {
        self.last = 0;
        self.batches.flush()
    }

    fn ignores_errors(&self) -> bool {
        self.ignores_errors
    }
}
