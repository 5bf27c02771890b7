//! Numbers. What is not whole or decimal is computed as DOUBLE.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::compute::kernels::cmp::{gt, lt};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, is_null, nullif};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, Int64Type};
use datafusion_common::Result;
use datafusion_expr::ColumnarValue;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::define::Kind::{Any, Common, Double, Int, Text};
use super::define::{Call, Def, Given, Kind, def, double, int, is_text, text};

/// The functions of this file.
pub(super) fn functions() -> Vec<Def> {
    let mut all = doubles();
    all.extend([
        def(&["power", "pow"], &[Double, Double], double, |c| two(c, f64::powf)),
        def(&["atan2"], &[Double, Double], double, |c| two(c, f64::atan2)),
        def(&["log"], &[Double, Double], double, log).optional(1),
        def(&["pi"], &[], double, |c| c.primitives::<Float64Type>(|_| Some(std::f64::consts::PI))),
        def(&["e"], &[], double, |c| c.primitives::<Float64Type>(|_| Some(std::f64::consts::E))),
        def(&["ceil", "ceiling"], &[Any], whole, |c| {
            to_whole(c, f64::ceil, |v, unit| v.div_euclid(unit) + i128::from(v.rem_euclid(unit) != 0))
        }),
        def(&["floor"], &[Any], whole, |c| to_whole(c, f64::floor, i128::div_euclid)),
        def(&["sign", "signum"], &[Any], same, sign),
        def(&["round"], &[Any, Int], rounded, |c| round(c, f64::round, half_up)).optional(1),
        def(&["truncate"], &[Any, Int], rounded, |c| round(c, f64::trunc, |v, unit| v / unit)).optional(1),
        def(&["bin"], &[Kind::BigInt], text, bin),
        def(&["hex"], &[Any], text, hex),
        def(&["unhex"], &[Text], |_| Ok(DataType::Binary), unhex),
        def(&["greatest"], &[Common], same, |c| extreme(c, |a, b| Ok(gt(a, b)?))).variadic(),
        def(&["least"], &[Common], same, |c| extreme(c, |a, b| Ok(lt(a, b)?))).variadic(),
        def(&["rand", "random"], &[Int], double, rand).optional(0).volatile(),
        def(&["rand_integer"], &[Int, Int], int, rand_integer).optional(1).volatile(),
    ]);
    all
}

fn doubles() -> Vec<Def> {
    vec![
        def(&["sqrt"], &[Double], double, |c| one(c, f64::sqrt)),
        def(&["ln"], &[Double], double, |c| one(c, f64::ln)),
        def(&["log10"], &[Double], double, |c| one(c, f64::log10)),
        def(&["log2"], &[Double], double, |c| one(c, f64::log2)),
        def(&["exp"], &[Double], double, |c| one(c, f64::exp)),
        def(&["sin"], &[Double], double, |c| one(c, f64::sin)),
        def(&["cos"], &[Double], double, |c| one(c, f64::cos)),
        def(&["tan"], &[Double], double, |c| one(c, f64::tan)),
        def(&["cot"], &[Double], double, |c| one(c, |x| 1.0 / x.tan())),
        def(&["asin"], &[Double], double, |c| one(c, f64::asin)),
        def(&["acos"], &[Double], double, |c| one(c, f64::acos)),
        def(&["atan"], &[Double], double, |c| one(c, f64::atan)),
        def(&["sinh"], &[Double], double, |c| one(c, f64::sinh)),
        def(&["cosh"], &[Double], double, |c| one(c, f64::cosh)),
        def(&["tanh"], &[Double], double, |c| one(c, f64::tanh)),
        def(&["degrees"], &[Double], double, |c| one(c, f64::to_degrees)),
        def(&["radians"], &[Double], double, |c| one(c, f64::to_radians)),
    ]
}

fn one(c: &Call, f: fn(f64) -> f64) -> Result<ColumnarValue> {
    let (array, _) = c.array(0)?;
    c.answer(Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(f)))
}

fn two(c: &Call, f: fn(f64, f64) -> f64) -> Result<ColumnarValue> {
    let (a, b) = (c.primitive::<Float64Type>(0)?, c.primitive::<Float64Type>(1)?);
    c.primitives::<Float64Type>(|i| Some(f(a.get(i)?, b.get(i)?)))
}

/// `LOG(x)`, `LOG(base, x)`.
fn log(c: &Call) -> Result<ColumnarValue> {
    let (a, x) = (c.primitive::<Float64Type>(0)?, c.optional::<Float64Type>(1)?);
    c.primitives::<Float64Type>(|i| match &x {
        Some(x) => Some(x.get(i)?.ln() / a.get(i)?.ln()),
        None => a.get(i).map(f64::ln),
    })
}

fn same(given: &Given) -> Result<DataType> {
    Ok(given.type_of(0))
}

