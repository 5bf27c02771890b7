//! Casts between numbers: whole numbers wrap, DOUBLE saturates, decimals round half up and are NULL when they overflow.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use datafusion_common::{Result, exec_err};

/// How many bits a whole number has.
pub(super) fn bits(data_type: &DataType) -> usize {
    data_type.primitive_width().unwrap_or(0) * 8
}

/// Numbers as whole numbers.
pub(super) fn to_integer(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let wide: PrimitiveArray<Int64Type> = match *array.data_type() {
        DataType::Decimal128(_, scale) => {
            let unit = 10i128.checked_pow(u32::try_from(scale).unwrap_or(0)).unwrap_or(i128::MAX);
            array.as_primitive::<Decimal128Type>().unary(|v| wrap(v / unit))
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let doubles = cast(array, &DataType::Float64)?;
            let doubles = doubles.as_primitive::<Float64Type>();
            // Java has no narrower target than INT; from there on it wraps.
            if bits(to) >= 64 { doubles.unary(saturate) } else { doubles.unary(|v| saturate(v).clamp(MIN, MAX)) }
        }
        DataType::UInt64 => array.as_primitive::<UInt64Type>().unary(u64::cast_signed),
        _ => cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone(),
    };
    Ok(match to {
        DataType::Int8 => narrow::<Int8Type>(&wide, |v| low(v).cast_signed()),
        DataType::Int16 => narrow::<Int16Type>(&wide, |v| i16::from_le_bytes([byte(v, 0), byte(v, 1)])),
        DataType::Int32 => narrow::<Int32Type>(&wide, wrap_int),
        DataType::Int64 => Arc::new(wide),
        DataType::UInt8 => narrow::<UInt8Type>(&wide, low),
        DataType::UInt16 => narrow::<UInt16Type>(&wide, |v| u16::from_le_bytes([byte(v, 0), byte(v, 1)])),
        DataType::UInt32 => narrow::<UInt32Type>(&wide, |v| wrap_int(v).cast_unsigned()),
        DataType::UInt64 => narrow::<UInt64Type>(&wide, i64::cast_unsigned),
        other => return exec_err!("{other} is no whole number"),
    })
}

const MIN: i64 = i32::MIN as i64;
const MAX: i64 = i32::MAX as i64;

fn narrow<T: ArrowPrimitiveType>(wide: &PrimitiveArray<Int64Type>, f: impl Fn(i64) -> T::Native) -> ArrayRef {
    Arc::new(wide.unary::<_, T>(f))
}

fn byte(v: i64, index: usize) -> u8 {
    v.to_le_bytes().get(index).copied().unwrap_or_default()
}

fn low(v: i64) -> u8 {
    byte(v, 0)
}

fn wrap_int(v: i64) -> i32 {
    i32::from_le_bytes([byte(v, 0), byte(v, 1), byte(v, 2), byte(v, 3)])
}

fn wrap(v: i128) -> i64 {
    let low = v.rem_euclid(1 << 64);
    u64::try_from(low).unwrap_or_default().cast_signed()
}

/// NaN is 0.
#[expect(clippy::cast_possible_truncation, reason = "`as` is what saturates")]
fn saturate(v: f64) -> i64 {
    v as i64
}

/// Numbers as decimals.
pub(super) fn to_decimal(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: true, ..Default::default() };
    let wide = match array.data_type() {
        DataType::Float32 => &cast(array, &DataType::Float64)?,
        _ => array,
    };
    Ok(cast_with_options(wide, to, &options)?)
}
