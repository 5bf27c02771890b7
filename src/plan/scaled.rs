//! A whole number times a decimal literal, at once, also where a DOUBLE is made of the product.
//!
//! `0.908 * price` is planned as a cast of `price` to a decimal, checked value by value, and a product, checked again. Where the types
//! alone tell that neither can overflow, one pass does both.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema,
};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion_expr::{ColumnarValue, Operator};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, CastExpr, Literal};

use crate::Result;

/// A whole number times a constant, as a decimal that holds every such product.
#[derive(Debug, Eq)]
struct ScaledInteger {
    input: Arc<dyn PhysicalExpr>,
    factor: i128,
    precision: u8,
    scale: i8,
    /// Whether the product is given as a DOUBLE.
    double: bool,
}

/// The expression with products of whole numbers and decimal literals taken together.
pub(super) fn fuse(expr: Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    let fused = expr.transform_up(|expr| {
        Ok(match scaled(&expr, schema).or_else(|| as_double(&expr)) {
            Some(scaled) => Transformed::yes(Arc::new(scaled) as _),
            None => Transformed::no(expr),
        })
    })?;
    Ok(fused.data)
}

fn scaled(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<ScaledInteger> {
    let product = expr.downcast_ref::<BinaryExpr>().filter(|b| *b.op() == Operator::Multiply)?;
    let sides = [(product.left(), product.right()), (product.right(), product.left())];
    let (literal, cast) =
        sides.into_iter().find_map(|(a, b)| Some((a.downcast_ref::<Literal>()?, b.downcast_ref::<CastExpr>()?)))?;
    let ScalarValue::Decimal128(Some(factor), _, factor_scale) = literal.value() else { return None };
    let DataType::Decimal128(cast_precision, 0) = cast.cast_type() else { return None };
    let DataType::Decimal128(precision, scale) = expr.data_type(schema).ok()? else { return None };
    let digits = integer_digits(&cast.expr().data_type(schema).ok()?)?;
    let factor_digits = factor.unsigned_abs().checked_ilog10().map_or(1, |n| n as u8 + 1);
    let fits = *cast_precision >= digits && scale == *factor_scale && precision >= digits + factor_digits;
    let input = Arc::clone(cast.expr());
    fits.then_some(ScaledInteger { input, factor: *factor, precision, scale, double: false })
}

/// A product that is cast to DOUBLE.
fn as_double(expr: &Arc<dyn PhysicalExpr>) -> Option<ScaledInteger> {
    let cast = expr.downcast_ref::<CastExpr>().filter(|c| *c.cast_type() == DataType::Float64)?;
    let product = cast.expr().downcast_ref::<ScaledInteger>().filter(|p| !p.double && p.scale >= 0)?;
    let ScaledInteger { input, factor, precision, scale, .. } = product;
    Some(ScaledInteger {
        input: Arc::clone(input),
        factor: *factor,
        precision: *precision,
        scale: *scale,
        double: true,
    })
}

/// How many decimal digits the values of a type have at most.
fn integer_digits(data_type: &DataType) -> Option<u8> {
    match data_type {
        DataType::Int8 => Some(3),
        DataType::Int16 => Some(5),
        DataType::Int32 => Some(10),
        DataType::Int64 => Some(19),
        _ => None,
    }
}

impl ScaledInteger {
    fn multiply<T: ArrowPrimitiveType>(&self, values: &ArrayRef) -> DataFusionResult<ArrayRef>
    where
        T::Native: Into<i128>,
    {
        if self.double {
            let divisor = 10_f64.powi(i32::from(self.scale));
            // Of 64 bits where that is enough: the same number, and much quicker made a DOUBLE of.
            let quotient = |product: i128| match i64::try_from(product) {
                Ok(product) => product as f64 / divisor,
                Err(_) => product as f64 / divisor,
            };
            let doubles: PrimitiveArray<Float64Type> =
                values.as_primitive::<T>().unary(|value| quotient(value.into() * self.factor));
            return Ok(Arc::new(doubles));
        }
        let products: PrimitiveArray<Decimal128Type> =
            values.as_primitive::<T>().unary(|value| value.into() * self.factor);
        Ok(Arc::new(products.with_precision_and_scale(self.precision, self.scale)?))
    }
}

impl PhysicalExpr for ScaledInteger {
    fn data_type(&self, _: &Schema) -> DataFusionResult<DataType> {
        Ok(if self.double { DataType::Float64 } else { DataType::Decimal128(self.precision, self.scale) })
    }

    fn nullable(&self, input_schema: &Schema) -> DataFusionResult<bool> {
        self.input.nullable(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DataFusionResult<ColumnarValue> {
        let values = self.input.evaluate(batch)?.into_array(batch.num_rows())?;
        let products = match values.data_type() {
            DataType::Int8 => self.multiply::<Int8Type>(&values),
            DataType::Int16 => self.multiply::<Int16Type>(&values),
            DataType::Int32 => self.multiply::<Int32Type>(&values),
            DataType::Int64 => self.multiply::<Int64Type>(&values),
            other => Err(DataFusionError::Internal(format!("{other} where a whole number was planned"))),
        };
        products.map(ColumnarValue::Array)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        let input = children.into_iter().next();
        let input = input.ok_or_else(|| DataFusionError::Internal("a product without its factor".into()))?;
        let Self { factor, precision, scale, double, .. } = *self;
        Ok(Arc::new(Self { input, factor, precision, scale, double }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.input.fmt_sql(f)?;
        write!(f, " * {}", ScalarValue::Decimal128(Some(self.factor), self.precision, self.scale))
    }
}

impl fmt::Display for ScaledInteger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let factor = ScalarValue::Decimal128(Some(self.factor), self.precision, self.scale);
        let cast = if self.double { " as DOUBLE" } else { "" };
        write!(f, "{} * {factor}{cast}", self.input)
    }
}

// By hand, as deriving it for `Arc<dyn …>` moves out of the other (rust-lang/rust#78808).
impl PartialEq for ScaledInteger {
    fn eq(&self, other: &Self) -> bool {
        self.input.eq(&other.input)
            && (self.factor, self.precision, self.scale, self.double)
                == (other.factor, other.precision, other.scale, other.double)
    }
}

impl std::hash::Hash for ScaledInteger {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        (self.factor, self.precision, self.scale, self.double).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::Field;
    use datafusion_physical_expr::expressions::{binary, cast, col, lit};

    use super::*;

    /// `factor * a`, as it is planned for a factor with a scale of 3.
    fn product(factor: i128, data_type: DataType, schema: &Schema) -> Arc<dyn PhysicalExpr> {
        let literal = lit(ScalarValue::Decimal128(Some(factor), 3, 3));
        let number = cast(col("a", schema).unwrap(), schema, data_type).unwrap();
        binary(literal, Operator::Multiply, number, schema).unwrap()
    }

    #[test]
    fn products_are_what_they_were() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let values = [Some(0), Some(1), None, Some(-7), Some(i64::MAX), Some(i64::MIN)];
        let rows =
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(values.to_vec()))]).unwrap();
        for factor in [0, 1, 908, -999] {
            let decimal = product(factor, DataType::Decimal128(19, 0), &schema);
            let double = cast(Arc::clone(&decimal), &schema, DataType::Float64).unwrap();
            for before in [decimal, double] {
                let after = fuse(Arc::clone(&before), &schema).unwrap();
                assert!(after.downcast_ref::<ScaledInteger>().is_some(), "{after}");
                let results = [before, after].map(|e| e.evaluate(&rows).unwrap().into_array(6).unwrap());
                assert_eq!(&results[0], &results[1], "{factor}");
            }
        }
    }

    #[test]
    fn what_can_overflow_is_left_to_be_checked() {
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, true)]);
        let narrow = fuse(product(908, DataType::Decimal128(10, 0), &schema), &schema).unwrap();
        assert!(narrow.downcast_ref::<ScaledInteger>().is_none(), "{narrow}");
    }
}
