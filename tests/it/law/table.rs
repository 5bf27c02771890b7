//! Random tables: their declarations and their rows.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray, new_empty_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, TimeUnit};
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

/// A table before it is declared.
#[derive(Debug, Clone)]
pub struct Table {
    pub name: String,
    pub ddl: String,
    /// The rowtime column.
    pub time: String,
    /// What the rowtime is ahead of the column `ts`, in milliseconds.
    pub ahead: i64,
    /// What the watermark is behind the rowtime, in milliseconds.
    pub delay: i64,
    /// How far rows are behind at most, in milliseconds.
    pub disorder: i64,
    /// Whether its times are TIMESTAMP_LTZ.
    pub zoned: bool,
}

/// The columns that every table has, by what can be done with them.
const COLUMNS: &str = "id BIGINT NOT NULL, k STRING, b BOOLEAN, n INT, v BIGINT, f DOUBLE, d DECIMAL(10, 2), \
                       arr ARRAY<INT>, r ROW<x INT, y STRING>";

/// Where times begin, in milliseconds: about 1970, now, and the ends of the calendar. The first is before there were zones.
const EPOCHS: &[i64] = &[-62_135_596_800_000, 0, -50_000, 1_700_000_000_000, -1_000_000_007, 253_402_200_000_000];

impl Table {
    /// A table of that name; `ordered` leaves no row late.
    pub fn random(name: &str, rng: &mut Xoshiro256PlusPlus, ordered: bool, zoned: bool, precision: u8) -> Self {
        let kind = if zoned { "TIMESTAMP_LTZ" } else { "TIMESTAMP" };
        let (ahead, time, computed) = match rng.random_bool(0.2) {
            true => (1000, "rt", ", rt AS ts + INTERVAL '1' SECOND"),
            false => (0, "ts", ""),
        };
        let (delay, disorder) = match ordered {
            true => (20_000, 19_000),
            false => (*[0, 1000, 5000].get(rng.random_range(0..3)).unwrap(), 12_000),
        };
        let watermark = match delay {
            0 => time.to_string(),
            _ => format!("{time} - INTERVAL '{}' SECOND", delay / 1000),
        };
        let ddl = format!(
            "CREATE TABLE {name} ({COLUMNS}, ts {kind}({precision}){computed}, c AS v * 2, WATERMARK FOR {time} AS \
             {watermark}) WITH ('connector' = 'channel')"
        );
        Self { name: name.into(), ddl, time: time.into(), ahead, delay, disorder, zoned }
    }

    /// For each row the watermark just before it, and last the watermark at the end.
    pub fn watermarks(&self, rows: &RecordBatch) -> Vec<i64> {
        let mut reached = i64::MIN;
        let mut marks = vec![reached];
        for ts in stamps(rows) {
            reached = reached.max(ts + self.ahead - self.delay);
            marks.push(reached);
        }
        marks
    }

    /// Rows for the columns that the connector gives.
    pub fn rows(&self, schema: &Arc<Schema>, rng: &mut Xoshiro256PlusPlus) -> RecordBatch {
        let count = match rng.random_range(0..20) {
            0 => 0,
            1..4 => rng.random_range(1..6),
            4 => 2500,
            _ => rng.random_range(6..150),
        };
        let gap = *[0, 3, 300, 2000].get(rng.random_range(0..4)).unwrap();
        let epochs = if self.zoned { &EPOCHS[1..] } else { EPOCHS };
        let mut clock = epochs[rng.random_range(0..epochs.len())];
        let columns = schema.fields().iter().map(|field| {
            if let DataType::Timestamp(unit, _) = field.data_type() {
                let times = (0..count).map(|_| {
                    clock += rng.random_range(0..=gap);
                    time(clock, self.disorder, rng)
                });
                let times: ArrayRef = Arc::new(Int64Array::from_iter_values(times.map(|ms| match unit {
                    TimeUnit::Second => ms.div_euclid(1000),
                    _ => ms,
                })));
                return cast(&times, field.data_type()).unwrap();
            }
            match field.name() == "id" {
                true => Arc::new(Int64Array::from_iter_values(0..count as i64)),
                false => column(field.data_type(), count, rng),
            }
        });
        RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap()
    }
}

