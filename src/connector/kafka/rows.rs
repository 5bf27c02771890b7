//! Messages to rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::{cast, interleave, take};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion_common::ScalarValue;

use super::columns::Layout;
use super::metadata::{Incoming, MetadataBuilder};
use super::options::{Encoding, Kind, Settings};
use crate::change::{ChangeBatch, RowKind};
use crate::format::BATCH_ROWS;
use crate::format::message::{Decoded, MessageDecoder};
use crate::{Error, Result};

/// Stands for no row of the values.
const NONE: u32 = u32::MAX;

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its rows were appended.
    Read,
    /// There is no row in it, as in one without value or without key; it is passed over and not counted.
    Empty,
    /// It cannot be read, and is passed over as the formats' options ask.
    Skipped,
    /// It cannot be read.
    Bad(String),
    /// [`Rows::prepare`] is to be awaited, and the message given again.
    Unprepared,
}

/// Where a column comes from.
enum Origin {
    /// The value's column of that number; of a message without value the key's column, or nothing.
    Value {
        value: usize,
        key: Option<usize>,
    },
    Key(usize),
    Metadata(usize),
}

/// Reads messages into rows of a projection.
pub(super) struct Rows {
    value: Box<dyn MessageDecoder>,
    value_schema: SchemaRef,
    key: Option<Box<dyn MessageDecoder>>,
    key_schema: SchemaRef,
    metadata: Vec<MetadataBuilder>,
    has_headers: bool,
    /// Whether a message without value takes away what has its key.
    upsert: bool,
    projection: SchemaRef,
    origins: Vec<Origin>,
    /// For each row its place among the values, `NONE` for a message without one, and among the keys.
    places: Vec<(u32, u32)>,
    /// How many rows of values and of keys were decoded.
    decoded: (u32, u32),
}

impl Rows {
    /// Reads the columns of `projection`.
    ///
    /// # Errors
    /// When an option of a format is wrong.
    pub fn try_new(settings: &Settings, layout: &Layout, projection: SchemaRef) -> Result<Self> {
        let upsert = settings.kind == Kind::Upsert;
        let in_value = |name: &str| layout.value.column_with_name(name).is_some();
        let values = projection.fields().iter().filter(|f| in_value(f.name())).cloned();
        let value_schema = Arc::new(Schema::new(values.collect::<Vec<_>>()));
        // What the value holds, too, is taken from there, but for a message without one.
        let keys = layout.key.fields().iter().zip(&layout.key_names).filter_map(|(inner, name)| {
            let (_, read) = projection.column_with_name(name).filter(|_| upsert || !in_value(name))?;
            Some((name.as_str(), Arc::new(read.clone().with_name(inner.name()))))
        });
        let (names, keys): (Vec<&str>, Vec<FieldRef>) = keys.unzip();
        let key_schema = Arc::new(Schema::new(keys));
        let (mut metadata, mut origins) = (Vec::new(), Vec::new());
        for field in projection.fields() {
            let key = names.iter().position(|name| *name == field.name());
            let known = layout.metadata.iter().find(|(name, _, _)| name == field.name());
            origins.push(match (known, value_schema.column_with_name(field.name()), key) {
                (Some((_, column, _)), _, _) => {
                    metadata.push(MetadataBuilder::new(*column));
                    Origin::Metadata(metadata.len() - 1)
                }
                (None, Some((value, _)), key) => Origin::Value { value, key },
                (None, None, Some(key)) => Origin::Key(key),
                (None, None, None) => return Err(Error::internal(format!("no column '{}' to read", field.name()))),
            });
        }
        let decoder = |encoding: &Encoding, table: &SchemaRef, wanted: &SchemaRef| {
            encoding.format.decoder(table, Arc::clone(wanted), &encoding.options)
        };
        Ok(Self {
            value: decoder(&settings.value, &layout.value, &value_schema)?,
            key: settings.key.as_ref().map(|key| decoder(key, &layout.key, &key_schema)).transpose()?,
            has_headers: metadata.iter().any(|m| matches!(m, MetadataBuilder::Headers(_))),
            upsert,
            value_schema,
            key_schema,
            metadata,
            projection,
            origins,
            places: Vec::new(),
            decoded: (0, 0),
        })
    }

