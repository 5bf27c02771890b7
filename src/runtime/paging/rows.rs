//! Rows of state as bytes, and back.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::{RowConverter, RowParser, Rows, SortField};

use crate::state::{Placement, StateTable};
use crate::{Error, Result};

/// A table of state whose rows can stand on disk: each as the bytes that Arrow's row format has for it.
#[derive(Debug)]
pub(super) struct TableCodec {
    name: Cow<'static, str>,
    /// Where its key columns stand.
    keys: Vec<usize>,
    schema: SchemaRef,
    converter: RowConverter,
    parser: RowParser,
}

impl TableCodec {
    /// For a table with rows of a schema; `None` where the row format does not give back what it took.
    fn new(name: Cow<'static, str>, keys: Vec<usize>, schema: &SchemaRef) -> Option<Self> {
        let kept = schema.fields().iter().all(|f| is_kept_whole(f.data_type()));
        let fields: Vec<SortField> = schema.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        let converter = RowConverter::new(fields).ok().filter(|_| kept && !schema.fields().is_empty())?;
        Some(Self { name, keys, schema: Arc::clone(schema), parser: converter.parser(), converter })
    }

    pub fn name(&self) -> &Cow<'static, str> {
        &self.name
    }

    pub fn placement(&self) -> Placement {
        Placement::Key(self.keys.clone())
    }

    /// Rows as bytes.
    ///
    /// # Errors
    /// When the rows are of another type.
    pub fn encode(&self, rows: &RecordBatch) -> Result<Rows> {
        let fields = rows.schema_ref().fields();
        let same = fields.iter().zip(self.schema.fields()).all(|(a, b)| a.data_type() == b.data_type());
        if !same || fields.len() != self.schema.fields().len() {
            return Err(Error::internal(format!("state '{}' has come to be of another type", self.name)));
        }
        Ok(self.converter.convert_columns(rows.columns())?)
    }

    /// Rows of bytes.
    ///
    /// # Errors
    /// When the bytes are not those of rows.
    pub fn decode<'a>(&'a self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<RecordBatch> {
        let columns = self.converter.convert_rows(rows.into_iter().map(|bytes| self.parser.parse(bytes)))?;
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// Whether a type comes back from the row format as it was. Dictionaries come back as their values.
fn is_kept_whole(data_type: &DataType) -> bool {
    let field = |f: &Arc<Field>| is_kept_whole(f.data_type());
    match data_type {
        DataType::Dictionary(..) | DataType::RunEndEncoded(..) | DataType::Union(..) => false,
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) | DataType::Map(f, _) => field(f),
        DataType::ListView(f) | DataType::LargeListView(f) => field(f),
        DataType::Struct(fields) => fields.iter().all(field),
        _ => true,
    }
}

/// The tables of an operator that have been put aside, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Codecs(Vec<Arc<TableCodec>>);

impl Codecs {
    /// The number of a table; `None` where its rows cannot stand on disk.
    pub fn number(&mut self, table: &StateTable, keys: &[usize], schema: &SchemaRef) -> Option<usize> {
        if let Some(number) = self.0.iter().position(|c| c.name == table.name) {
            return Some(number);
        }
        // What a chunk does not hold another may.
        let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let codec = TableCodec::new(table.name.clone(), keys.to_vec(), &schema)?;
        self.0.push(Arc::new(codec));
        Some(self.0.len() - 1)
    }

    /// A table that has a number.
    pub fn named(&self, name: &str) -> Result<(usize, &TableCodec)> {
        let found = self.0.iter().enumerate().find(|(_, codec)| codec.name == name);
        found.map(|(i, codec)| (i, codec.as_ref())).ok_or_else(|| Error::internal("a table of state without a number"))
    }

    /// All of them, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Arc<TableCodec>)> {
        self.0.iter().enumerate()
    }
}

/// Rows of one key, of all tables, one behind the other.
#[derive(Debug)]
pub(super) struct Payload<'a>(pub &'a [u8]);

/// Writes a row of a table behind others.
pub(super) fn write_row(to: &mut Vec<u8>, table: usize, row: &[u8]) {
    to.push(table as u8);
    to.extend_from_slice(&(row.len() as u32).to_le_bytes());
    to.extend_from_slice(row);
}

impl<'a> Iterator for Payload<'a> {
    type Item = Result<(usize, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let (table, rest) = self.0.split_first()?;
        let row = rest.split_first_chunk::<4>().and_then(|(len, rest)| {
            let len = u32::from_le_bytes(*len) as usize;
            (len <= rest.len()).then(|| rest.split_at(len))
        });
        let Some((row, rest)) = row else {
            self.0 = &[];
            return Some(Err(Error::internal("state on disk is cut off")));
        };
        self.0 = rest;
        Some(Ok((usize::from(*table), row)))
    }
}
