//! Making columns of random values and sequences.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast, cast_with_options, nullif, take};
use arrow::datatypes::{DataType, FieldRef, Fields, TimeUnit};
use rand::{Rng, RngCore, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{Error, Result};

const DAY: i64 = 86_400_000;

/// One field: its values depend on the seed and its path alone.
#[derive(Debug)]
pub(super) struct Column {
    values: Values,
    random: Xoshiro256PlusPlus,
    /// Of its own, so that the values do not depend on how many rows are made at a time.
    nulls: Xoshiro256PlusPlus,
    null_rate: f64,
}

/// A length of texts, bytes or collections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Length {
    pub(super) most: usize,
    pub(super) varies: bool,
}

impl Length {
    fn draw(self, random: &mut impl RngCore) -> usize {
        if self.varies && self.most > 1 { random.random_range(1..=self.most) } else { self.most }
    }
}

/// What a field's values are.
#[derive(Debug)]
pub(super) enum Values {
    Null,
    Booleans,
    Integers { data_type: DataType, min: i64, max: i64 },
    Doubles { data_type: DataType, min: f64, max: f64 },
    Decimals { data_type: DataType, min: i128, max: i128 },
    Texts { data_type: DataType, length: Length },
    Bytes { data_type: DataType, length: Length },
    Times { data_type: DataType, max_past: i64 },
    Sequence { data_type: DataType, next: i64 },
    Rows { fields: Fields, columns: Vec<Column> },
    Lists { field: FieldRef, length: Length, element: Box<Column> },
    Maps { entries: FieldRef, sorted: bool, length: Length, columns: Box<[Column; 2]> },
}

impl Column {
    pub(super) fn new(seed: u64, path: &str, null_rate: f64, values: Values) -> Self {
        // FNV-1a: fixed for all times, unlike the standard library's hashes.
        let hash = |start: u64| path.bytes().fold(start, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let start = 0xcbf2_9ce4_8422_2325 ^ seed;
        Self {
            values,
            null_rate,
            random: Xoshiro256PlusPlus::seed_from_u64(hash(start)),
            nulls: Xoshiro256PlusPlus::seed_from_u64(hash(!start)),
        }
    }

    /// The bytes that a value can take, roughly.
    pub(super) fn bytes(&self) -> usize {
        match &self.values {
            Values::Texts { length, .. } | Values::Bytes { length, .. } => length.most,
            Values::Rows { columns, .. } => columns.iter().map(Column::bytes).fold(1, usize::saturating_add),
            Values::Lists { length, element, .. } => element.bytes().saturating_mul(length.most).saturating_add(4),
            Values::Maps { length, columns, .. } => {
                let entry = columns[0].bytes().saturating_add(columns[1].bytes());
                entry.saturating_mul(length.most).saturating_add(4)
            }
            _ => 16,
        }
    }

    /// The next `rows` values, at the time `now`.
    pub(super) fn make(&mut self, rows: usize, now: i64) -> Result<ArrayRef> {
        let array = self.values.make(&mut self.random, rows, now)?;
        if self.null_rate == 0.0 {
            return Ok(array);
        }
        let nulls = (0..rows).map(|_| Some(self.nulls.random::<f64>() < self.null_rate)).collect();
        with_nulls(&array, &nulls)
    }
}

/// The array with NULLs where `nulls` is true, in the fields of rows too: readers may look at those alone.
fn with_nulls(array: &ArrayRef, nulls: &BooleanArray) -> Result<ArrayRef> {
    let Some(rows) = array.as_struct_opt() else { return Ok(nullif(array, nulls)?) };
    let inner =
        rows.fields().iter().zip(rows.columns()).map(|(field, column)| {
            if field.is_nullable() { with_nulls(column, nulls) } else { Ok(Arc::clone(column)) }
        });
    let inner = inner.collect::<Result<Vec<_>>>()?;
    let rows = StructArray::try_new_with_length(rows.fields().clone(), inner, None, rows.len())?;
    Ok(nullif(&rows, nulls)?)
}

impl Values {
    fn make(&mut self, random: &mut Xoshiro256PlusPlus, rows: usize, now: i64) -> Result<ArrayRef> {
        match self {
            Values::Null => Ok(new_null_array(&DataType::Null, rows)),
            Values::Booleans => {
                Ok(Arc::new((0..rows).map(|_| Some(random.random::<bool>())).collect::<BooleanArray>()))
            }
            Values::Integers { data_type, min, max } => {
                integers((0..rows).map(|_| random.random_range(*min..=*max)), data_type)
            }
            Values::Doubles { data_type, min, max } => {
                let value = |share: f64| *min * (1.0 - share) + *max * share;
                converted(Float64Array::from_iter_values((0..rows).map(|_| value(random.random()))), data_type)
            }
            Values::Decimals { data_type, min, max } => {
                let values = (0..rows).map(|_| random.random_range(*min..=*max));
                Ok(Arc::new(Decimal128Array::from_iter_values(values).with_data_type(data_type.clone())))
            }
            Values::Texts { data_type, length } => converted(texts(random, *length, rows), data_type),
            Values::Bytes { data_type, length } => bytes(random, *length, rows, data_type),
            Values::Times { data_type, max_past } => times(random, *max_past, rows, now, data_type),
            Values::Sequence { data_type, next } => {
                let first = *next;
                *next = next.saturating_add(rows as i64);
                integers((0..rows).map(|i| first.saturating_add(i as i64)), data_type)
            }
            Values::Rows { fields, columns } => {
                let made = columns.iter_mut().map(|c| c.make(rows, now)).collect::<Result<Vec<_>>>()?;
                Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), made, None, rows)?))
            }
            Values::Lists { field, length, element } => {
                let offsets = OffsetBuffer::from_lengths((0..rows).map(|_| length.draw(random)));
                let elements = element.make(total(&offsets), now)?;
                Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, elements, None)?))
            }
            Values::Maps { entries, sorted, length, columns } => {
                let offsets = OffsetBuffer::from_lengths((0..rows).map(|_| length.draw(random)));
                let [keys, values] = columns.as_mut();
                let (keys, values) = (keys.make(total(&offsets), now)?, values.make(total(&offsets), now)?);
                maps(entries, *sorted, &offsets, &keys, &values)
            }
        }
    }
}

