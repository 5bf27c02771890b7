//! Which columns stand in a message's key, in its value, and beside both.

use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

use super::options::{Encoding, Settings};
use crate::connector::TableDescriptor;
use crate::{Error, Result};

/// What a message has beside key and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metadata {
    Topic,
    Partition,
    Headers,
    LeaderEpoch,
    Offset,
    Timestamp,
    TimestampType,
}

impl Metadata {
    pub const ALL: [Self; 7] = [
        Self::Topic,
        Self::Partition,
        Self::Headers,
        Self::LeaderEpoch,
        Self::Offset,
        Self::Timestamp,
        Self::TimestampType,
    ];

    /// Flink's name for it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Partition => "partition",
            Self::Headers => "headers",
            Self::LeaderEpoch => "leader-epoch",
            Self::Offset => "offset",
            Self::Timestamp => "timestamp",
            Self::TimestampType => "timestamp-type",
        }
    }

    /// The type that it has here; a column of another one is converted.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Topic | Self::TimestampType => DataType::Utf8,
            Self::Partition | Self::LeaderEpoch => DataType::Int32,
            Self::Offset => DataType::Int64,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            Self::Headers => {
                let entry = [Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Binary, true)];
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(Fields::from_iter(entry)), false)), false)
            }
        }
    }

    fn of(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.key() == key)
    }

    /// Whether messages can be given it when they are written.
    fn can_write(self) -> bool {
        matches!(self, Self::Topic | Self::Headers | Self::Timestamp)
    }
}

/// The columns of a table by where they stand.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The columns of the value.
    pub value: SchemaRef,
    /// The columns of the key under their names there, which lack the prefix; and under the table's.
    pub key: SchemaRef,
    pub key_names: Vec<String>,
    /// The metadata columns by name.
    pub metadata: Vec<(String, Metadata, bool)>,
}

impl Layout {
    /// Where a table's columns stand.
    ///
    /// # Errors
    /// For columns that the options name and are none, and for types that do not fit.
    pub fn of(table: &TableDescriptor, settings: &Settings) -> Result<Self> {
        let is_metadata = |i: usize| table.metadata.iter().any(|m| m.column == i);
        let physical = table.schema.fields().iter().enumerate().filter(|(i, _)| !is_metadata(*i)).map(|(_, f)| f);
        let physical: Vec<&FieldRef> = physical.collect();
        let keys = settings.key_fields.iter().map(|name| {
            let field = physical.iter().find(|f| f.name() == name);
            let field =
                field.ok_or_else(|| Error::Option(format!("option 'key.fields': the table has no column '{name}'")))?;
            let inner = name.strip_prefix(&settings.key_prefix).filter(|inner| !inner.is_empty()).ok_or_else(|| {
                let prefix = &settings.key_prefix;
                Error::Option(format!(
                    "option 'key.fields-prefix' = '{prefix}': the key's column '{name}' does not begin so"
                ))
            })?;
            Ok(Arc::new(field.as_ref().clone().with_name(inner)))
        });
        let key = keys.collect::<Result<Vec<FieldRef>>>()?;
        if !settings.key_prefix.is_empty() && settings.value_has_key {
            let message = "option 'key.fields-prefix' needs 'value.fields-include' = 'EXCEPT_KEY': else the prefix would stand in \
                           the value, too";
            return Err(Error::Option(message.into()));
        }
        let in_value = |field: &&&FieldRef| settings.value_has_key || !settings.key_fields.contains(field.name());
        let value: Vec<FieldRef> = physical.iter().filter(in_value).map(|f| Arc::clone(f)).collect();
        let metadata = table.metadata.iter().map(|column| {
            let field = table.schema.field(column.column);
            let metadata = Metadata::of(&column.key)
                .ok_or_else(|| Error::Option(format!("there is no metadata '{}'", column.key)))?;
            if !can_cast_types(&metadata.data_type(), field.data_type()) {
                let message = format!(
                    "column '{}': the metadata '{}' cannot be converted to the column's type",
                    field.name(),
                    column.key
                );
                return Err(Error::Option(message));
            }
            Ok((field.name().clone(), metadata, column.is_virtual))
        });
        Ok(Self {
            value: Arc::new(Schema::new(value)),
            key: Arc::new(Schema::new(key)),
            key_names: settings.key_fields.clone(),
            metadata: metadata.collect::<Result<_>>()?,
        })
    }

    /// Checks what the formats say of the columns.
    ///
    /// # Errors
    /// Theirs.
    pub fn check(&self, settings: &Settings) -> Result<()> {
        let check = |encoding: &Encoding, schema: &SchemaRef| encoding.format.check(schema, &encoding.options);
        check(&settings.value, &self.value)?;
        settings.key.as_ref().map_or(Ok(()), |key| check(key, &self.key))
    }

    /// The metadata columns that are written.
    ///
    /// # Errors
    /// For one that cannot be.
    pub fn written_metadata(&self) -> Result<Vec<(&str, Metadata)>> {
        let written = self.metadata.iter().filter(|(_, _, is_virtual)| !is_virtual);
        written
            .map(|(name, metadata, _)| match metadata.can_write() {
                true => Ok((name.as_str(), *metadata)),
                false => Err(Error::Option(format!(
                    "metadata '{}' cannot be written; declare the column '{name}' VIRTUAL",
                    metadata.key()
                ))),
            })
            .collect()
    }
}
