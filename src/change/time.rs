//! Event time: watermarks, and rowtime columns as milliseconds.

use arrow::array::{Array, AsArray, Int64Array};
use arrow::datatypes::{
    DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};

use crate::{Error, Result};

/// An event-time bound in milliseconds since the epoch: no row with a rowtime at or before it is still expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark(pub i64);

impl Watermark {
    /// Nothing is known yet.
    pub const MIN: Watermark = Watermark(i64::MIN);
    /// The input has ended.
    pub const MAX: Watermark = Watermark(i64::MAX);
}

impl Default for Watermark {
    fn default() -> Self {
        Watermark::MIN
    }
}

/// A timestamp column as milliseconds since the epoch, rounded down; without a copy where it is in milliseconds already.
///
/// # Errors
/// When the column is no timestamp.
pub fn rowtime_millis(column: &dyn Array) -> Result<Int64Array> {
    let scaled = |values: &[i64], f: fn(i64) -> i64| {
        Int64Array::new(values.iter().map(|v| f(*v)).collect(), column.nulls().cloned())
    };
    Ok(match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            scaled(column.as_primitive::<TimestampSecondType>().values(), |v| v.saturating_mul(1000))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            let c = column.as_primitive::<TimestampMillisecondType>();
            Int64Array::new(c.values().clone(), c.nulls().cloned())
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            scaled(column.as_primitive::<TimestampMicrosecondType>().values(), |v| v.div_euclid(1_000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            scaled(column.as_primitive::<TimestampNanosecondType>().values(), |v| v.div_euclid(1_000_000))
        }
        other => return Err(Error::internal(format!("{other} is no event time"))),
    })
}