fn whole(given: &Given) -> Result<DataType> {
    Ok(match given.type_of(0) {
        DataType::Decimal128(p, _) => DataType::Decimal128(p, 0),
        other => other,
    })
}

/// `ten(n)` is 10^n; 0 when that is more than fits.
fn ten(n: u32) -> i128 {
    10i128.checked_pow(n).unwrap_or(0)
}

fn half_up(value: i128, unit: i128) -> i128 {
    let (quotient, rest) = (value / unit, value % unit);
    if rest.unsigned_abs() * 2 >= unit.unsigned_abs() { quotient + value.signum() } else { quotient }
}

fn to_whole(c: &Call, f: fn(f64) -> f64, g: fn(i128, i128) -> i128) -> Result<ColumnarValue> {
    let (array, _) = c.array(0)?;
    match *array.data_type() {
        DataType::Decimal128(_, scale) => {
            let unit = ten(u32::try_from(scale).unwrap_or(0));
            let values = array.as_primitive::<Decimal128Type>().unary::<_, Decimal128Type>(|v| g(v, unit));
            c.answer(Arc::new(values.with_data_type(c.args.return_type().clone())))
        }
        DataType::Float32 | DataType::Float64 => by_double(c, &array, f),
        _ => c.answer(array),
    }
}

fn by_double(c: &Call, array: &ArrayRef, f: impl Fn(f64) -> f64) -> Result<ColumnarValue> {
    let values = cast(array, &DataType::Float64)?;
    let values = values.as_primitive::<Float64Type>().unary::<_, Float64Type>(f);
    c.answer(cast(&values, c.args.return_type())?)
}

fn sign(c: &Call) -> Result<ColumnarValue> {
    let (array, _) = c.array(0)?;
    match *array.data_type() {
        DataType::Decimal128(_, scale) => {
            let unit = ten(u32::try_from(scale).unwrap_or(0));
            let values = array.as_primitive::<Decimal128Type>().unary::<_, Decimal128Type>(|v| v.signum() * unit);
            c.answer(Arc::new(values.with_data_type(c.args.return_type().clone())))
        }
        _ => by_double(c, &array, |v| if v == 0.0 { v } else { v.signum() }),
    }
}

/// `DECIMAL(p, s)` rounded to n places is `DECIMAL(p - s + 1 + n, n)`.
fn rounded(given: &Given) -> Result<DataType> {
    Ok(match given.type_of(0) {
        DataType::Decimal128(p, s) => {
            let places = if given.types.len() > 1 { given.constant_int(1).unwrap_or(i64::from(s)) } else { 0 };
            let kept = places.clamp(0, i64::from(s.max(0)));
            let precision = (i64::from(p) - i64::from(s) + 1 + kept).clamp(1, 38);
            match (u8::try_from(precision), i8::try_from(kept)) {
                _ if places >= i64::from(s) => DataType::Decimal128(p, s),
                (Ok(precision), Ok(kept)) => DataType::Decimal128(precision, kept),
                _ => DataType::Decimal128(p, s),
            }
        }
        other => other,
    })
}

fn round(c: &Call, f: fn(f64) -> f64, g: fn(i128, i128) -> i128) -> Result<ColumnarValue> {
    let places = c.optional::<Int32Type>(1)?;
    let places = |i: usize| places.as_ref().map_or(Some(0), |p| p.get(i));
    let full = c.type_of(0)?;
    match full {
        DataType::Decimal128(_, scale) => {
            let x = c.primitive::<Decimal128Type>(0)?;
            let out = match c.args.return_type() {
                DataType::Decimal128(_, s) => *s,
                _ => scale,
            };
            let shrink = ten(u32::try_from(scale - out).unwrap_or(0));
            c.primitives::<Decimal128Type>(|i| {
                let (v, places) = (x.get(i)?, places(i)?);
                let dropped = i64::from(scale) - i64::from(places);
                let Ok(dropped) = u32::try_from(dropped) else { return Some(v / shrink) };
                let unit = ten(dropped);
                if unit == 0 { Some(0) } else { Some(g(v, unit) * unit / shrink) }
            })
        }
        ref t if t.is_integer() => {
            let array = cast(&c.array(0)?.0, &DataType::Int64)?;
            let x = super::define::Column::new(array.as_primitive::<Int64Type>().clone(), c.array(0)?.1);
            let values = (0..c.rows).map(|i| {
                let (v, places) = (i128::from(x.get(i)?), places(i)?);
                let unit = ten(u32::try_from(-i64::from(places)).unwrap_or(0));
                let rounded = if unit == 0 { 0 } else { g(v, unit) * unit };
                i64::try_from(rounded).ok()
            });
            let values: arrow::array::Int64Array = values.collect();
            c.answer(cast(&values, c.args.return_type())?)
        }
        _ => {
            let array = cast(&c.array(0)?.0, &DataType::Float64)?;
            let x = super::define::Column::new(array.as_primitive::<Float64Type>().clone(), c.array(0)?.1);
            let values: arrow::array::Float64Array =
                (0..c.rows).map(|i| Some(round_double(x.get(i)?, places(i)?, f, g))).collect();
            c.answer(cast(&values, c.args.return_type())?)
        }
    }
}

