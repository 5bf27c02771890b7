//! How a scalar function is defined: a line in a table, and a body over columns.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, StringArray, StringBuilder};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, FieldRef};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::type_coercion::binary::type_union_resolution;
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::session::Session;

/// What an argument may be; values of other numeric types are brought to the one asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `STRING`.
    Text,
    /// `INT`.
    Int,
    /// `BIGINT`.
    BigInt,
    /// `DOUBLE`.
    Double,
    /// `BOOLEAN`.
    Bool,
    /// Anything, as it is.
    Any,
    /// The type that all arguments have in common.
    Common,
}

/// What is known of a call before it runs.
pub(super) struct Given<'a> {
    /// The arguments' types.
    pub(super) types: &'a [DataType],
    /// Those arguments that are constants.
    pub(super) constants: &'a [Option<&'a ScalarValue>],
    /// The session.
    pub(super) session: &'a Session,
}

impl Given<'_> {
    /// The type of an argument; `NULL` when it is not given.
    pub(super) fn type_of(&self, index: usize) -> DataType {
        self.types.get(index).cloned().unwrap_or(DataType::Null)
    }

    /// A constant whole number at that place.
    pub(super) fn constant_int(&self, index: usize) -> Option<i64> {
        match self.constants.get(index).copied().flatten()?.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(n)) => n,
            _ => None,
        }
    }

    /// A constant text at that place.
    pub(super) fn constant_text(&self, index: usize) -> Option<&str> {
        self.constants.get(index).copied().flatten()?.try_as_str().flatten()
    }
}

/// The result's type.
pub(super) type TypeOf = fn(&Given) -> Result<DataType>;

/// The body.
pub(super) type Body = fn(&Call) -> Result<ColumnarValue>;

/// A scalar function as a line in a table.
#[derive(Debug, Clone)]
pub(super) struct Def {
    /// Its name and its other names.
    pub(super) names: &'static [&'static str],
    /// Its parameters.
    pub(super) kinds: &'static [Kind],
    /// How many of them must be given.
    pub(super) required: usize,
    /// Whether the last one may be given more than once.
    pub(super) variadic: bool,
    /// The result's type.
    pub(super) returns: TypeOf,
    /// The body.
    pub(super) body: Body,
    /// Whether equal arguments give equal results.
    pub(super) volatility: Volatility,
}

/// A function whose parameters must all be given.
pub(super) const fn def(names: &'static [&'static str], kinds: &'static [Kind], returns: TypeOf, body: Body) -> Def {
    Def { names, kinds, required: kinds.len(), variadic: false, returns, body, volatility: Volatility::Immutable }
}

impl Def {
    /// The same with only the first `required` parameters mandatory.
    pub(super) const fn optional(mut self, required: usize) -> Self {
        self.required = required;
        self
    }

    /// The same with the last parameter as often as one likes.
    pub(super) const fn variadic(mut self) -> Self {
        self.variadic = true;
        self
    }

    /// The same, to be asked anew for every batch.
    pub(super) const fn volatile(mut self) -> Self {
        self.volatility = Volatility::Volatile;
        self
    }

    /// The function, within a session.
    pub(super) fn into_udf(self, session: &Session) -> ScalarUDF {
        let aliases = self.names.iter().skip(1).map(ToString::to_string).collect();
        let signature = match (self.kinds.is_empty(), self.required) {
            (true, _) => Signature::nullary(self.volatility),
            (false, 0) => {
                let some = TypeSignature::UserDefined;
                Signature::one_of(vec![TypeSignature::Nullary, some], self.volatility)
            }
            (false, _) => Signature::user_defined(self.volatility),
        };
        ScalarUDF::new_from_impl(Defined { def: self, aliases, signature, session: session.clone() })
    }
}

#[derive(Debug)]
struct Defined {
    def: Def,
    aliases: Vec<String>,
    signature: Signature,
    session: Session,
}

impl PartialEq for Defined {
    fn eq(&self, other: &Self) -> bool {
        self.def.names == other.def.names && self.session == other.session
    }
}

impl Eq for Defined {}

impl Hash for Defined {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.def.names.hash(state);
    }
}

