//! A table as connectors and formats see it: its columns, its options, and the part of them that is read.

mod changelog;
pub mod options;
mod projection;
mod watermark;

use arrow::datatypes::SchemaRef;

pub use changelog::{SinkChangelog, SourceChangelog};
pub use options::{OptionKind, OptionSpec, Options};
pub use projection::{project, rows_without_columns};
pub use watermark::{Alignment, WatermarkOptions};

/// A table as its connector sees it: what DDL says, less computed columns and watermark.
#[derive(Debug, Clone)]
pub struct TableDescriptor {
    /// The table's name, for messages.
    pub name: String,
    /// The physical columns and, behind them, the metadata columns.
    pub schema: SchemaRef,
    /// For each metadata column its index in `schema` and the connector's key for it.
    pub metadata: Vec<MetadataColumn>,
    /// The `WITH` options, `connector` included; checked against what its connector takes before anything is made.
    pub options: Options,
    /// `PARTITIONED BY`: indices into `schema`.
    pub partition_keys: Vec<usize>,
    /// `PRIMARY KEY … NOT ENFORCED`: indices into `schema`.
    pub primary_key: Vec<usize>,
}

/// A `METADATA` column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataColumn {
    /// Its index in the descriptor's schema.
    pub column: usize,
    /// The connector's key: what `FROM '…'` says, or the column's name.
    pub key: String,
    /// `VIRTUAL`: read, never written.
    pub is_virtual: bool,
}
