//! How values of a writer's schema become the columns that are read.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};

use super::read::Reader;
use super::schema::{Field as WrittenField, Meaning, Schema, Type, TypeId};
use crate::format::typed::{Column, FieldColumn, RowColumn, Value};

/// How many parts a plan may have. A schema that uses its types again and again within unions could have more than its size says.
const MAX_PARTS: usize = 1 << 16;

/// How records of a schema become rows: the writer's fields in their order, each read into a column of its name or skipped.
pub(super) struct Plan {
    schema: Schema,
    root: Root,
}

/// A record, or a union in which some branches are records.
enum Root {
    Record(RowPlan),
    Union(Vec<Option<RowPlan>>),
}

#[derive(Debug)]
struct RowPlan {
    steps: Vec<Step>,
    /// Columns that the writer does not know.
    missing: Vec<usize>,
}

#[derive(Debug)]
enum Step {
    Skip(TypeId),
    Read(usize, Reading),
}

#[derive(Debug)]
enum Reading {
    Null,
    Boolean,
    Int(Meaning),
    Long(Meaning),
    Float,
    Double,
    Bytes(Meaning),
    Text,
    Fixed(usize, Meaning),
    Enum(Arc<[String]>),
    Row(RowPlan),
    List(Box<Reading>),
    Map(Box<Reading>),
    Union(Vec<Reading>),
    /// The writer's type cannot become the column's; only when such a value comes is that an error.
    Refused(&'static str),
}

impl Plan {
    /// A plan, unless the schema is of no record or lacks a column that is NOT NULL.
    pub(super) fn new(schema: Schema, columns: &Fields) -> Result<Self, String> {
        let mut planner = Planner { schema: &schema, parts: 0 };
        let root = match schema.get(schema.root) {
            Type::Record(fields) => Root::Record(planner.row(fields, columns)?),
            Type::Union(branches) => {
                let mut branch = |id: &TypeId| match schema.get(*id) {
                    Type::Record(fields) => planner.row(fields, columns).map(Some),
                    _ => Ok(None),
                };
                Root::Union(branches.iter().map(&mut branch).collect::<Result<_, _>>()?)
            }
            _ => return Err("the schema is of no record".into()),
        };
        Ok(Self { schema, root })
    }

    /// Appends the record that the bytes hold. After an error the columns may hold a part of it.
    pub(super) fn read(&self, row: &mut RowColumn, reader: &mut Reader) -> Result<(), String> {
        let plan = match &self.root {
            Root::Record(plan) => plan,
            Root::Union(branches) => reader.branch(branches)?.as_ref().ok_or("no record")?,
        };
        plan.read(&self.schema, row, reader)
    }
}

struct Planner<'a> {
    schema: &'a Schema,
    parts: usize,
}

impl Planner<'_> {
    fn row(&mut self, written: &[WrittenField], columns: &Fields) -> Result<RowPlan, String> {
        let mut steps = Vec::with_capacity(written.len());
        for w in written {
            steps.push(match columns.iter().enumerate().find(|(_, c)| *c.name() == w.name) {
                None => Step::Skip(w.id),
                Some((i, column)) => Step::Read(i, self.reading(w.id, column.data_type())?),
            });
        }
        let is_written = |column: &Field| written.iter().any(|w| w.name == *column.name());
        let missing: Vec<_> = columns.iter().enumerate().filter(|(_, c)| !is_written(c)).collect();
        match missing.iter().find(|(_, c)| !c.is_nullable()) {
            Some((_, c)) => Err(format!("the writer's schema has no field '{}', which is NOT NULL", c.name())),
            None => Ok(RowPlan { steps, missing: missing.into_iter().map(|(i, _)| i).collect() }),
        }
    }

    /// As deep as the column's type, for a union has no unions in it.
    fn reading(&mut self, id: TypeId, column: &DataType) -> Result<Reading, String> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err("the schema has too many parts".into());
        }
        let schema = self.schema;
        Ok(match (schema.get(id), column) {
            (Type::Null, _) => Reading::Null,
            (Type::Union(branches), _) => {
                Reading::Union(branches.iter().map(|b| self.reading(*b, column)).collect::<Result<_, _>>()?)
            }
            (Type::Record(written), DataType::Struct(fields)) => Reading::Row(self.row(written, fields)?),
            (Type::Array(item), DataType::List(field)) => {
                Reading::List(Box::new(self.reading(*item, field.data_type())?))
            }
            (Type::Map(value), DataType::Map(entries, _)) => {
                let DataType::Struct(parts) = entries.data_type() else { return Err("a map without entries".into()) };
                let column = parts.last().map_or(&DataType::Null, |v| v.data_type());
                Reading::Map(Box::new(self.reading(*value, column)?))
            }
            (Type::Record(_), _) => Reading::Refused("a record"),
            (Type::Array(_), _) => Reading::Refused("an array"),
            (Type::Map(_), _) => Reading::Refused("a map"),
            (_, DataType::Struct(_)) => Reading::Refused("no record"),
            (_, DataType::List(_)) => Reading::Refused("no array"),
            (_, DataType::Map(_, _)) => Reading::Refused("no map"),
            (Type::Boolean, _) => Reading::Boolean,
            (Type::Int(meaning), _) => Reading::Int(*meaning),
            (Type::Long(meaning), _) => Reading::Long(*meaning),
            (Type::Float, _) => Reading::Float,
            (Type::Double, _) => Reading::Double,
            (Type::Bytes(meaning), _) => Reading::Bytes(*meaning),
            (Type::Text, _) => Reading::Text,
            (Type::Fixed(size, meaning), _) => Reading::Fixed(*size, *meaning),
            (Type::Enum(symbols), _) => Reading::Enum(Arc::clone(symbols)),
        })
    }
}

