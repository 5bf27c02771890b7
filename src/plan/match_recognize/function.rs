//! What conditions and measures say of a match's rows, as functions in expressions. They are planned, never called.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion_common::{Result, internal_err, plan_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::operator::match_recognize::{Navigation, Variables};

/// A function of one argument, of any type.
fn one() -> Signature {
    Signature::any(1, Volatility::Volatile)
}

/// The argument's value in a row of the match, or, without an argument, the name of the row's variable.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Navigate {
    /// The row.
    pub navigation: Navigation,
    /// As it is shown.
    name: String,
    signature: Signature,
}

impl Navigate {
    /// A value of a row.
    pub fn call(navigation: Navigation, name: String, value: Expr) -> Expr {
        let function = Self { navigation, name, signature: one() };
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(function)), vec![value]))
    }
}

/// `CLASSIFIER()`.
pub fn classifier(navigation: Navigation) -> Expr {
    let signature = Signature::nullary(Volatility::Volatile);
    let function = Navigate { navigation, name: "CLASSIFIER".into(), signature };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(function)), vec![]))
}

impl ScalarUDFImpl for Navigate {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Utf8))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let data_type = args.arg_fields.first().map_or(DataType::Utf8, |f| f.data_type().clone());
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("a row of a match asked for outside of it")
    }
}

/// An aggregate over the rows of some variables.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Over {
    /// The variables.
    pub variables: Variables,
    /// Whether it is of the whole match in each of its rows.
    pub whole: bool,
    name: String,
    signature: Signature,
}

impl Over {
    /// An aggregate of rows.
    pub fn call(variables: Variables, whole: bool, name: String, aggregate: Expr) -> Expr {
        let function = Self { variables, whole, name, signature: one() };
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(function)), vec![aggregate]))
    }
}

impl ScalarUDFImpl for Over {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().map_or_else(|| plan_err!("an aggregate is missing"), |t| Ok(t.clone()))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let Some(field) = args.arg_fields.first() else { return plan_err!("an aggregate is missing") };
        Ok(Arc::new(Field::new(self.name(), field.data_type().clone(), field.is_nullable())))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("an aggregate of a match's rows asked for outside of it")
    }
}

/// `MATCH_ROWTIME()`: when the match was found.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Instant {
    /// Whether it is of the type of its argument; else it is a TIMESTAMP(3).
    as_column: bool,
    signature: Signature,
}

impl Instant {
    /// By the time that a column holds.
    pub fn call(time: Expr, as_column: bool) -> Expr {
        let function = Self { as_column, signature: one() };
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(function)), vec![time]))
    }
}

impl ScalarUDFImpl for Instant {
    fn name(&self) -> &str {
        "MATCH_ROWTIME"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [time @ DataType::Timestamp(..)] if self.as_column => Ok(time.clone()),
            [DataType::Timestamp(..)] => Ok(DataType::Timestamp(TimeUnit::Millisecond, None)),
            _ => plan_err!("MATCH_ROWTIME() is of rows that are ordered by a TIMESTAMP"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, false)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("the time of a match asked for outside of it")
    }
}

/// `MATCH_NUMBER()`: the number of the match in its partition, from 1 on.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct MatchNumber {
    signature: Signature,
}

impl MatchNumber {
    /// The number.
    pub fn call() -> Expr {
        let function = Self { signature: Signature::nullary(Volatility::Volatile) };
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(function)), vec![]))
    }
}

impl ScalarUDFImpl for MatchNumber {
    fn name(&self) -> &str {
        "MATCH_NUMBER"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("the number of a match asked for outside of it")
    }
}