    /// Whether messages are to bring their headers.
    pub fn needs_headers(&self) -> bool {
        self.has_headers
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When a format is at its end, which is no fault of the message.
    pub fn read(&mut self, message: &Incoming<'_>) -> Result<Outcome> {
        let key = match &mut self.key {
            None => NONE,
            Some(decoder) => {
                let decoded = match message.key {
                    Some(bytes) => decoder.decode(bytes)?,
                    None => decoder.decode_null()?,
                };
                match decoded {
                    Decoded::Rows(1) => self.decoded.1,
                    Decoded::Rows(0) if message.key.is_none() => return Ok(Outcome::Empty),
                    Decoded::Rows(rows) => {
                        decoder.undo()?;
                        return Ok(Outcome::Bad(format!("the key holds {rows} rows in place of one")));
                    }
                    Decoded::Bad(_) if decoder.ignores_errors() => return Ok(Outcome::Skipped),
                    Decoded::Bad(reason) => return Ok(Outcome::Bad(format!("key: {reason}"))),
                    Decoded::Unprepared => return Ok(Outcome::Unprepared),
                }
            }
        };
        let outcome = self.read_value(message, key)?;
        match (&outcome, &mut self.key) {
            (Outcome::Read, Some(_)) => self.decoded.1 += 1,
            (_, Some(decoder)) => decoder.undo()?,
            _ => {}
        }
        Ok(outcome)
    }

    fn read_value(&mut self, message: &Incoming<'_>, key: u32) -> Result<Outcome> {
        let decoded = match message.value {
            Some(bytes) => self.value.decode(bytes)?,
            None if self.upsert => {
                self.places.push((NONE, key));
                self.metadata.iter_mut().try_for_each(|m| m.append(message))?;
                return Ok(Outcome::Read);
            }
            None => self.value.decode_null()?,
        };
        let rows = match decoded {
            Decoded::Rows(0) => return Ok(Outcome::Empty),
            Decoded::Rows(rows) => rows,
            Decoded::Bad(_) if self.value.ignores_errors() => return Ok(Outcome::Skipped),
            Decoded::Bad(reason) => return Ok(Outcome::Bad(reason)),
            Decoded::Unprepared => return Ok(Outcome::Unprepared),
        };
        for _ in 0..rows {
            self.places.push((self.decoded.0, key));
            self.decoded.0 += 1;
            self.metadata.iter_mut().try_for_each(|m| m.append(message))?;
        }
        Ok(Outcome::Read)
    }

    /// Learns what a format needs to know.
    ///
    /// # Errors
    /// The format's.
    pub async fn prepare(&mut self) -> Result<()> {
        if let Some(key) = &mut self.key {
            key.prepare().await?;
        }
        self.value.prepare().await
    }

    /// Whether [`Rows::flush`] is due.
    pub fn is_full(&self) -> bool {
        self.places.len() >= BATCH_ROWS || self.value.is_full() || self.key.as_ref().is_some_and(|key| key.is_full())
    }

    /// The rows since the last call.
    ///
    /// # Errors
    /// When they do not fit the schema.
    pub fn flush(&mut self) -> Result<ChangeBatch> {
        let places = std::mem::take(&mut self.places);
        self.decoded = (0, 0);
        let values = match self.value.flush()? {
            Some(values) => values,
            None => ChangeBatch::append(RecordBatch::new_empty(Arc::clone(&self.value_schema))),
        };
        let keys = match self.key.as_mut().map(|key| key.flush()).transpose()?.flatten() {
            Some(keys) => keys.rows,
            None => RecordBatch::new_empty(Arc::clone(&self.key_schema)),
        };
        let metadata: Vec<ArrayRef> = self.metadata.iter_mut().map(MetadataBuilder::finish).collect();
        let one_by_one = (0u32..).zip(&places).all(|(i, (value, key))| *value == i && (*key == i || *key == NONE));
        let columns = self.origins.iter().zip(self.projection.fields()).map(|(origin, field)| match origin {
            Origin::Metadata(number) => Ok(cast(&metadata[*number], field.data_type())?),
            Origin::Value { value, .. } if one_by_one => Ok(Arc::clone(values.rows.column(*value))),
            Origin::Key(key) if one_by_one => Ok(Arc::clone(keys.column(*key))),
            Origin::Value { value, key } => {
                let key = key.map(|key| keys.column(key));
                picked(values.rows.column(*value), key, &places, field)
            }
            Origin::Key(key) => {
                let indices: UInt32Array = places.iter().map(|(_, key)| *key).collect();
                Ok(take(keys.column(*key), &indices, None)?)
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.projection), columns, &options)?;
        Ok(ChangeBatch { rows, kinds: Self::kinds(&values, &places), watermarks: None })
    }

    fn kinds(values: &ChangeBatch, places: &[(u32, u32)]) -> Option<Arc<[RowKind]>> {
        if values.kinds.is_none() && places.iter().all(|(value, _)| *value != NONE) {
            return None;
        }
        let kind = |(value, _): &(u32, u32)| match *value {
            NONE => RowKind::Delete,
            value => values.kind(value as usize),
        };
        Some(places.iter().map(kind).collect())
    }
}

/// For each row its value; where it has none the key's, or nothing: NULL, or what stands for it in a column that is NOT NULL,
/// of which nobody looks at the rest of a row that goes.
fn picked(values: &ArrayRef, keys: Option<&ArrayRef>, places: &[(u32, u32)], field: &FieldRef) -> Result<ArrayRef> {
    let nothing = match (keys, field.is_nullable()) {
        (Some(keys), _) => Arc::clone(keys),
        (None, true) => new_null_array(field.data_type(), 1),
        (None, false) => ScalarValue::new_default(field.data_type())?.to_array_of_size(1)?,
    };
    let index = |(value, key): &(u32, u32)| match (*value, keys.is_some()) {
        (NONE, true) => (1, *key as usize),
        (NONE, false) => (1, 0),
        (value, _) => (0, value as usize),
    };
    let indices: Vec<(usize, usize)> = places.iter().map(index).collect();
    Ok(interleave(&[values.as_ref(), nothing.as_ref()], &indices)?)
}
