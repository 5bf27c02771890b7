//! From a table's options to what makes its columns.

use std::collections::BTreeSet;
use std::str::FromStr;

use arrow::array::types::{Decimal128Type, DecimalType};
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema};

use super::values::{Column, Length, Values};
use crate::connector::Options;
use crate::{Error, Result};

/// No row takes more bytes than about these.
const MOST_BYTES: usize = 64 << 20;
/// DECIMALs of random digits have no more than these, those of an i128.
const MOST_DIGITS: u8 = 38;

/// What makes the columns of a schema.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) columns: Vec<Column>,
    /// The number of rows, if they end.
    pub(super) rows: Option<u64>,
    used: BTreeSet<String>,
}

impl Plan {
    /// Reads the options for all fields of `schema`.
    pub(super) fn new(options: &Options, schema: &Schema, seed: u64) -> Result<Self> {
        let mut reader = Reader { options, seed, used: BTreeSet::new(), rows: None };
        if let Some(rows) = options.integer("number-of-rows")? {
            reader.end_at(u64::try_from(rows).map_err(|_| {
                Error::Option(format!("option 'number-of-rows' = '{rows}': expected a number from 0 on"))
            })?);
        }
        let columns = schema.fields().iter().map(|f| reader.column(f.name(), f, true)).collect::<Result<Vec<_>>>()?;
        let bytes = columns.iter().map(Column::bytes).fold(0, usize::saturating_add);
        if bytes > MOST_BYTES {
            return Err(Error::Option(format!("a row could take {bytes} bytes, at most {MOST_BYTES} are made")));
        }
        Ok(Self { columns, rows: reader.rows, used: reader.used })
    }

    /// Refuses options for fields that are not there or cannot have them.
    pub(super) fn check_all_used(&self, options: &Options) -> Result<()> {
        let unused = options.iter().find(|(key, _)| key.starts_with("fields.") && !self.used.contains(*key));
        match unused {
            None => Ok(()),
            Some((key, _)) => Err(Error::Option(format!(
                "option '{key}' does not apply: there is no such field, or its type and kind take no such option"
            ))),
        }
    }
}

struct Reader<'a> {
    options: &'a Options,
    seed: u64,
    used: BTreeSet<String>,
    rows: Option<u64>,
}