/// A time: mostly now, often behind, often on a whole second or one or two milliseconds before.
fn time(clock: i64, disorder: i64, rng: &mut Xoshiro256PlusPlus) -> i64 {
    let behind = if rng.random_bool(0.25) { rng.random_range(0..=disorder) } else { 0 };
    let time = clock - behind;
    match rng.random_range(0..6) {
        before @ 0..3 => time.div_euclid(1000) * 1000 - before,
        _ => time,
    }
}

/// The column `ts` in milliseconds.
pub fn stamps(rows: &RecordBatch) -> Vec<i64> {
    let column = rows.column_by_name("ts").unwrap();
    let DataType::Timestamp(unit, _) = column.data_type() else { panic!("ts is no time") };
    let scale = if *unit == TimeUnit::Second { 1000 } else { 1 };
    let values = cast(column, &DataType::Int64).unwrap();
    let values = values.as_any().downcast_ref::<Int64Array>().unwrap();
    values.values().iter().map(|v| v * scale).collect()
}

/// Random values: few distinct ones, skewed, some NULL.
fn column(data_type: &DataType, rows: usize, rng: &mut Xoshiro256PlusPlus) -> ArrayRef {
    let nulls = *[0.0, 0.1, 0.5].get(rng.random_range(0..3)).unwrap();
    let mut skewed = |most: i64| -> Vec<Option<i64>> {
        (0..rows)
            .map(|_| {
                let value = if rng.random_bool(0.4) { 0 } else { rng.random_range(-most..=most) };
                (!rng.random_bool(nulls)).then_some(value)
            })
            .collect()
    };
    match data_type {
        DataType::Boolean => Arc::new(skewed(1).into_iter().map(|v| v.map(|v| v > 0)).collect::<BooleanArray>()),
        DataType::Int32 => Arc::new(skewed(10).into_iter().map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(skewed(1000).into_iter().collect::<Int64Array>()),
        DataType::Float64 => {
            Arc::new(skewed(100).into_iter().map(|v| v.map(|v| v as f64 / 8.0)).collect::<Float64Array>())
        }
        DataType::Decimal128(precision, scale) => {
            let values: Decimal128Array = skewed(999).into_iter().map(|v| v.map(i128::from)).collect();
            Arc::new(values.with_precision_and_scale(*precision, *scale).unwrap())
        }
        DataType::Utf8 => {
            let text = |v: i64| {
                ["a", "b", "", "Ä ö", "a_%", "long enough for no view to hold it in place"]
                    [v.unsigned_abs() as usize % 6]
            };
            Arc::new(skewed(8).into_iter().map(|v| v.map(text)).collect::<StringArray>())
        }
        DataType::List(element) => {
            let lengths: Vec<Option<usize>> =
                skewed(3).into_iter().map(|v| v.map(|v| v.unsigned_abs() as usize)).collect();
            let values = column(element.data_type(), lengths.iter().flatten().sum(), rng);
            let offsets = OffsetBuffer::from_lengths(lengths.iter().map(|l| l.unwrap_or(0)));
            let valid = NullBuffer::from(lengths.iter().map(Option::is_some).collect::<Vec<_>>());
            Arc::new(ListArray::new(Arc::clone(element), offsets, values, Some(valid)))
        }
        DataType::Struct(fields) => {
            let valid = NullBuffer::from(skewed(1).iter().map(Option::is_some).collect::<Vec<_>>());
            let columns = fields.iter().map(|f| column(f.data_type(), rows, rng)).collect::<Vec<_>>();
            Arc::new(StructArray::new(fields.clone(), columns, Some(valid)))
        }
        other if rows == 0 => new_empty_array(other),
        other => panic!("no random values of type {other}"),
    }
}
