//! CAST and TRY_CAST as Flink has them, where Arrow's differ.

mod number;
mod parse;
mod show;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, exec_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::define::is_text;
use super::temporal::{Times, from_ticks, to_ticks};

/// `CAST(x AS to)` or `TRY_CAST(x AS to)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct FlinkCast {
    to: DataType,
    /// TRY_CAST: what does not fit is NULL.
    lenient: bool,
    signature: Signature,
}

/// A cast by Flink's rules; nothing where Arrow's cast does the same.
pub(super) fn flink_cast(expr: &Expr, from: &DataType, to: &DataType, lenient: bool) -> Option<Expr> {
    if !differs(from, to) {
        return None;
    }
    let signature = Signature::any(1, Volatility::Immutable);
    let udf = FlinkCast { to: to.clone(), lenient, signature };
    let call = ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(udf)), vec![expr.clone()]);
    Some(Expr::ScalarFunction(call))
}

fn differs(from: &DataType, to: &DataType) -> bool {
    use DataType as D;
    if from == to || *from == D::Null {
        return false;
    }
    match (from, to) {
        (f, t) if is_text(f) && is_text(t) => false,
        (f, t) if is_text(f) => !matches!(t, D::Binary | D::LargeBinary | D::BinaryView),
        (D::Binary, t) if is_text(t) => false,
        (f, t) if is_text(t) => !f.is_integer(),
        (D::Boolean, _) => false,
        (f, D::Boolean) => f.is_decimal(),
        (f, t) if f.is_integer() && t.is_integer() => number::bits(f) > number::bits(t),
        (f, t) if f.is_numeric() && t.is_integer() => true,
        (f, D::Decimal128(..)) => f.is_numeric(),
        (D::Timestamp(_, f), D::Timestamp(_, t)) => f.is_some() != t.is_some(),
        (D::Timestamp(..), D::Date32 | D::Time32(_) | D::Time64(_)) => true,
        (D::Date32 | D::Time32(_) | D::Time64(_), D::Timestamp(..)) => true,
        _ => false,
    }
}

impl ScalarUDFImpl for FlinkCast {
    fn name(&self) -> &str {
        if self.lenient { "try_cast" } else { "cast" }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let args = args.iter().map(|a| a.schema_name().to_string()).collect::<String>();
        Ok(format!("{}({args} AS {})", self.name(), self.to))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        // A decimal that overflows is NULL.
        let from_nullable = args.arg_fields.iter().any(|f| f.is_nullable());
        let nullable = from_nullable || self.lenient || self.to.is_decimal();
        Ok(Arc::new(Field::new(self.name(), self.to.clone(), nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.first() {
            Some(ColumnarValue::Scalar(s)) => {
                let array = self.cast(&s.to_array()?)?;
                Ok(ColumnarValue::Scalar(datafusion_common::ScalarValue::try_from_array(&array, 0)?))
            }
            Some(ColumnarValue::Array(a)) => Ok(ColumnarValue::Array(self.cast(a)?)),
            None => exec_err!("CAST without a value"),
        }
    }
}

impl FlinkCast {
    fn cast(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let (from, to) = (array.data_type(), &self.to);
        if is_text(from) {
            let text = arrow::compute::cast(array, &DataType::Utf8)?;
            return parse::from_text(&text, to, self.lenient);
        }
        if is_text(to) {
            return Ok(arrow::compute::cast(&show::to_text(array)?, to)?);
        }
        match to {
            t if t.is_integer() => number::to_integer(array, t),
            DataType::Decimal128(..) => number::to_decimal(array, to),
            t if t.is_temporal() => self.between_times(array),
            _ => Ok(cast_with_options(array, to, &CastOptions { safe: self.lenient, ..Default::default() })?),
        }
    }

    /// TIMESTAMP_LTZ shows what the clocks of its zone show.
    fn between_times(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let times = Times::of_array(array, false)?;
        let values = (0..array.len()).map(|i| to_ticks(times.get(i)?, &self.to)).collect();
        from_ticks(values, &self.to)
    }
}
