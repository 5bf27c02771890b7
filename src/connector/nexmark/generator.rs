//! Events as record batches.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, SchemaRef};

use super::columns::Columns;
use super::config::{EventKind, NexmarkConfig};
use super::slice::{Cursor, Slice};
use crate::table::rows_without_columns;
use crate::{Error, Result};

/// More rows than these are not made at once, so that texts of any size fit into a column.
const MOST_ROWS: usize = 1 << 16;

/// Makes the events of a range of numbers, batch by batch.
///
/// An event depends on the configuration and its number alone: generators of neighbouring ranges make together what one
/// makes, however they are cut into batches and whatever columns are asked for.
///
/// ```
/// use std::sync::Arc;
/// use arrow::datatypes::{DataType, Field, Schema};
/// use millstream::connector::nexmark::{EventKind, Generator, NexmarkConfig};
///
/// let bids = Arc::new(Schema::new(vec![
///     Field::new("auction", DataType::Int64, true),
///     Field::new("price", DataType::Int64, true),
/// ]));
/// let mut generator = Generator::new(&NexmarkConfig::default(), Some(EventKind::Bid), bids, 0..50)?;
/// assert_eq!(generator.batch(1000)?.num_rows(), 46);
/// # Ok::<(), millstream::Error>(())
/// ```
#[derive(Debug)]
pub struct Generator {
    columns: Columns,
    config: NexmarkConfig,
    only: Option<EventKind>,
    schema: SchemaRef,
    cursor: Cursor,
    end: u64,
    slice: Slice,
}

impl Generator {
    /// Makes the events with numbers in `range`, as far as there are so many: of all kinds, with the columns `event_type`, `person`, `auction`
    /// and `bid`, or those of one kind, with its fields as columns. Only what is in `schema` is made, by name.
    ///
    /// # Errors
    /// [`Error::Option`] when a column is not one of Nexmark's or has another type than there.
    pub fn new(config: &NexmarkConfig, only: Option<EventKind>, schema: SchemaRef, range: Range<u64>) -> Result<Self> {
        let channels = wants_channels(schema.fields());
        let mut generator = Self {
            columns: Columns::new(config.clone(), channels),
            config: config.clone(),
            only,
            schema,
            cursor: Cursor::at(config, range.start),
            end: range.end.min(config.end()),
            slice: Slice::default(),
        };
        // Making nothing shows whether all columns can be made.
        generator.batch(0)?;
        Ok(generator)
    }

    /// The next events: at most `rows`, and at most 65,536; no row at the end of the range.
    ///
    /// # Errors
    /// When Arrow refuses the columns.
    pub fn batch(&mut self, rows: usize) -> Result<RecordBatch> {
        self.make(rows, self.end)
    }

    /// The next events below number `end`.
    pub(super) fn batch_through(&mut self, end: u64) -> Result<RecordBatch> {
        let batch = self.make(MOST_ROWS, end.min(self.end))?;
        // A table of one kind has perhaps no event among those that are due.
        if self.cursor.number < end {
            self.cursor = Cursor::at(&self.config, end);
        }
        Ok(batch)
    }

    fn make(&mut self, rows: usize, end: u64) -> Result<RecordBatch> {
        self.slice.fill(&self.config, &mut self.cursor, end, rows.min(MOST_ROWS), self.only);
        if self.schema.fields().is_empty() {
            return rows_without_columns(Arc::clone(&self.schema), self.slice.len());
        }
        let column = |f: &Arc<Field>| match self.only {
            Some(kind) => self.field(kind, f, None),
            None => self.event(f),
        };
        let columns = self.schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// The number of the event that comes next, at the earliest.
    pub fn position(&self) -> u64 {
        self.cursor.number.min(self.end)
    }

    /// Goes on with the event of this number.
    pub fn seek(&mut self, number: u64) {
        self.cursor = Cursor::at(&self.config, number);
    }

    /// The number behind the last event; the range's, or that of the configuration if there are fewer.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether the events do not end.
    pub(super) fn is_endless(&self) -> bool {
        self.config.events == 0
    }

    /// A column of the table of all events.
    fn event(&self, column: &Field) -> Result<ArrayRef> {
        let kind = match column.name().as_str() {
            "event_type" => return convert(Columns::event_type(&self.slice), column),
            "person" => EventKind::Person,
            "auction" => EventKind::Auction,
            "bid" => EventKind::Bid,
            _ => return Err(unknown(column, &["event_type", "person", "auction", "bid"])),
        };
        let DataType::Struct(fields) = column.data_type() else {
            return Err(Error::Option(format!("column '{}' of a nexmark table must be a ROW", column.name())));
        };
        self.row(kind, fields)
    }

    fn row(&self, kind: EventKind, fields: &Fields) -> Result<ArrayRef> {
        let nulls = Columns::nulls(&self.slice, kind);
        let made = fields.iter().map(|f| self.field(kind, f, nulls.as_ref())).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), made, nulls, self.slice.len())?))
    }

    fn field(&self, kind: EventKind, field: &Field, nulls: Option<&arrow::buffer::NullBuffer>) -> Result<ArrayRef> {
        match self.columns.field(&self.slice, kind, field.name(), nulls) {
            Some(array) => convert(array, field),
            None => Err(unknown(field, kind.fields())),
        }
    }
}

impl EventKind {
    /// The names of its fields.
    pub fn fields(self) -> &'static [&'static str] {
        match self {
            EventKind::Person => &["id", "name", "emailAddress", "creditCard", "city", "state", "dateTime", "extra"],
            EventKind::Auction => &[
                "id",
                "itemName",
                "description",
                "initialBid",
                "reserve",
                "dateTime",
                "expires",
                "seller",
                "category",
                "extra",
            ],
            EventKind::Bid => &["auction", "bidder", "price", "channel", "url", "dateTime", "extra"],
        }
    }
}

fn wants_channels(fields: &Fields) -> bool {
    fields.iter().any(|f| match f.data_type() {
        DataType::Struct(inner) => wants_channels(inner),
        _ => matches!(f.name().as_str(), "channel" | "url"),
    })
}

fn unknown(field: &Field, known: &[&str]) -> Error {
    Error::Option(format!("nexmark has no column '{}' here; it has {}", field.name(), known.join(", ")))
}

/// The array as the declared type, which may differ from ours in its width, precision or time zone only.
fn convert(array: ArrayRef, field: &Field) -> Result<ArrayRef> {
    let (ours, wanted) = (array.data_type(), field.data_type());
    if ours == wanted {
        return Ok(array);
    }
    let texts = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let times = |t: &DataType| matches!(t, DataType::Timestamp(..));
    if (texts(ours) && texts(wanted))
        || (times(ours) && times(wanted))
        || (ours.is_integer() && *wanted == DataType::Int64)
    {
        return Ok(cast(&array, wanted)?);
    }
    Err(Error::Option(format!("column '{}' of a nexmark table is of type {ours}, not {wanted}", field.name())))
}
