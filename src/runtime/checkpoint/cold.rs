//! State that is not in memory on its way into a checkpoint, a piece at a time.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use tokio::sync::mpsc;

use super::chunks::encode;
use crate::runtime::paging::ColdRows;
use crate::{Error, Result};

/// A file is closed when its rows take so many bytes in memory.
const FILE_BYTES: usize = 32 << 20;
/// A row group is closed when it has so many rows.
const GROUP_ROWS: usize = 1 << 16;

/// A file of rows.
#[derive(Debug)]
pub(super) struct Encoded {
    pub bytes: Vec<u8>,
    pub checksum: u32,
    /// By row group how many rows it has.
    pub groups: Vec<usize>,
    /// The columns' names.
    pub columns: Vec<String>,
}

/// Reads and encodes rows in a thread of its own, one file ahead of who takes the files; behind the last comes `None`.
pub(super) fn encode_part(part: Arc<dyn ColdRows>) -> mpsc::Receiver<Result<Option<Encoded>>> {
    let (files, taken) = mpsc::channel(1);
    tokio::task::spawn_blocking(move || {
        let last = encode_all(part.as_ref(), &files).map(|()| None);
        // Who no longer listens need not hear of it.
        let _ = files.blocking_send(last);
    });
    taken
}

fn encode_all(part: &dyn ColdRows, files: &mpsc::Sender<Result<Option<Encoded>>>) -> Result<()> {
    let give = |file: Encoded| {
        let gone = |_| Error::internal("a checkpoint that is no longer written");
        files.blocking_send(Ok(Some(file))).map_err(gone)
    };
    let mut open = Open::default();
    part.read(&mut |rows| open.add(rows)?.map_or(Ok(()), give))?;
    open.close()?.map_or(Ok(()), give)
}

/// A file that is not full yet.
#[derive(Default)]
struct Open {
    groups: Vec<RecordBatch>,
    /// The row group that is not full yet.
    rows: Vec<RecordBatch>,
    count: usize,
    bytes: usize,
}

impl Open {
    fn add(&mut self, rows: RecordBatch) -> Result<Option<Encoded>> {
        self.count += rows.num_rows();
        self.bytes += rows.get_array_memory_size();
        self.rows.push(rows);
        if self.count >= GROUP_ROWS {
            self.close_group()?;
        }
        if self.bytes >= FILE_BYTES { self.close() } else { Ok(None) }
    }

    fn close_group(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if let Some(first) = rows.first() {
            self.groups.push(concat_batches(first.schema_ref(), &rows)?);
        }
        self.count = 0;
        Ok(())
    }

    fn close(&mut self) -> Result<Option<Encoded>> {
        self.close_group()?;
        let Self { groups, .. } = std::mem::take(self);
        let Some(first) = groups.first() else { return Ok(None) };
        let columns = first.schema_ref().fields().iter().map(|f| f.name().clone()).collect();
        let bytes = encode(&groups)?;
        let checksum = crc32fast::hash(&bytes);
        Ok(Some(Encoded { bytes, checksum, groups: groups.iter().map(RecordBatch::num_rows).collect(), columns }))
    }
}
