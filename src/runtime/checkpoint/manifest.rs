//! What stands in a checkpoint's manifest.

use serde::{Deserialize, Serialize};

use crate::connector::SplitPosition;
use crate::{Error, Result};

/// The version of the layout. A later version of the library restores all earlier ones.
pub const FORMAT: u32 = 1;

/// The version of the library.
pub(super) const LIBRARY: &str = env!("CARGO_PKG_VERSION");

/// The longest manifest that is read.
pub const MOST_BYTES: u64 = 256 << 20;

/// A checkpoint, described: everything but the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the layout.
    pub format: u32,
    /// CRC-32 of the manifest, written as compact JSON with this field at 0.
    pub checksum: u32,
    /// The version of the library that wrote it.
    pub library: String,
    /// The job's name.
    pub job: String,
    /// The checkpoint's number, from 1 on.
    pub id: u64,
    /// Why it was taken: `interval`, `savepoint`, `suspend` or `end`.
    pub reason: String,
    /// When, by the job's clock: milliseconds since the epoch.
    pub taken_at: i64,
    /// The job's statements.
    pub script: String,
    /// How many workers there were.
    pub workers: usize,
    /// Where its sources stood.
    pub sources: Vec<SourceEntry>,
    /// What its sinks had prepared.
    pub sinks: Vec<SinkEntry>,
    /// The operators' state; those that keep none are here for their watermarks.
    pub operators: Vec<OperatorEntry>,
    /// The files that it needs, its own and those of earlier checkpoints.
    pub files: Vec<FileEntry>,
}

/// A source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceEntry {
    /// The same in every run as long as it reads the same.
    pub id: String,
    /// The table's name.
    pub table: String,
    /// Whether it had come to its end.
    pub ended: bool,
    /// Whether it can be read again from its positions.
    pub replayable: bool,
    /// Its watermark, and those of its partitions, in milliseconds.
    pub watermarks: Vec<i64>,
    /// How far each split was read.
    pub splits: Vec<SplitEntry>,
}

/// How far a split was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitEntry {
    /// The last position that the source gave; `None` before the first.
    pub position: Option<SplitPosition>,
    /// The split's name, for a split without a position.
    pub split: String,
    /// How many rows behind that position had been taken into steps.
    pub rows_behind: u64,
}

/// A sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkEntry {
    /// The same in every run as long as it writes the same.
    pub id: String,
    /// The table's name.
    pub table: String,
    /// What is to be committed, in order.
    pub prepared: Vec<PreparedEntry>,
}

/// What a sink prepared for one checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreparedEntry {
    /// The checkpoint's number.
    pub checkpoint: u64,
    /// The sink's own words.
    pub note: String,
    /// The rows that it may have to write again; kinds stand in the column `__kind`.
    pub rows: Option<TableEntry>,
}

/// An operator, or another node of the circuit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorEntry {
    /// The same in every run as long as it computes the same from the same.
    pub id: String,
    /// The same in every version of the library that says the same of it.
    pub loose: String,
    /// As in `EXPLAIN`.
    pub name: String,
    /// As in `EXPLAIN`.
    pub detail: String,
    /// The watermark behind it, in milliseconds.
    pub watermark: i64,
    /// Its state.
    pub tables: Vec<TableEntry>,
    /// What a look-up had out.
    pub in_flight: Option<InFlightEntry>,
}

/// Rows that were out to be looked up for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InFlightEntry {
    /// The watermark behind all of them.
    pub latest: i64,
    /// For each group of rows the watermark behind it; a group is a chunk of `rows`.
    pub behind: Vec<i64>,
    /// The rows; kinds and the watermarks before the rows stand in the columns `__kind` and `__watermark`.
    pub rows: Option<TableEntry>,
}

/// A part of an operator's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableEntry {
    /// Names the part.
    pub name: String,
    /// How its rows belong to workers: `key` with the numbers of the key columns, `first` or `all`.
    pub placement: PlacementEntry,
    /// The columns' names; in the files they have a number behind where two are the same.
    pub columns: Vec<String>,
    /// Where the rows are, in order.
    pub chunks: Vec<ChunkEntry>,
}

/// How rows of state belong to workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlacementEntry {
    /// By the hash of these columns.
    Key(Vec<usize>),
    /// To the first worker.
    First,
    /// To every worker.
    All,
}

/// A run of rows: a row group of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkEntry {
    /// Which of the manifest's files.
    pub file: usize,
    /// Which row group of it.
    pub group: usize,
    /// How many rows.
    pub rows: usize,
}

/// A Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its path below the job's folder.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// CRC-32 of its bytes.
    pub checksum: u32,
}

impl Manifest {
    /// One of nothing, for tests.
    #[cfg(test)]
    pub(super) fn empty(id: u64) -> Self {
        Self {
            format: FORMAT,
            checksum: 0,
            library: String::new(),
            job: "job".into(),
            id,
            reason: "interval".into(),
            taken_at: 0,
            script: String::new(),
            workers: 1,
            sources: Vec::new(),
            sinks: Vec::new(),
            operators: Vec::new(),
            files: Vec::new(),
        }
    }

    /// The manifest as JSON, with its checksum.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn to_json(&mut self) -> Result<Vec<u8>> {
        self.checksum = self.sum()?;
        serde_json::to_vec_pretty(self).map_err(|e| Error::internal(format!("writing a manifest: {e}")))
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// In words, when it is none, is damaged, or is of a later version.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        /// What can be read of every version.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let damaged = |e: serde_json::Error| format!("the manifest cannot be read: {e}");
        let Version { format } = serde_json::from_slice(bytes).map_err(damaged)?;
        if format != FORMAT {
            return Err(format!("it has the layout of version {format}, and this library knows version {FORMAT}"));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(damaged)?;
        match manifest.sum() {
            Ok(sum) if sum == manifest.checksum => Ok(manifest),
            Ok(_) => Err("the manifest is damaged: its checksum does not fit".into()),
            Err(e) => Err(e.to_string()),
        }
    }

    fn sum(&self) -> Result<u32> {
        let blank = Self { checksum: 0, ..self.clone() };
        let bytes = serde_json::to_vec(&blank).map_err(|e| Error::internal(format!("writing a manifest: {e}")))?;
        Ok(crc32fast::hash(&bytes))
    }
}