/// Rounds what the shortest digits of a DOUBLE say, as a decimal does: 1.255 to 2 places is 1.26.
fn round_double(x: f64, places: i32, f: fn(f64) -> f64, g: fn(i128, i128) -> i128) -> f64 {
    if !x.is_finite() || x == 0.0 {
        return x;
    }
    let digits = format!("{x:e}");
    let parsed = digits.split_once('e').and_then(|(mantissa, exponent)| {
        let scale = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let value: i128 = mantissa.replace('.', "").parse().ok()?;
        let dropped = i64::try_from(scale).ok()? - exponent.parse::<i64>().ok()? - i64::from(places);
        Some((value, dropped))
    });
    let Some((value, dropped)) = parsed else { return f(x) };
    match u32::try_from(dropped) {
        Err(_) | Ok(0) => x,
        Ok(dropped @ 1..=36) => format!("{}e{}", g(value, ten(dropped)), -i64::from(places)).parse().unwrap_or(x),
        Ok(_) => 0.0,
    }
}

fn bin(c: &Call) -> Result<ColumnarValue> {
    let n = c.primitive::<Int64Type>(0)?;
    c.texts(|i| n.get(i).map(|n| format!("{n:b}")))
}

fn hex(c: &Call) -> Result<ColumnarValue> {
    if is_text(&c.type_of(0)?) {
        let (array, constant) = c.array(0)?;
        let s = super::define::Column::new(cast(&array, &DataType::Utf8)?.as_string::<i32>().clone(), constant);
        return c.texts(|i| Some(s.get(i)?.bytes().map(|b| format!("{b:02X}")).collect::<String>()));
    }
    let (array, constant) = c.array(0)?;
    let n = super::define::Column::new(cast(&array, &DataType::Int64)?.as_primitive::<Int64Type>().clone(), constant);
    c.texts(|i| n.get(i).map(|n| format!("{n:X}")))
}

fn unhex(c: &Call) -> Result<ColumnarValue> {
    let s = c.text(0)?;
    let values: arrow::array::BinaryArray = (0..c.rows).map(|i| s.get(i).and_then(bytes_of)).collect();
    c.answer(Arc::new(values))
}

fn bytes_of(s: &str) -> Option<Vec<u8>> {
    let digit = |b: &u8| char::from(*b).to_digit(16);
    let digits = s.as_bytes().iter().map(digit).collect::<Option<Vec<u32>>>()?;
    let odd = digits.len() % 2;
    let padded: Vec<u32> = std::iter::repeat_n(0, odd).chain(digits).collect();
    padded.chunks(2).map(|pair| u8::try_from(pair.iter().fold(0, |n, d| n * 16 + d)).ok()).collect()
}

/// NULL as soon as one argument is.
fn extreme(c: &Call, better: fn(&ArrayRef, &ArrayRef) -> Result<BooleanArray>) -> Result<ColumnarValue> {
    let mut best = c.full_array(0)?;
    for i in 1..c.len() {
        let next = c.full_array(i)?;
        let mask = better(&best, &next)?;
        best = nullif(&zip(&mask, &best, &next)?, &is_null(&mask)?)?;
    }
    c.answer(best)
}

/// Draws from a generator seeded by the seed given, or by the clock of the step.
fn generator(c: &Call, seed: Option<i32>) -> Xoshiro256PlusPlus {
    let seed = seed.map_or_else(|| c.session.clock.millis(), i64::from);
    Xoshiro256PlusPlus::seed_from_u64(seed.cast_unsigned())
}

fn rand(c: &Call) -> Result<ColumnarValue> {
    let seed = c.optional::<Int32Type>(0)?.and_then(|s| s.get(0));
    let mut source = generator(c, seed);
    let values: arrow::array::Float64Array = (0..c.args.number_rows).map(|_| Some(source.random::<f64>())).collect();
    Ok(ColumnarValue::Array(Arc::new(values)))
}

fn rand_integer(c: &Call) -> Result<ColumnarValue> {
    let (a, b) = (c.primitive::<Int32Type>(0)?, c.optional::<Int32Type>(1)?);
    let seed = b.as_ref().and_then(|_| a.get(0));
    let bound = b.as_ref().unwrap_or(&a);
    let mut source = generator(c, seed);
    let draw = |i| bound.get(i).filter(|b| *b > 0).map(|b| source.random_range(0..b));
    let values: arrow::array::Int32Array = (0..c.args.number_rows).map(draw).collect();
    Ok(ColumnarValue::Array(Arc::new(values)))
}
