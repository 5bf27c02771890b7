//! Operators and special forms of SQL as calls of Flink's functions.

use std::sync::Arc;

use datafusion_common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion_expr::expr::{NullTreatment, ScalarFunction};
use datafusion_expr::planner::{
    ExprPlanner, PlannerResult, RawAggregateExpr, RawDictionaryExpr, RawFieldAccessExpr, RawWindowExpr,
};
use datafusion_expr::{Expr, GetFieldAccess, ScalarUDF, lit};
use datafusion_functions_nested::expr_fn::{array_element, make_array};
use datafusion_functions_nested::map::map_udf;

/// Plans what Flink means differently; the rest is left to DataFusion's planners.
#[derive(Debug)]
pub(super) struct FlinkPlanner {
    /// `extract(field, time)`.
    pub(super) extract: Arc<ScalarUDF>,
    /// `substring(text, from[, for])`.
    pub(super) substring: Arc<ScalarUDF>,
    /// `overlay(text, new, from[, for])`.
    pub(super) overlay: Arc<ScalarUDF>,
    /// `position(part, text)`.
    pub(super) position: Arc<ScalarUDF>,
    /// `row(field, …)`.
    pub(super) row: Arc<ScalarUDF>,
}

fn call<T>(function: &Arc<ScalarUDF>, args: Vec<Expr>) -> Result<PlannerResult<T>> {
    Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), args))))
}

impl ExprPlanner for FlinkPlanner {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let field = match args.first() {
            Some(Expr::Literal(ScalarValue::Utf8(Some(field)), _)) => field.as_str(),
            _ => "",
        };
        if super::field::Unit::named(field).is_none() {
            return plan_err!("EXTRACT knows no field {field}");
        }
        call(&self.extract, args)
    }

    fn plan_substring(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        call(&self.substring, args)
    }

    fn plan_overlay(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        call(&self.overlay, args)
    }

    fn plan_position(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        call(&self.position, args.into_iter().rev().collect())
    }

    fn plan_field_access(&self, expr: RawFieldAccessExpr, _: &DFSchema) -> Result<PlannerResult<RawFieldAccessExpr>> {
        match (&expr.expr, expr.field_access) {
            // DataFusion would take an element of ARRAY_AGG for NTH_VALUE.
            (Expr::AggregateFunction(_), GetFieldAccess::ListIndex { key }) => {
                Ok(PlannerResult::Planned(array_element(expr.expr, *key)))
            }
            (_, field_access) => Ok(PlannerResult::Original(RawFieldAccessExpr { field_access, expr: expr.expr })),
        }
    }

    fn plan_dictionary_literal(
        &self,
        expr: RawDictionaryExpr,
        _: &DFSchema,
    ) -> Result<PlannerResult<RawDictionaryExpr>> {
        call(&map_udf(), vec![make_array(expr.keys), make_array(expr.values)])
    }

    fn plan_struct_literal(&self, args: Vec<Expr>, is_named: bool) -> Result<PlannerResult<Vec<Expr>>> {
        if is_named { Ok(PlannerResult::Original(args)) } else { call(&self.row, args) }
    }

    fn plan_aggregate(&self, mut expr: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        if ignores_nulls(expr.func.name()) {
            expr.null_treatment.get_or_insert(NullTreatment::IgnoreNulls);
        }
        if is_listagg(expr.func.name()) && expr.args.len() == 1 {
            expr.args.push(lit(","));
        }
        Ok(PlannerResult::Original(expr))
    }

    fn plan_window(&self, mut expr: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        if ignores_nulls(expr.func_def.name()) {
            expr.null_treatment.get_or_insert(NullTreatment::IgnoreNulls);
        }
        if is_listagg(expr.func_def.name()) && expr.args.len() == 1 {
            expr.args.push(lit(","));
        }
        Ok(PlannerResult::Original(expr))
    }
}

fn ignores_nulls(aggregate: &str) -> bool {
    matches!(aggregate, "first_value" | "last_value")
}

fn is_listagg(aggregate: &str) -> bool {
    aggregate == "listagg"
}
