//! Arrays, maps and rows, where Flink's functions differ from DataFusion's of the same name.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StructArray, UInt64Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF};
use datafusion_functions_nested::concat::array_prepend_udf;
use datafusion_functions_nested::extract::array_slice_udf;
use datafusion_functions_nested::map::map_udf;
use datafusion_functions_nested::position::array_position_udf;
use datafusion_functions_nested::remove::array_remove_all_udf;

use super::define::Kind::{Any, BigInt};
use super::define::{Call, Def, Given, def, int};

/// The functions of this file.
pub(super) fn functions() -> Vec<Def> {
    vec![
        def(&["cardinality"], &[Any], int, cardinality),
        def(&["element"], &[Any], element_type, element),
        def(&["array_prepend"], &[Any, Any], first, |c| delegate(c, &array_prepend_udf(), &[1, 0], vec![])),
        def(&["array_position"], &[Any, Any], int, position),
        def(&["array_remove"], &[Any, Any], first, |c| delegate(c, &array_remove_all_udf(), &[0, 1], vec![])),
        def(&["array_slice"], &[Any, BigInt, BigInt], first, slice).optional(2),
        def(&["map_from_arrays"], &[Any, Any], map_type, |c| delegate(c, &map_udf(), &[0, 1], vec![])),
        def(&["row"], &[Any], row_type, row).variadic(),
    ]
}

fn first(given: &Given) -> Result<DataType> {
    match given.type_of(0) {
        list @ DataType::List(_) => Ok(list),
        other => plan_err!("an array is needed, not {other}"),
    }
}

fn element_type(given: &Given) -> Result<DataType> {
    match given.type_of(0) {
        DataType::List(item) => Ok(item.data_type().clone()),
        other => plan_err!("ELEMENT takes an array, not {other}"),
    }
}

fn map_type(given: &Given) -> Result<DataType> {
    map_udf().return_type(given.types)
}

/// Calls DataFusion's function with some of the arguments, in that order, and more.
fn delegate(c: &Call, to: &ScalarUDF, order: &[usize], more: Vec<ScalarValue>) -> Result<ColumnarValue> {
    let element = match c.type_of(0)? {
        DataType::List(item) => Some(item.data_type().clone()),
        _ => None,
    };
    let mut args = Vec::with_capacity(order.len() + more.len());
    for index in order {
        let Some(arg) = c.args.args.get(*index) else { return exec_err!("argument {} is missing", index + 1) };
        args.push(match (&element, arg.data_type()) {
            (Some(element), given) if !given.is_nested() && !given.is_integer() && given != *element => {
                arg.cast_to(element, None)?
            }
            _ => arg.clone(),
        });
    }
    args.extend(more.into_iter().map(ColumnarValue::Scalar));
    let fields: Vec<FieldRef> = args.iter().map(|a| Arc::new(Field::new("argument", a.data_type(), true))).collect();
    let constants = vec![None; args.len()];
    let given = ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &constants };
    let return_field = to.return_field_from_args(given)?;
    to.invoke_with_args(ScalarFunctionArgs {
        args,
        arg_fields: fields,
        number_rows: c.rows,
        return_field,
        config_options: Arc::clone(&c.args.config_options),
    })
}

fn cardinality(c: &Call) -> Result<ColumnarValue> {
    let (array, constant) = c.array(0)?;
    let lengths = arrow::compute::kernels::length::length(&as_list(&array)?)?;
    let lengths = cast(&lengths, &DataType::Int64)?;
    let lengths = super::define::Column::new(lengths.as_primitive::<Int64Type>().clone(), constant);
    c.primitives::<arrow::datatypes::Int32Type>(|i| i32::try_from(lengths.get(i)?).ok())
}

/// A map as the list of its entries.
fn as_list(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Map(entries, _) => {
            let data = array.to_data().into_builder().data_type(DataType::List(Arc::clone(entries))).build()?;
            Ok(arrow::array::make_array(data))
        }
        DataType::List(_) => Ok(Arc::clone(array)),
        other => exec_err!("CARDINALITY takes an array or a map, not {other}"),
    }
}

/// The only element; NULL of an empty array; more than one is an error.
fn element(c: &Call) -> Result<ColumnarValue> {
    let array = c.full_array(0)?;
    let list = array.as_list::<i32>();
    let mut places = Vec::with_capacity(list.len());
    for (row, pair) in list.value_offsets().windows(2).enumerate() {
        let [from, to] = pair else { continue };
        places.push(match to - from {
            _ if list.is_null(row) => None,
            0 => None,
            1 => u64::try_from(*from).ok(),
            n => return exec_err!("ELEMENT of an array with {n} elements"),
        });
    }
    c.answer(take(list.values(), &UInt64Array::from(places), None)?)
}

/// 0 when it is not there.
fn position(c: &Call) -> Result<ColumnarValue> {
    let found = delegate(c, &array_position_udf(), &[0, 1], vec![])?.to_array(c.rows)?;
    let found = cast(&found, &DataType::Int32)?;
    let (list, item) = (c.full_array(0)?, c.full_array(1)?);
    let answers = found.as_primitive::<arrow::datatypes::Int32Type>().iter().enumerate();
    let answers = answers.map(|(i, n)| (list.is_valid(i) && item.is_valid(i)).then(|| n.unwrap_or(0)));
    c.answer(Arc::new(answers.collect::<Int32Array>()))
}

fn slice(c: &Call) -> Result<ColumnarValue> {
    if c.len() == 2 {
        return delegate(c, &array_slice_udf(), &[0, 1], vec![ScalarValue::Int64(Some(i64::from(i32::MAX)))]);
    }
    delegate(c, &array_slice_udf(), &[0, 1, 2], vec![])
}

fn row_type(given: &Given) -> Result<DataType> {
    let field = |(i, t): (usize, &DataType)| Field::new(format!("EXPR${i}"), t.clone(), true);
    Ok(DataType::Struct(given.types.iter().enumerate().map(field).collect()))
}

fn row(c: &Call) -> Result<ColumnarValue> {
    let columns = (0..c.len()).map(|i| c.full_array(i)).collect::<Result<Vec<_>>>()?;
    let fields = match c.args.return_type() {
        DataType::Struct(fields) => fields.clone(),
        _ => Fields::empty(),
    };
    c.answer(Arc::new(StructArray::try_new(fields, columns, None)?))
}
