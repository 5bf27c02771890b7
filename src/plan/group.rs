//! Aggregates that are updated: GROUP BY without windows, aggregates over everything, DISTINCT.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_expr::Expr;
use datafusion_expr::logical_plan::Aggregate as LogicalAggregate;
use datafusion_physical_expr::expressions::Column;

use super::aggregate::{Keys, grouping_sets, lower_aggregate, prepare};
use super::compile::Compiler;
use crate::operator::group_aggregate::{Aggregate, GroupAggregateFactory, Keeping, keeping};
use crate::runtime::circuit::{Changelog, NodeId, NodeNotes};
use crate::runtime::{Bound, Held};
use crate::{Error, Result};

/// Lowers an aggregate that is not over windows; `all` are its group expressions.
pub(super) fn lower(compiler: &mut Compiler, aggregate: &LogicalAggregate, all: Vec<&Expr>) -> Result<NodeId> {
    let input = compiler.lower(&aggregate.input)?;
    let keys = Keys { window: vec![None; all.len()], all };
    let sets = grouping_sets(&aggregate.group_expr, &keys)?;
    let prepared = prepare(compiler, input, aggregate.input.schema(), &keys, sets.as_deref())?;
    let calls = aggregate.aggr_expr.iter().map(|e| lower_aggregate(e, aggregate.input.schema()));
    let aggregates = calls.collect::<Result<Vec<_>>>()?;

    let exchanged = compiler.exchange(prepared.node, prepared.keys.clone());
    let node = compiler.circuit.node(exchanged);
    let (before, changelog) = (Arc::clone(&node.schema), node.notes.changelog);
    let schema = result_schema(aggregate, &before, &prepared.keys, &aggregates)?;
    let state_ttl = compiler.state_ttl(&aggregate.input);
    let changing = changelog != Changelog::Append;
    let key_names: Vec<&str> = prepared.keys.iter().map(|k| before.field(*k).name().as_str()).collect();
    let shown: Vec<String> = aggregate.aggr_expr.iter().map(|e| e.human_display().to_string()).collect();
    let notes = NodeNotes {
        detail: format!("keys=[{}], aggregates=[{}]", key_names.join(", "), shown.join(", ")),
        // Without aggregates there is nothing to update: what has come once stays.
        changelog: if aggregates.is_empty() { changelog } else { Changelog::Retract },
        keys: vec![(0..prepared.keys.len()).collect()],
        net: true,
        bound: Some(bound(&key_names, aggregates.iter().zip(&shown), changing, state_ttl)),
        ..NodeNotes::default()
    };
    let factory = GroupAggregateFactory {
        keys: prepared.keys,
        aggregates,
        input: before,
        schema: Arc::clone(&schema),
        changing,
        ttl: state_ttl,
    };
    Ok(compiler.operator(factory, vec![exchanged], schema, notes))
}

/// The result's columns: the aggregate's names, with the types that really come.
fn result_schema(
    aggregate: &LogicalAggregate,
    input: &Schema,
    keys: &[usize],
    aggregates: &[Aggregate],
) -> Result<SchemaRef> {
    let named = aggregate.schema.fields();
    if named.len() != keys.len() + aggregates.len() {
        return Err(Error::internal("an aggregate with another number of columns than its plan"));
    }
    let of_keys = keys.iter().map(|k| (input.field(*k).data_type().clone(), input.field(*k).is_nullable()));
    let of_aggregates = aggregates.iter().map(|a| (a.function.field().data_type().clone(), true));
    let fields = named.iter().zip(of_keys.chain(of_aggregates)).map(|(field, (data_type, nullable))| {
        Arc::new(Field::clone(field).with_data_type(data_type).with_nullable(nullable))
    });
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// What bounds the state.
pub(super) fn bound<'a>(
    keys: &[&str],
    aggregates: impl Iterator<Item = (&'a Aggregate, &'a String)>,
    changing: bool,
    ttl: Option<i64>,
) -> Bound {
    let mut parts = vec![Held::at_most(1, "row").per(keys.iter().copied())];
    for (aggregate, shown) in aggregates {
        let more = match keeping(aggregate, changing) {
            Keeping::Value => continue,
            Keeping::Distinct => {
                let arguments = aggregate.function.expressions();
                let values = arguments.iter().map(|e| match e.downcast_ref::<Column>() {
                    Some(column) => column.name().to_string(),
                    None => e.to_string(),
                });
                Held::at_most(1, "value").per(keys.iter().map(ToString::to_string).chain(values))
            }
            Keeping::Rows => Held::rows(shown),
        };
        parts.push(more);
    }
    Bound::of(parts.into_iter().map(|part| part.ttl(ttl)))
}
