//! Joins as of a time: by a rowtime with a versioned table, by processing time with what a table holds now.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::{DFSchema, JoinType};
use datafusion_expr::logical_plan::{Filter, Projection, SubqueryAlias};
use datafusion_expr::utils::{conjunction, find_valid_equijoin_key_pair, split_conjunction_owned};
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};

use super::as_of::{TemporalJoin, rowtime_of};
use super::compile::Compiler;
use super::{join, lookup, rank, scan};
use crate::operator::join::JoinKind;
use crate::operator::temporal_join::{TemporalInput, TemporalJoinFactory};
use crate::runtime::circuit::{Changelog, Node, NodeId, NodeNotes};
use crate::runtime::{Bound, Held, Lifetime};
use crate::{Error, Result};

/// A join as of a time that gives some columns of its plan's schema. What kind of time it is, the notes of the left side say.
pub(super) fn lower(compiler: &mut Compiler, join: &TemporalJoin, columns: &[usize]) -> Result<NodeId> {
    let left = compiler.lower(&join.left)?;
    let notes = &compiler.circuit.node(left).notes;
    let time = join.left.schema().index_of_column(&join.time)?;
    if notes.rowtimes.contains(&time) {
        if join.hint.is_some() {
            return Err(Error::Unsupported(format!(
                "LOOKUP: '{}' is a rowtime, and as of a rowtime nothing is looked up outside",
                join.time.name
            )));
        }
        return match notes.changelog {
            Changelog::Append => by_rowtime(compiler, join, time, columns),
            Changelog::Retract => {
                Err(unsupported("the left side's rows change; a temporal join takes rows that only come"))
            }
        };
    }
    if notes.proctimes.contains(&time) {
        return lookup::lower(compiler, join, left, columns);
    }
    Err(unsupported(format!(
        "'{}' is no time attribute of the join's left side; declare a WATERMARK for it in its table, or take a PROCTIME() \
         column, and pass it on unchanged",
        join.time.name
    )))
}

fn unsupported(message: impl std::fmt::Display) -> Error {
    Error::Unsupported(format!("FOR SYSTEM_TIME: {message}"))
}

/// The right side of a temporal join.
struct Versions {
    /// Gives every version there is, as a row or a change.
    plan: LogicalPlan,
    /// The columns that say whose version a row is.
    key: Option<Vec<usize>>,
    /// Whether rows that are older than the last of their key are passed over, as a deduplication does.
    newest: bool,
    /// Whether some rows are filtered out: a version that is not there would not end the one before.
    filtered: bool,
}

/// The versions that a plan gives, where it is a table or a deduplication of one; others are for their notes to judge.
fn versions(plan: &LogicalPlan) -> Result<Option<Versions>> {
    Ok(match plan {
        LogicalPlan::TableScan(table) => {
            let key = scan::primary_key(table)?;
            Some(Versions { plan: plan.clone(), key, newest: false, filtered: false })
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let Some(below) = versions(&alias.input)? else { return Ok(None) };
            let input = Arc::new(below.plan);
            let plan = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(input, alias.alias.clone())?);
            Some(Versions { plan, ..below })
        }
        LogicalPlan::Projection(Projection { expr, input, schema, .. }) => {
            if let LogicalPlan::Filter(filter) = input.as_ref()
                && let Some(newest) = rank::newest(filter, expr, schema, rowtime_of)?
            {
                return Ok(Some(of_newest(newest)));
            }
            let Some(below) = versions(input)? else { return Ok(None) };
            let place = |column: &usize| expr.iter().position(|e| plain_column(e, input.schema()) == Some(*column));
            let key = below.key.as_ref().and_then(|key| key.iter().map(place).collect::<Option<Vec<_>>>());
            let plan = Projection::try_new_with_schema(expr.clone(), Arc::new(below.plan), Arc::clone(schema))?;
            Some(Versions { plan: LogicalPlan::Projection(plan), key, ..below })
        }
        LogicalPlan::Filter(filter) => {
            if let Some(newest) =
                rank::newest(filter, &super::compile::columns(&filter.input), plan.schema(), rowtime_of)?
            {
                return Ok(Some(of_newest(newest)));
            }
            let Some(below) = versions(&filter.input)? else { return Ok(None) };
            let plan = LogicalPlan::Filter(Filter::try_new(filter.predicate.clone(), Arc::new(below.plan))?);
            Some(Versions { plan, filtered: true, ..below })
        }
        _ => None,
    })
}