impl RowPlan {
    fn read(&self, schema: &Schema, row: &mut RowColumn, reader: &mut Reader) -> Result<(), String> {
        for step in &self.steps {
            match step {
                Step::Skip(id) => reader.skip(schema, *id)?,
                Step::Read(i, reading) => {
                    let Some(field) = row.fields.get_mut(*i) else { return Err("no such column".into()) };
                    reading.read(schema, field, reader)?;
                }
            }
        }
        self.missing.iter().try_for_each(|i| row.fields.get_mut(*i).map_or(Ok(()), FieldColumn::null))
    }
}

impl Reading {
    fn read(&self, schema: &Schema, field: &mut FieldColumn, reader: &mut Reader) -> Result<(), String> {
        let value = match self {
            Reading::Null => return field.null(),
            Reading::Union(branches) => return reader.branch(branches)?.read(schema, field, reader),
            Reading::Row(_) | Reading::List(_) | Reading::Map(_) => return self.read_parts(schema, field, reader),
            Reading::Refused(what) => {
                return Err(format!(
                    "'{}' is a {}, and {what} was written",
                    field.field.name(),
                    field.field.data_type()
                ));
            }
            Reading::Boolean => Value::Boolean(reader.boolean()?),
            Reading::Int(meaning) => number(reader.int()?.into(), *meaning),
            Reading::Long(meaning) => number(reader.long()?, *meaning),
            Reading::Float => Value::Float(reader.float()?),
            Reading::Double => Value::Double(reader.double()?),
            Reading::Bytes(meaning) => bytes(reader.bytes()?, *meaning)?,
            Reading::Fixed(size, meaning) => bytes(reader.take(*size)?, *meaning)?,
            Reading::Text => Value::Text(reader.text()?),
            Reading::Enum(symbols) => {
                let index = reader.int()?;
                let symbol = usize::try_from(index).ok().and_then(|i| symbols.get(i));
                Value::Text(symbol.ok_or_else(|| format!("symbol {index} of an enum of {}", symbols.len()))?)
            }
        };
        field.value(value)
    }

    fn read_parts(&self, schema: &Schema, field: &mut FieldColumn, reader: &mut Reader) -> Result<(), String> {
        reader.enter()?;
        match (self, &mut field.column) {
            (Reading::Row(plan), Column::Row(row)) => {
                plan.read(schema, row, reader)?;
                row.end();
            }
            (Reading::List(reading), Column::List(list)) => {
                loop {
                    let count = reader.block()?;
                    for _ in 0..count {
                        reading.read(schema, &mut list.item, reader)?;
                        list.added();
                    }
                    if count == 0 {
                        break;
                    }
                }
                list.end();
            }
            (Reading::Map(reading), Column::Map(map)) => {
                loop {
                    let count = reader.block()?;
                    for _ in 0..count {
                        map.key.value(Value::Text(reader.text()?))?;
                        reading.read(schema, &mut map.value, reader)?;
                        map.added();
                    }
                    if count == 0 {
                        break;
                    }
                }
                map.end();
            }
            _ => return Err(format!("'{}' is built otherwise", field.field.name())),
        }
        reader.leave();
        Ok(())
    }
}

fn number(value: i64, meaning: Meaning) -> Value<'static> {
    match meaning {
        Meaning::Date => i32::try_from(value).map_or(Value::Integer(value), Value::Date),
        Meaning::Time(digits) => Value::Time(value, digits),
        Meaning::Timestamp(digits, _) => Value::Timestamp(value, digits),
        Meaning::Plain | Meaning::Decimal(..) => Value::Integer(value),
    }
}

fn bytes(bytes: &[u8], meaning: Meaning) -> Result<Value<'_>, String> {
    let Meaning::Decimal(_, scale) = meaning else { return Ok(Value::Bytes(bytes)) };
    // Two's complement, the most significant byte first, with as many bytes as it likes.
    let negative = bytes.first().is_some_and(|b| b & 0x80 != 0);
    let fill = if negative { 0xFF } else { 0 };
    let split = bytes.len().saturating_sub(16);
    let (padding, kept) = bytes.split_at(split);
    let mut wide = [fill; 16];
    if let Some(place) = wide.get_mut(16 - kept.len()..) {
        place.copy_from_slice(kept);
    }
    let value = i128::from_be_bytes(wide);
    if padding.iter().any(|b| *b != fill) || (value < 0) != negative {
        return Err("a decimal of more digits than any has".into());
    }
    Ok(Value::Decimal(value, scale))
}
