//! `INSERT INTO`: a query fitted to a table's columns.

use std::collections::HashMap;

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, try_cast};

use datafusion_sql::sqlparser::ast::Spanned;
use datafusion_sql::sqlparser::tokenizer::Span;

use super::ast::Insert;
use super::place::{Place, unknown};
use super::planner::Planner;
use super::types::flink_name_of;
use crate::Result;
use crate::plan::StreamTable;

/// The plan of an insert: the table's persisted columns, in order, with Flink's implicit casts.
pub(super) fn plan(
    insert: &Insert,
    table: &StreamTable,
    planner: &Planner<'_>,
    place: &Place<'_>,
) -> Result<LogicalPlan> {
    let query = planner.query(&insert.query, place)?;
    let persisted = persisted(table);
    let targets = targets(insert, &persisted, place)?;
    let given = query.schema().columns();
    let span = place.span_of(&insert.table);
    if given.len() != targets.len() {
        let message = format!(
            "the query has {} column(s), the table '{}' takes {}",
            given.len(),
            table.descriptor.name,
            targets.len()
        );
        return Err(place.error(span, message));
    }
    let types = query.schema().fields().iter().map(|f| f.data_type().clone());
    let given = given.into_iter().map(Expr::Column).zip(types);
    let sources: HashMap<&str, (Expr, DataType)> = targets.iter().map(|f| f.name().as_str()).zip(given).collect();
    let mut exprs = Vec::new();
    for field in &persisted {
        let expr = match sources.get(field.name().as_str()) {
            Some((expr, from)) => {
                fits(from, field.data_type(), field.name()).map_err(|m| place.error(column_span(insert, field), m))?;
                stored(expr.clone(), from, field.data_type())
            }
            None if field.is_nullable() => null_of(field)?,
            None => {
                let message = format!("the column '{}' is NOT NULL and gets no value", field.name());
                return Err(place.error(span, message));
            }
        };
        exprs.push(expr.alias(field.name()));
    }
    let built = LogicalPlanBuilder::from(query).project(exprs).and_then(LogicalPlanBuilder::build);
    built.map_err(|e| planner.explain(&e, place))
}

/// Where to point when a column does not fit: its name in the column list, else the table's.
fn column_span(insert: &Insert, field: &FieldRef) -> Span {
    let named = insert.columns.iter().find(|c| c.value == *field.name());
    named.map_or_else(|| insert.table.span(), |c| c.span)
}

/// The value as the column stores it. A decimal that does not fit is NULL, as in Flink.
fn stored(expr: Expr, from: &DataType, to: &DataType) -> Expr {
    match to {
        same if same == from => expr,
        DataType::Decimal128(..) => try_cast(expr, to.clone()),
        _ => cast(expr, to.clone()),
    }
}

fn fits(from: &DataType, to: &DataType, column: &str) -> Result<(), String> {
    if implicit(from, to) {
        return Ok(());
    }
    let (from, to) = (flink_name_of(from), flink_name_of(to));
    Err(format!("the column '{column}' is {to} and cannot take {from} without a CAST"))
}

/// Flink's implicit casts: to what holds every value, and between the timestamps.
fn implicit(from: &DataType, to: &DataType) -> bool {
    use DataType::{Date32, Decimal128, Float32, Float64, List, Map, Null, Struct, Time32, Time64, Timestamp};
    match (from, to) {
        (Null, _) => true,
        (from, to) if from == to => true,
        (from, Decimal128(..) | Float64) => from.is_numeric(),
        (from, Float32) => from.is_numeric() && *from != Float64,
        (from, to) if from.is_integer() && to.is_integer() => width(from) <= width(to),
        (Timestamp(..), Timestamp(..) | Date32 | Time32(_) | Time64(_)) => true,
        (Time32(_) | Time64(_), Time32(_) | Time64(_)) => true,
        (List(a), List(b)) | (Map(a, _), Map(b, _)) => implicit(a.data_type(), b.data_type()),
        (Struct(a), Struct(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| implicit(a.data_type(), b.data_type()))
        }
        (from, to) => flink_name_of(from) == flink_name_of(to),
    }
}

fn width(integer: &DataType) -> usize {
    integer.primitive_width().unwrap_or_default()
}

fn null_of(field: &FieldRef) -> Result<Expr> {
    Ok(Expr::Literal(ScalarValue::try_from(field.data_type())?, None))
}

fn persisted(table: &StreamTable) -> Vec<FieldRef> {
    let is_virtual = |i: usize| table.descriptor.metadata.iter().any(|m| m.column == i && m.is_virtual);
    let fields = table.descriptor.schema.fields().iter().enumerate();
    fields.filter(|(i, _)| !is_virtual(*i)).map(|(_, f)| f.clone()).collect()
}

fn targets(insert: &Insert, persisted: &[FieldRef], place: &Place<'_>) -> Result<Vec<FieldRef>> {
    if insert.columns.is_empty() {
        return Ok(persisted.to_vec());
    }
    let find = |name: &datafusion_sql::sqlparser::ast::Ident| {
        persisted.iter().find(|f| *f.name() == name.value).cloned().ok_or_else(|| {
            let known = persisted.iter().map(|f| f.name().as_str());
            place.error(name.span, unknown("column", &name.value, known))
        })
    };
    insert.columns.iter().map(find).collect()
}