impl ScalarUDFImpl for Defined {
    fn name(&self) -> &str {
        self.def.names.first().copied().unwrap_or_default()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        (self.def.returns)(&Given { types, constants: &vec![None; types.len()], session: &self.session })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let given = Given { types: &types, constants: args.scalar_arguments, session: &self.session };
        let data_type = (self.def.returns)(&given)?;
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let most = if self.def.variadic { usize::MAX } else { self.def.kinds.len() };
        if types.len() < self.def.required || types.len() > most {
            return plan_err!("{} takes {} arguments, {} are given", self.name(), self.arity(), types.len());
        }
        if self.def.kinds.contains(&Kind::Common) {
            return match type_union_resolution(types) {
                Some(common) => Ok(vec![common; types.len()]),
                None => plan_err!("the arguments of {} have no type in common", self.name().to_uppercase()),
            };
        }
        let kinds = self.def.kinds.iter().chain(self.def.kinds.last().into_iter().cycle());
        types.iter().zip(kinds).enumerate().map(|(i, (t, k))| self.coerce(i, t, *k)).collect()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        (self.def.body)(&Call { rows: if scalar { 1 } else { args.number_rows }, scalar, args, session: &self.session })
    }
}

impl Defined {
    fn arity(&self) -> String {
        match (self.def.required, self.def.kinds.len()) {
            (least, _) if self.def.variadic => format!("at least {least}"),
            (least, most) if least < most => format!("{least} to {most}"),
            (least, _) => least.to_string(),
        }
    }

    fn coerce(&self, index: usize, given: &DataType, kind: Kind) -> Result<DataType> {
        let (wanted, accepted) = match kind {
            Kind::Any | Kind::Common => return Ok(given.clone()),
            Kind::Text => (DataType::Utf8, is_text(given)),
            Kind::Int => (DataType::Int32, given.is_integer()),
            Kind::BigInt => (DataType::Int64, given.is_integer()),
            Kind::Double => (DataType::Float64, given.is_numeric()),
            Kind::Bool => (DataType::Boolean, *given == DataType::Boolean),
        };
        if accepted || *given == DataType::Null {
            return Ok(wanted);
        }
        plan_err!("argument {} of {} must be {:?}, it is {given}", index + 1, self.name().to_uppercase(), kind)
    }
}

/// Whether a type is one of Arrow's text types.
pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// A call: arguments, and helpers to answer row by row. With constants alone it has one row and answers a constant.
pub(super) struct Call<'a> {
    /// How many rows are to be answered.
    pub(super) rows: usize,
    scalar: bool,
    /// What DataFusion hands in.
    pub(super) args: ScalarFunctionArgs,
    /// The session.
    pub(super) session: &'a Session,
}

/// An argument as a column; a constant is a column of one row that is read again and again.
pub(super) struct Column<A> {
    array: A,
    constant: bool,
}

impl<A: Array> Column<A> {
    fn at(&self, row: usize) -> Option<usize> {
        let row = if self.constant { 0 } else { row };
        self.array.is_valid(row).then_some(row)
    }
}

impl<A> Column<A> {
    /// An array as a column.
    pub(super) fn new(array: A, constant: bool) -> Self {
        Self { array, constant }
    }
}

impl Column<StringArray> {
    /// The text in a row.
    pub(super) fn get(&self, row: usize) -> Option<&str> {
        self.at(row).map(|row| self.array.value(row))
    }

    /// The text, when it is the same in all rows.
    pub(super) fn constant(&self) -> Option<&str> {
        if self.constant { self.get(0) } else { None }
    }
}

impl<T: ArrowPrimitiveType> Column<PrimitiveArray<T>> {
    /// The value in a row.
    pub(super) fn get(&self, row: usize) -> Option<T::Native> {
        self.at(row).map(|row| self.array.value(row))
    }
}