fn of_newest(newest: rank::Newest) -> Versions {
    Versions { plan: newest.plan, key: Some(newest.partition), newest: true, filtered: false }
}

/// The column that an expression is, whole numbers also where they are cast to another width.
fn plain_column(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    let is_whole = |e: &Expr| e.get_type(schema).is_ok_and(|t| t.is_integer());
    match expr {
        Expr::Column(column) => schema.index_of_column(column).ok(),
        Expr::Alias(alias) => plain_column(&alias.expr, schema),
        Expr::Cast(cast) if is_whole(expr) && is_whole(&cast.expr) => plain_column(&cast.expr, schema),
        _ => None,
    }
}

/// The condition, divided into the equalities with the versions' key and the rest.
struct Matching {
    left: Vec<Expr>,
    right: Vec<Expr>,
    rest: Option<Expr>,
}

fn matching(join: &TemporalJoin, key: &[usize]) -> Result<Option<Matching>> {
    let (left, right) = (join.left.schema(), join.right.schema());
    let mut rest = split_conjunction_owned(join.condition.clone());
    let mut found = Matching { left: Vec::new(), right: Vec::new(), rest: None };
    for column in key {
        let mut pair = None;
        for (at, condition) in rest.iter().enumerate() {
            let Expr::BinaryExpr(BinaryExpr { left: a, op: Operator::Eq, right: b }) = condition else { continue };
            let Some((l, r)) = find_valid_equijoin_key_pair(a, b, left, right)? else { continue };
            if plain_column(&r, right) == Some(*column) {
                pair = Some((at, l, r));
                break;
            }
        }
        let Some((at, l, r)) = pair else { return Ok(None) };
        rest.remove(at);
        found.left.push(l);
        found.right.push(r);
    }
    found.rest = conjunction(rest);
    Ok((!key.is_empty()).then_some(found))
}

fn by_rowtime(compiler: &mut Compiler, join: &TemporalJoin, time: usize, columns: &[usize]) -> Result<NodeId> {
    let known = versions(&join.right)?;
    let right = known.as_ref().map_or(join.right.as_ref(), |v| &v.plan);
    // A key's row in its last state would hide the time at which it went.
    let node = compiler.with_changes_as_read(|c| c.lower(right))?;
    let notes = compiler.circuit.node(node).notes.clone();
    check_changes(&notes, known.as_ref())?;
    let version_time = join.version_time.as_ref().map(|c| join.right.schema().index_of_column(c)).transpose()?;
    let Some(version_time) = version_time.filter(|at| notes.rowtimes.contains(at)) else {
        return Err(unsupported(
            "the right side has no rowtime that says from when on a version holds; declare a WATERMARK in its table, and pass \
             the column on unchanged",
        ));
    };
    let keys = known.as_ref().and_then(|v| v.key.clone()).into_iter().chain(notes.keys.iter().cloned());
    let keys: Vec<Vec<usize>> = keys.collect();
    let matched = keys.iter().map(|key| matching(join, key)).collect::<Result<Vec<_>>>()?;
    let Some(matching) = matched.into_iter().flatten().next() else { return Err(unmatched(join, &keys)) };
    let left_keys: Vec<&Expr> = matching.left.iter().collect();
    let right_keys: Vec<&Expr> = matching.right.iter().collect();
    let sides = [
        join::side(compiler, &join.left, &left_keys, JoinKind::Inner)?,
        compiler.with_changes_as_read(|c| join::side(c, right, &right_keys, JoinKind::Inner))?,
    ];
    let plans = [join.left.as_ref(), join.right.as_ref()];
    let condition = matching.rest.as_ref().map(|rest| join::condition(rest, plans, &sides)).transpose()?;
    let [left, right] = [0, 1].map(|i| compiler.circuit.node(sides[i].node));
    let left_width = left.schema.fields().len();
    let place = |c: &usize| if *c < sides[0].width { *c } else { left_width + c - sides[0].width };
    let input = |i: usize, node: &Node, time| TemporalInput {
        schema: Arc::clone(&node.schema),
        keys: sides[i].keys.clone(),
        time,
    };
    let factory = TemporalJoinFactory {
        inputs: [input(0, left, time), input(1, right, version_time)],
        outer: join.join_type == JoinType::Left,
        condition,
        origin: compiler.origin([sides[0].node, sides[1].node]),
        newest: known.is_some_and(|v| v.newest),
        outputs: columns.iter().map(place).collect(),
        schema: result_schema(join, columns, [&left.schema, &right.schema], sides[0].width),
        ttl: compiler.state_ttl(&join.right),
    };
    let notes = result_notes(join, &factory, left, columns, matching.rest.as_ref());
    let schema = Arc::clone(&factory.schema);
    Ok(compiler.operator(factory, sides.map(|s| s.node).to_vec(), schema, notes))
}

