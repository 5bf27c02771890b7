//! `INSERT INTO`: a query fitted to a table's columns.

use std::collections::HashMap;

use arrow::datatypes::FieldRef;
use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};

use super::ast::Insert;
use super::place::{Place, unknown};
use super::planner::Planner;
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
            "the query has {} columns, the table '{}' takes {}",
            given.len(),
            table.descriptor.name,
            targets.len()
        );
        return Err(place.error(span, message));
    }
    let sources: HashMap<&str, Expr> =
        targets.iter().map(|f| f.name().as_str()).zip(given.into_iter().map(Expr::Column)).collect();
    let mut exprs = Vec::new();
    for field in &persisted {
        let expr = match sources.get(field.name().as_str()) {
            Some(expr) => cast(expr.clone(), field.data_type().clone()),
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