impl Call<'_> {
    /// How many arguments there are.
    pub(super) fn len(&self) -> usize {
        self.args.args.len()
    }

    /// An argument's type.
    pub(super) fn type_of(&self, index: usize) -> Result<DataType> {
        Ok(self.value(index)?.data_type())
    }

    fn value(&self, index: usize) -> Result<&ColumnarValue> {
        match self.args.args.get(index) {
            Some(value) => Ok(value),
            None => exec_err!("argument {} is missing", index + 1),
        }
    }

    /// An argument as an array of one row or of all rows, and whether it is the former.
    pub(super) fn array(&self, index: usize) -> Result<(ArrayRef, bool)> {
        Ok(match self.value(index)? {
            ColumnarValue::Scalar(s) => (s.to_array()?, true),
            ColumnarValue::Array(a) => (Arc::clone(a), false),
        })
    }

    /// An argument as an array of all rows.
    pub(super) fn full_array(&self, index: usize) -> Result<ArrayRef> {
        self.value(index)?.to_array(self.rows)
    }

    /// An argument that is text.
    pub(super) fn text(&self, index: usize) -> Result<Column<StringArray>> {
        let (array, constant) = self.array(index)?;
        match array.as_string_opt::<i32>() {
            Some(a) => Ok(Column { array: a.clone(), constant }),
            None => exec_err!("argument {} must be text, it is {}", index + 1, array.data_type()),
        }
    }

    /// An argument that is text, if it is given.
    pub(super) fn optional_text(&self, index: usize) -> Result<Option<Column<StringArray>>> {
        if index < self.len() { self.text(index).map(Some) } else { Ok(None) }
    }

    /// An argument of a primitive type.
    pub(super) fn primitive<T: ArrowPrimitiveType>(&self, index: usize) -> Result<Column<PrimitiveArray<T>>> {
        let (array, constant) = self.array(index)?;
        match array.as_primitive_opt::<T>() {
            Some(a) => Ok(Column { array: a.clone(), constant }),
            None => exec_err!("argument {} must be {}, it is {}", index + 1, T::DATA_TYPE, array.data_type()),
        }
    }

    /// An argument of a primitive type, if it is given.
    pub(super) fn optional<T: ArrowPrimitiveType>(&self, index: usize) -> Result<Option<Column<PrimitiveArray<T>>>> {
        if index < self.len() { self.primitive(index).map(Some) } else { Ok(None) }
    }

    /// Answers text, row by row.
    pub(super) fn texts<S: AsRef<str>>(&self, f: impl Fn(usize) -> Option<S>) -> Result<ColumnarValue> {
        let mut builder = StringBuilder::with_capacity(self.rows, self.rows * 8);
        (0..self.rows).for_each(|row| builder.append_option(f(row)));
        self.answer(Arc::new(builder.finish()))
    }

    /// Answers values of a primitive type, row by row, in the type that the call returns.
    pub(super) fn primitives<T: ArrowPrimitiveType>(
        &self,
        f: impl Fn(usize) -> Option<T::Native>,
    ) -> Result<ColumnarValue> {
        let array: PrimitiveArray<T> = (0..self.rows).map(f).collect();
        self.answer(Arc::new(array.with_data_type(self.args.return_field.data_type().clone())))
    }

    /// Answers truth values, row by row.
    pub(super) fn bools(&self, f: impl Fn(usize) -> Option<bool>) -> Result<ColumnarValue> {
        let array: BooleanArray = (0..self.rows).map(f).collect();
        self.answer(Arc::new(array))
    }

    /// Answers an array, as a constant where all arguments are.
    pub(super) fn answer(&self, array: ArrayRef) -> Result<ColumnarValue> {
        Ok(if self.scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
        } else {
            ColumnarValue::Array(array)
        })
    }
}

/// Always `STRING`.
pub(super) fn text(_: &Given) -> Result<DataType> {
    Ok(DataType::Utf8)
}

/// Always `INT`.
pub(super) fn int(_: &Given) -> Result<DataType> {
    Ok(DataType::Int32)
}

/// Always `BIGINT`.
pub(super) fn bigint(_: &Given) -> Result<DataType> {
    Ok(DataType::Int64)
}

/// Always `DOUBLE`.
pub(super) fn double(_: &Given) -> Result<DataType> {
    Ok(DataType::Float64)
}

/// Always `BOOLEAN`.
pub(super) fn boolean(_: &Given) -> Result<DataType> {
    Ok(DataType::Boolean)
}
