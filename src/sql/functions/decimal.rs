//! Arithmetic of decimals: Flink's result types, half up, NULL where the result does not fit.

use std::sync::Arc;

use arrow::array::{AsArray, Decimal128Array};
use arrow::datatypes::{DataType, i256};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The precision and scale of a decimal; whole numbers have those of the decimal that holds them all.
pub(super) fn precision_and_scale(data_type: &DataType) -> Option<(u8, i8)> {
    Some(match data_type {
        DataType::Decimal128(p, s) => (*p, *s),
        DataType::Int8 => (3, 0),
        DataType::Int16 | DataType::UInt8 => (5, 0),
        DataType::Int32 | DataType::UInt16 => (10, 0),
        DataType::Int64 | DataType::UInt32 => (19, 0),
        DataType::UInt64 => (20, 0),
        _ => return None,
    })
}

/// The type of `left op right`; and whether Arrow computes the same type, without ever overflowing it.
pub(super) fn result_type(op: Operator, left: (u8, i8), right: (u8, i8)) -> Option<(DataType, bool)> {
    let wide = |(p, s): (u8, i8)| (i32::from(p), i32::from(s));
    let ((p1, s1), (p2, s2)) = (wide(left), wide(right));
    let (precision, scale) = match op {
        Operator::Plus | Operator::Minus => {
            let scale = s1.max(s2);
            ((p1 - s1).max(p2 - s2) + scale + 1, scale)
        }
        Operator::Multiply => (p1 + p2 + 1, s1 + s2),
        Operator::Divide => {
            let scale = 6.max(s1 + p2 + 1);
            (p1 - s1 + s2 + scale, scale)
        }
        Operator::Modulo => {
            let scale = s1.max(s2);
            ((p1 - s1).min(p2 - s2) + scale, scale)
        }
        _ => return None,
    };
    let native = precision <= 38 && matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply);
    let (precision, scale) = fitted(precision, scale);
    Some((DataType::Decimal128(u8::try_from(precision).ok()?, i8::try_from(scale).ok()?), native))
}

/// Gives up places behind the point, down to 6, for those before it.
fn fitted(precision: i32, scale: i32) -> (i32, i32) {
    if precision <= 38 {
        return (precision.max(1), scale);
    }
    let whole = precision - scale;
    (38, (38 - whole).max(scale.min(6)))
}

/// `left op right` over decimals.
pub(super) fn call(op: Operator, left: Expr, right: Expr, result: DataType) -> Expr {
    let signature = Signature::any(2, Volatility::Immutable);
    ScalarUDF::new_from_impl(DecimalOp { op, result, signature }).call(vec![left, right])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DecimalOp {
    op: Operator,
    result: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for DecimalOp {
    fn name(&self) -> &str {
        match self.op {
            Operator::Plus => "decimal_add",
            Operator::Minus => "decimal_subtract",
            Operator::Multiply => "decimal_multiply",
            Operator::Divide => "decimal_divide",
            _ => "decimal_mod",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|a| a.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let [left, right] = arrays.as_slice() else { return exec_err!("{} takes two arguments", self.name()) };
        let array = self.compute(left.as_primitive(), right.as_primitive())?;
        Ok(if scalar {
            ColumnarValue::Scalar(datafusion_common::ScalarValue::try_from_array(&array, 0)?)
        } else {
            ColumnarValue::Array(Arc::new(array))
        })
    }
}

impl DecimalOp {
    fn compute(&self, left: &Decimal128Array, right: &Decimal128Array) -> Result<Decimal128Array> {
        let DataType::Decimal128(precision, scale) = self.result else {
            return exec_err!("{} gives decimals", self.name());
        };
        let (s1, s2) = (left.scale(), right.scale());
        let limit = i256::from_i128(10).wrapping_pow(u32::from(precision));
        let one = |pair: (Option<i128>, Option<i128>)| -> Result<Option<i128>> {
            let (Some(a), Some(b)) = pair else { return Ok(None) };
            if b == 0 && matches!(self.op, Operator::Divide | Operator::Modulo) {
                return exec_err!("division by zero");
            }
            let exact = self.exact((i256::from_i128(a), s1), (i256::from_i128(b), s2), scale);
            Ok(exact.filter(|v| v.wrapping_abs() < limit).and_then(i256::to_i128))
        };
        let values = left.iter().zip(right.iter()).map(one).collect::<Result<Decimal128Array>>()?;
        Ok(values.with_data_type(self.result.clone()))
    }

    fn exact(&self, (a, s1): (i256, i8), (b, s2): (i256, i8), scale: i8) -> Option<i256> {
        let common = s1.max(s2);
        let up = |v: i256, from: i8, to: i8| v.checked_mul(ten(i32::from(to) - i32::from(from))?);
        match self.op {
            Operator::Plus => rescale(up(a, s1, common)?.checked_add(up(b, s2, common)?)?, common, scale),
            Operator::Minus => rescale(up(a, s1, common)?.checked_sub(up(b, s2, common)?)?, common, scale),
            Operator::Multiply => rescale(a.checked_mul(b)?, s1.checked_add(s2)?, scale),
            Operator::Divide => {
                let shift = i32::from(scale) + i32::from(s2) - i32::from(s1);
                if shift >= 0 {
                    half_up(a.checked_mul(ten(shift)?)?, b)
                } else {
                    half_up(a, b.checked_mul(ten(-shift)?)?)
                }
            }
            _ => rescale(up(a, s1, common)?.checked_rem(up(b, s2, common)?)?, common, scale),
        }
    }
}

fn ten(n: i32) -> Option<i256> {
    i256::from_i128(10).checked_pow(u32::try_from(n).ok()?)
}

fn rescale(v: i256, from: i8, to: i8) -> Option<i256> {
    let shift = i32::from(to) - i32::from(from);
    if shift >= 0 { v.checked_mul(ten(shift)?) } else { half_up(v, ten(-shift)?) }
}

fn half_up(a: i256, b: i256) -> Option<i256> {
    let (quotient, rest) = (a.checked_div(b)?, a.checked_rem(b)?);
    let twice = rest.wrapping_abs().checked_mul(i256::from_i128(2))?;
    if twice < b.wrapping_abs() {
        return Some(quotient);
    }
    let negative = a.is_negative() != b.is_negative();
    quotient.checked_add(i256::from_i128(if negative { -1 } else { 1 }))
}