impl Reader<'_> {
    fn end_at(&mut self, rows: u64) {
        self.rows = Some(self.rows.map_or(rows, |r| r.min(rows)));
    }

    fn key(&mut self, path: &str, name: &str) -> String {
        let key = format!("fields.{path}.{name}");
        self.used.insert(key.clone());
        key
    }

    /// What makes the field at `path`; a sequence may stand only where each row has exactly one value.
    fn column(&mut self, path: &str, field: &Field, once_a_row: bool) -> Result<Column> {
        let key = self.key(path, "null-rate");
        let null_rate = self.options.double(&key)?.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&null_rate) {
            return Err(Error::Option(format!("option '{key}' = '{null_rate}': expected a number from 0 to 1")));
        }
        if null_rate > 0.0 && !field.is_nullable() {
            return Err(Error::Option(format!("option '{key}': the field is NOT NULL")));
        }
        let key = self.key(path, "kind");
        let values = match self.options.get(&key).unwrap_or("random") {
            "random" => self.random(path, field.data_type(), once_a_row)?,
            "sequence" if once_a_row => self.sequence(path, field.data_type())?,
            "sequence" => return Err(Error::Option(format!("option '{key}': no sequences inside of collections"))),
            other => return Err(Error::Option(format!("option '{key}' = '{other}': expected random or sequence"))),
        };
        Ok(Column::new(self.seed, path, null_rate, values))
    }

    fn sequence(&mut self, path: &str, data_type: &DataType) -> Result<Values> {
        let takes = data_type.is_numeric() || matches!(data_type, DataType::Utf8 | DataType::Utf8View);
        if !takes {
            return Err(Error::Option(format!("'fields.{path}.kind': no sequences of type {data_type}")));
        }
        let mut bound = |name| {
            let key = self.key(path, name);
            let text = self.options.require(&key)?;
            text.trim().parse::<i64>().map_err(|_| wrong(&key, text, "a whole number"))
        };
        let (start, end) = (bound("start")?, bound("end")?);
        let rows = i128::from(end) - i128::from(start) + 1;
        let rows = u64::try_from(rows)
            .map_err(|_| Error::Option(format!("'fields.{path}': a sequence cannot go from {start} to {end}")))?;
        let (least, most) = integer_range(data_type).unwrap_or((i64::MIN, i64::MAX));
        if start < least || end > most {
            return Err(Error::Option(format!("'fields.{path}': {start} to {end} is beyond {data_type}")));
        }
        self.end_at(rows);
        Ok(Values::Sequence { data_type: data_type.clone(), next: start })
    }

    fn random(&mut self, path: &str, data_type: &DataType, once_a_row: bool) -> Result<Values> {
        let data_type_owned = data_type.clone();
        if let Some((min, max)) = integer_range(data_type) {
            let (min, max) = self.range(path, min, max)?;
            return Ok(Values::Integers { data_type: data_type_owned, min, max });
        }
        Ok(match data_type {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Booleans,
            DataType::Float32 => {
                let (min, max) = self.range(path, f64::from(f32::MIN), f64::from(f32::MAX))?;
                Values::Doubles { data_type: data_type_owned, min, max }
            }
            DataType::Float64 => {
                let (min, max) = self.range(path, f64::MIN, f64::MAX)?;
                Values::Doubles { data_type: data_type_owned, min, max }
            }
            DataType::Decimal128(precision, scale) => self.decimals(path, *precision, *scale)?,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Values::Texts { data_type: data_type_owned, length: self.length(path, 100)? }
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                Values::Bytes { data_type: data_type_owned, length: self.length(path, 100)? }
            }
            DataType::FixedSizeBinary(size) => Values::Bytes {
                data_type: data_type_owned,
                length: Length { most: usize::try_from(*size).unwrap_or_default(), varies: false },
            },
            DataType::Date32 | DataType::Time32(_) | DataType::Time64(_) => {
                Values::Times { data_type: data_type_owned, max_past: 0 }
            }
            DataType::Timestamp(..) => {
                let key = self.key(path, "max-past");
                let past = self.options.duration(&key)?.unwrap_or_default().as_millis();
                Values::Times { data_type: data_type_owned, max_past: i64::try_from(past).unwrap_or(i64::MAX) }
            }
            _ => self.nested(path, data_type, once_a_row)?,
        })
    }

    fn nested(&mut self, path: &str, data_type: &DataType, once_a_row: bool) -> Result<Values> {
        Ok(match data_type {
            DataType::Struct(fields) => {
                let column = |f: &std::sync::Arc<Field>| self.column(&format!("{path}.{}", f.name()), f, once_a_row);
                let columns = fields.iter().map(column).collect::<Result<Vec<_>>>()?;
                Values::Rows { fields: fields.clone(), columns }
            }
            DataType::List(field) => {
                let length = self.length(path, 3)?;
                let element = self.column(&format!("{path}.element"), field, false)?;
                Values::Lists { field: field.clone(), length, element: Box::new(element) }
            }
            DataType::Map(entries, sorted) => {
                let DataType::Struct(fields) = entries.data_type() else {
                    return Err(Error::internal("a map whose entries are no rows"));
                };
                let [key, value] = fields.as_ref() else {
                    return Err(Error::internal("a map whose entries are no pairs"));
                };
                let length = self.length(path, 3)?;
                let columns = Box::new([
                    self.column(&format!("{path}.key"), key, false)?,
                    self.column(&format!("{path}.value"), value, false)?,
                ]);
                Values::Maps { entries: entries.clone(), sorted: *sorted, length, columns }
            }
            other => return Err(Error::Unsupported(format!("'fields.{path}': datagen for type {other}"))),
        })
    }

    fn decimals(&mut self, path: &str, precision: u8, scale: i8) -> Result<Values> {
        let largest = 10i128.pow(u32::from(precision.min(MOST_DIGITS))) - 1;
        let unit = 10f64.powi(i32::from(scale));
        let (min, max) = self.range(path, -(largest as f64) / unit, largest as f64 / unit)?;
        // The conversion saturates, and what is beyond the precision is brought back into it, as Flink does.
        let unscaled = |v: f64| ((v * unit).round() as i128).clamp(-largest, largest);
        let data_type = Decimal128Type::TYPE_CONSTRUCTOR(precision, scale);
        Ok(Values::Decimals { data_type, min: unscaled(min), max: unscaled(max) })
    }

    fn range<T: FromStr + PartialOrd + Copy + std::fmt::Display>(
        &mut self,
        path: &str,
        min: T,
        max: T,
    ) -> Result<(T, T)> {
        let mut bound = |name, default| {
            let key = self.key(path, name);
            let Some(text) = self.options.get(&key) else { return Ok(default) };
            let value = text.trim().parse::<T>().ok().filter(|v| *v >= min && *v <= max);
            value.ok_or_else(|| wrong(&key, text, &format!("a number from {min} to {max}")))
        };
        let (low, high) = (bound("min", min)?, bound("max", max)?);
        if low > high {
            return Err(Error::Option(format!("'fields.{path}': min {low} is above max {high}")));
        }
        Ok((low, high))
    }

    fn length(&mut self, path: &str, default: usize) -> Result<Length> {
        let key = self.key(path, "length");
        let most = match self.options.integer(&key)? {
            None => default,
            Some(v) => usize::try_from(v)
                .ok()
                .filter(|v| *v <= MOST_BYTES)
                .ok_or_else(|| wrong(&key, &v.to_string(), &format!("a number from 0 to {MOST_BYTES}")))?,
        };
        let key = self.key(path, "var-len");
        Ok(Length { most, varies: self.options.boolean(&key)?.unwrap_or(false) })
    }
}

fn wrong(key: &str, value: &str, expected: &str) -> Error {
    Error::Option(format!("option '{key}' = '{value}': expected {expected}"))
}

/// The least and the greatest value of types that are whole numbers inside.
fn integer_range(data_type: &DataType) -> Option<(i64, i64)> {
    Some(match data_type {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 => (i64::MIN, i64::MAX),
        // Ten thousand years, as in Flink.
        DataType::Interval(IntervalUnit::YearMonth) => (0, 120_000),
        DataType::Duration(_) => (i64::MIN, i64::MAX),
        _ => return None,
    })
}