/// Why a join does not say whose version it asks for.
fn unmatched(join: &TemporalJoin, keys: &[Vec<usize>]) -> Error {
    let names = match keys.first() {
        Some(key) => key.iter().map(|c| join.right.schema().field(*c).name().clone()).collect(),
        None => declared_key(&join.right),
    };
    if names.is_empty() {
        return unsupported(
            "the right side has no key that says whose version a row is; declare a PRIMARY KEY in its table, or join a \
             deduplication by ROW_NUMBER",
        );
    }
    unsupported(format!("ON must say what the right side's key ({}) equals", names.join(", ")))
}

/// The PRIMARY KEY of the table that a plan reads, whether or not it is read.
fn declared_key(plan: &LogicalPlan) -> Vec<String> {
    match plan {
        LogicalPlan::TableScan(table) => scan::primary_key_names(table).unwrap_or_default(),
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. })
        | LogicalPlan::Projection(Projection { input, .. })
        | LogicalPlan::Filter(Filter { input, .. }) => declared_key(input),
        _ => Vec::new(),
    }
}

/// Refuses versions of which some would not be seen.
fn check_changes(notes: &NodeNotes, known: Option<&Versions>) -> Result<()> {
    match (notes.changelog, known) {
        (Changelog::Append, _) | (Changelog::Retract, Some(Versions { filtered: false, .. })) => Ok(()),
        (Changelog::Retract, Some(_)) => Err(unsupported(
            "the versions on the right side are filtered, and one that is left out would not end the one before it; put the \
             condition into ON",
        )),
        (Changelog::Retract, None) => Err(unsupported(
            "of the right side's changes within a step only the net change is known; join a table with a PRIMARY KEY, or a \
             deduplication ORDER BY its rowtime DESC",
        )),
    }
}

fn result_schema(join: &TemporalJoin, columns: &[usize], sides: [&SchemaRef; 2], width: usize) -> SchemaRef {
    use datafusion_expr::UserDefinedLogicalNodeCore;
    let outer = join.join_type == JoinType::Left;
    let field = |column: &usize| {
        let (own, padded) = match column.checked_sub(width) {
            None => (sides[0].field(*column), false),
            Some(right) => (sides[1].field(right), outer),
        };
        let name = join.schema().field(*column).name();
        own.clone().with_name(name).with_nullable(own.is_nullable() || padded)
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn result_notes(
    join: &TemporalJoin,
    factory: &TemporalJoinFactory,
    left: &Node,
    columns: &[usize],
    rest: Option<&Expr>,
) -> NodeNotes {
    let names = |input: &TemporalInput| {
        let names: Vec<&str> = input.keys.iter().map(|k| input.schema.field(*k).name().as_str()).collect();
        names.join(", ")
    };
    let [asking, versions] = &factory.inputs;
    let kind = if factory.outer { "LEFT" } else { "INNER" };
    let mut detail = format!("{kind}, on=[({}) = ({})], as of {}", names(asking), names(versions), join.time.name);
    if let Some(rest) = rest {
        detail.push_str(&format!(", where=[{}]", rest.human_display()));
    }
    NodeNotes {
        detail,
        bound: Some(bound(versions, factory.ttl)),
        ..left.notes.carried(|column| (0..columns.len()).filter(|at| columns[*at] == column).collect())
    }
}

/// What bounds the state: rows wait for the watermark, and of each key's versions one stands longer.
fn bound(versions: &TemporalInput, ttl: Option<i64>) -> Bound {
    let keys = versions.keys.iter().map(|k| versions.schema.field(*k).name());
    Bound::of([
        Held::rows("the left input").lives(Lifetime::Watermark),
        Held::at_most(1, "version").per(keys).of_side("right").ttl(ttl),
        Held::rows("the right input").lives(Lifetime::Watermark),
    ])
}