fn total(offsets: &OffsetBuffer<i32>) -> usize {
    offsets.last().map_or(0, |o| *o as usize)
}

fn converted(array: impl Array + 'static, data_type: &DataType) -> Result<ArrayRef> {
    if array.data_type() == data_type { Ok(Arc::new(array)) } else { Ok(cast(&array, data_type)?) }
}

/// Whole numbers as any type that can hold them; those that do not fit are an error.
fn integers(values: impl Iterator<Item = i64>, data_type: &DataType) -> Result<ArrayRef> {
    let array = Int64Array::from_iter_values(values);
    if let DataType::Interval(_) = data_type {
        return Ok(cast(&cast(&array, &DataType::Int32)?, data_type)?);
    }
    let strict = CastOptions { safe: false, ..Default::default() };
    Ok(cast_with_options(&array, data_type, &strict)?)
}

/// Hexadecimal digits, as Flink's.
fn texts(random: &mut impl RngCore, length: Length, rows: usize) -> StringArray {
    let mut out = StringBuilder::with_capacity(rows, rows * length.most);
    let mut text = String::with_capacity(length.most);
    for _ in 0..rows {
        text.clear();
        let mut digits = 0;
        for i in 0..length.draw(random) {
            if i % 16 == 0 {
                digits = random.next_u64();
            }
            text.push(char::from(b"0123456789abcdef"[(digits & 15) as usize]));
            digits >>= 4;
        }
        out.append_value(&text);
    }
    out.finish()
}

fn bytes(random: &mut impl RngCore, length: Length, rows: usize, data_type: &DataType) -> Result<ArrayRef> {
    let mut out = BinaryBuilder::with_capacity(rows, rows * length.most);
    let mut value = Vec::with_capacity(length.most);
    for _ in 0..rows {
        value.resize(length.draw(random), 0);
        random.fill_bytes(&mut value);
        out.append_value(&value);
    }
    converted(out.finish(), data_type)
}

/// Dates and times of the present, timestamps up to `max_past` milliseconds before it.
fn times(random: &mut impl RngCore, max_past: i64, rows: usize, now: i64, data_type: &DataType) -> Result<ArrayRef> {
    let of = |value: i64| Int64Array::from_value(value, rows);
    let narrow = |value: i64, as_type: DataType| cast(&cast(&of(value), &DataType::Int32)?, &as_type);
    let array = match data_type {
        DataType::Date32 => narrow(now.div_euclid(DAY), DataType::Date32)?,
        DataType::Time32(_) | DataType::Time64(_) => {
            narrow(now.rem_euclid(DAY), DataType::Time32(TimeUnit::Millisecond))?
        }
        DataType::Timestamp(_, zone) => {
            let draw = |_| now.saturating_sub(if max_past > 0 { random.random_range(0..=max_past) } else { 0 });
            let millis = Int64Array::from_iter_values((0..rows).map(draw));
            cast(&millis, &DataType::Timestamp(TimeUnit::Millisecond, zone.clone()))?
        }
        other => return Err(Error::internal(format!("{other} is no time"))),
    };
    Ok(cast(&array, data_type)?)
}

/// Maps of the entries, less those whose keys have come before in the same map.
fn maps(
    entries: &FieldRef,
    sorted: bool,
    offsets: &OffsetBuffer<i32>,
    keys: &ArrayRef,
    values: &ArrayRef,
) -> Result<ArrayRef> {
    let order = make_comparator(keys, keys, Default::default())?;
    let (mut kept, mut lengths) = (Vec::<u32>::new(), Vec::new());
    for bounds in offsets.windows(2) {
        let mut row = (bounds[0] as u32..bounds[1] as u32).collect::<Vec<_>>();
        row.sort_by(|a, b| order(*a as usize, *b as usize));
        row.dedup_by(|a, b| order(*a as usize, *b as usize).is_eq());
        lengths.push(row.len());
        kept.append(&mut row);
    }
    let kept = UInt32Array::from(kept);
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(Error::internal("a map whose entries are no rows"));
    };
    let columns = vec![take(keys, &kept, None)?, take(values, &kept, None)?];
    let rows = StructArray::try_new(fields.clone(), columns, None)?;
    Ok(Arc::new(MapArray::try_new(Arc::clone(entries), OffsetBuffer::from_lengths(lengths), rows, None, sorted)?))
}
