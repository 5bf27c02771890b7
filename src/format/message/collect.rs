//! What makes a [`MessageDecoder`] of columns that grow with each message.

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use super::{Decoded, MessageDecoder};
use crate::Result;
use crate::change::ChangeBatch;
use crate::format::batches::{Batches, Columns, MAX_RECORD};

/// Why a message was not read.
pub(in crate::format) enum Unread {
    /// It cannot be.
    Bad(String),
    /// It can be once [`MessageColumns::prepare`] is done.
    #[cfg_attr(
        not(feature = "avro"),
        expect(dead_code, reason = "only formats that ask a registry are ever unprepared")
    )]
    Unprepared,
}

impl From<String> for Unread {
    fn from(reason: String) -> Self {
        Unread::Bad(reason)
    }
}

impl From<&str> for Unread {
    fn from(reason: &str) -> Self {
        Unread::Bad(reason.into())
    }
}

/// Columns that grow with each message.
#[async_trait]
pub(in crate::format) trait MessageColumns: Columns {
    /// Reads a message and gives how many rows it has appended. After an error the columns may hold a part of them.
    fn read_message(&mut self, message: &[u8]) -> Result<usize, Unread>;

    /// Reads a NULL message.
    fn read_null(&mut self) -> Result<usize, Unread> {
        Ok(0)
    }

    /// Learns what was missing.
    async fn prepare(&mut self) -> Result<()> {
        Ok(())
    }
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

    fn read(&mut self, bytes: usize, read: impl FnOnce(&mut C) -> Result<usize, Unread>) -> Result<Decoded> {
        self.last = 0;
        if self.batches.is_full() {
            // Columns never outgrow their offsets, even where nobody takes them out.
            self.batches.cut()?;
        }
        match read(&mut self.batches.columns) {
            Ok(rows) => {
                self.batches.rows(rows);
                self.batches.bytes(bytes);
                self.last = rows;
                Ok(Decoded::Rows(rows))
            }
            Err(Unread::Bad(reason)) => {
                self.batches.cut()?;
                Ok(Decoded::Bad(reason))
            }
            Err(Unread::Unprepared) => Ok(Decoded::Unprepared),
        }
    }
}

#[async_trait]
impl<C: MessageColumns> MessageDecoder for Collected<C> {
    fn decode(&mut self, message: &[u8]) -> Result<Decoded> {
        if message.len() > MAX_RECORD {
            self.last = 0;
            return Ok(Decoded::Bad(format!("the message is longer than {} MiB", MAX_RECORD >> 20)));
        }
        self.read(message.len(), |columns| columns.read_message(message))
    }

    fn decode_null(&mut self) -> Result<Decoded> {
        self.read(0, C::read_null)
    }

    async fn prepare(&mut self) -> Result<()> {
        self.batches.columns.prepare().await
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
