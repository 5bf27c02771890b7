//! A table that queries can read and write, resolved from its DDL.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_expr::{Expr, TableSource, TableType};

use crate::connector::{Connector, TableDescriptor};

/// A resolved table: what a scan in a logical plan refers to.
#[derive(Debug, Clone)]
pub struct StreamTable {
    /// The table as its connector sees it.
    pub descriptor: Arc<TableDescriptor>,
    /// What reads and writes it.
    pub connector: Arc<dyn Connector>,
    /// All columns as declared: physical, metadata and computed, in the order of the DDL.
    pub schema: SchemaRef,
    /// Where each column of `schema` comes from.
    pub origins: Vec<ColumnOrigin>,
    /// `WATERMARK FOR`.
    pub watermark: Option<TableWatermark>,
    /// The session's time zone when the table was declared or resolved, e.g. `UTC`.
    pub time_zone: Arc<str>,
}

/// Where a column of a table comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnOrigin {
    /// The connector: an index into the descriptor's schema.
    Connector(usize),
    /// An expression over the connector's columns (unqualified names of the descriptor's schema), types coerced.
    Computed(Expr),
}

/// A table's watermark.
#[derive(Debug, Clone, PartialEq)]
pub struct TableWatermark {
    /// The rowtime column: an index into the table's schema.
    pub column: usize,
    /// What the watermark is after a row: an expression over the connector's columns (computed ones put in), types
    /// coerced, giving a timestamp.
    pub expr: Expr,
}

impl TableSource for StreamTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }
}
