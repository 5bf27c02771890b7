//! MATCH_RECOGNIZE: from its clauses to a logical plan.

mod expr;
mod pattern;

use std::sync::Arc;

use datafusion_common::{DFSchema, DataFusionError, Diagnostic, ScalarValue, plan_datafusion_err};
use datafusion_expr::planner::RelationPlannerContext;
use datafusion_expr::{Expr, Extension, LogicalPlan, SortExpr};
use datafusion_sql::sqlparser::ast::{
    AfterMatchSkip, EmptyMatchesMode, Expr as SqlExpr, FunctionArg, FunctionArgExpr, Ident, OrderByExpr, RowsPerMatch,
    Spanned, TableFactor,
};
use datafusion_sql::sqlparser::tokenizer::Span;

use self::expr::{Scope, Where};
use self::pattern::Names;
use super::parse::query::{MARK_QUERY, MARK_SUBSET, MARK_WITHIN};
use crate::operator::match_recognize::{Skip, Variables};
use crate::plan::{MatchClauses, MatchRecognizeNode};

type DfResult<T> = datafusion_common::Result<T>;

/// The plan of a MATCH_RECOGNIZE, which stands before its alias.
pub(super) fn plan(relation: TableFactor, context: &mut dyn RelationPlannerContext) -> DfResult<LogicalPlan> {
    let TableFactor::MatchRecognize {
        table,
        partition_by,
        order_by,
        measures,
        rows_per_match,
        after_match_skip,
        pattern,
        symbols,
        ..
    } = relation
    else {
        return Err(plan_datafusion_err!("no MATCH_RECOGNIZE"));
    };
    let input = context.plan(matched_table(*table))?;
    let schema = Arc::clone(input.schema());
    let mut names = Names::default();
    let pattern = names.read(&pattern)?;
    let partition_by = partition_by.into_iter().map(|e| plain(e, context, &schema)).collect::<DfResult<Vec<_>>>()?;
    let order_by = order_by.into_iter().map(|o| sort(o, context, &schema)).collect::<DfResult<Vec<_>>>()?;
    let mut within = None;
    let mut defines: Vec<(usize, SqlExpr)> = Vec::new();
    for definition in symbols {
        if definition.symbol.value == MARK_WITHIN {
            within = Some(millis(&definition.definition, context)?);
            continue;
        }
        if definition.symbol.value == MARK_SUBSET {
            names.add_subset(&definition.definition)?;
            continue;
        }
        let variable = names.find(&definition.symbol)?;
        if defines.iter().any(|(known, _)| *known == variable) {
            let name = &definition.symbol.value;
            return Err(at(definition.symbol.span, format!("the variable '{name}' is defined twice")));
        }
        defines.push((variable, definition.definition));
    }
    let time = order_by.first().map(|o: &SortExpr| o.expr.clone());
    let mut scope = Scope { names: &names, schema: &schema, time: time.as_ref(), context };
    let defines = defines.into_iter().map(|(variable, e)| Ok((variable, scope.plan(e, Where::Define)?)));
    let defines = defines.collect::<DfResult<Vec<_>>>()?;
    let all_rows = matches!(rows_per_match, Some(RowsPerMatch::AllRows(_)));
    let place = if all_rows { Where::AllRows } else { Where::OneRow };
    let measures = measures.into_iter().map(|m| Ok((m.alias.value, scope.plan(m.expr, place)?)));
    let measures = measures.collect::<DfResult<Vec<_>>>()?;
    let empty = match rows_per_match {
        Some(RowsPerMatch::AllRows(Some(EmptyMatchesMode::Omit))) => false,
        Some(RowsPerMatch::AllRows(Some(EmptyMatchesMode::WithUnmatched))) => {
            return Err(plan_datafusion_err!("ALL ROWS PER MATCH WITH UNMATCHED ROWS is not supported"));
        }
        _ => true,
    };
    let clauses = MatchClauses {
        partition_by,
        order_by,
        measures,
        defines,
        skip: skip(after_match_skip, &names)?,
        names: names.into_names(),
        pattern,
        within,
        all_rows,
        empty,
    };
    let node = MatchRecognizeNode::try_new(Arc::new(input), clauses)?;
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

/// What is searched: `(query) MATCH_RECOGNIZE` was written as a table function.
fn matched_table(table: TableFactor) -> TableFactor {
    if let TableFactor::Table { name, args: Some(args), .. } = &table
        && name.to_string() == MARK_QUERY
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::Subquery(query)))] = args.args.as_slice()
    {
        return TableFactor::Derived { lateral: false, subquery: query.clone(), alias: None, sample: None };
    }
    table
}

fn plain(expr: SqlExpr, context: &mut dyn RelationPlannerContext, schema: &DFSchema) -> DfResult<Expr> {
    let span = expr.span();
    context.sql_to_expr(expr, schema).map_err(|e| located(e, span))
}

fn sort(order: OrderByExpr, context: &mut dyn RelationPlannerContext, schema: &DFSchema) -> DfResult<SortExpr> {
    let span = order.expr.span();
    let (asc, nulls_first) = (order.options.asc.unwrap_or(true), order.options.nulls_first);
    let expr = context.sql_to_expr(order.expr, schema).map_err(|e| located(e, span))?;
    // NULL is low.
    Ok(SortExpr { expr, asc, nulls_first: nulls_first.unwrap_or(asc) })
}

fn skip(skip: Option<AfterMatchSkip>, names: &Names) -> DfResult<Skip> {
    let one = |name: &Ident| -> DfResult<Variables> {
        names.variables(&name.value).map_or_else(|| names.find(name).map(|v| Variables::Some(vec![v as u32])), Ok)
    };
    Ok(match skip {
        Some(AfterMatchSkip::PastLastRow) => Skip::PastLastRow,
        Some(AfterMatchSkip::ToFirst(name)) => Skip::ToFirst(one(&name)?, format!("FIRST {}", name.value)),
        Some(AfterMatchSkip::ToLast(name)) => Skip::ToLast(one(&name)?, format!("LAST {}", name.value)),
        // As Flink has it without the clause.
        Some(AfterMatchSkip::ToNextRow) | None => Skip::ToNextRow,
    })
}

/// The span of WITHIN, in milliseconds.
fn millis(value: &SqlExpr, context: &mut dyn RelationPlannerContext) -> DfResult<i64> {
    let span = value.span();
    let planned = context.sql_to_expr(value.clone(), &DFSchema::empty()).map_err(|e| located(e, span))?;
    let millis = match planned {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(v)), _) if v.months == 0 => {
            i64::from(v.days).checked_mul(86_400_000).and_then(|d| d.checked_add(v.nanoseconds / 1_000_000))
        }
        _ => None,
    };
    let wanted = "WITHIN takes a positive INTERVAL of days to seconds, such as INTERVAL '10' MINUTE";
    millis.filter(|ms| *ms > 0).ok_or_else(|| at(span, wanted))
}

fn at(span: Span, message: impl Into<String>) -> DataFusionError {
    located(plan_datafusion_err!("{}", message.into()), span)
}

/// An error that has a place, unless it had one.
fn located(error: DataFusionError, span: Span) -> DataFusionError {
    if error.diagnostic().is_some_and(|d| d.span.is_some()) {
        return error;
    }
    let message = error.strip_backtrace();
    error.with_diagnostic(Diagnostic::new_error(message, datafusion_common::Span::try_from_sqlparser_span(span)))
}
