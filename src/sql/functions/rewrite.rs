//! Flink's meaning of literals, casts and arithmetic, put into a plan before DataFusion coerces its types.

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::{AggregateFunction, Case, Cast, InList, Like, ScalarFunction};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator};

use super::cast::flink_cast;
use super::{decimal, regexp};

/// Rewrites all expressions of a plan, from its leaves on.
pub(super) fn plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(node).map(|t| t.data)
}

/// Rewrites an expression over the columns of a schema.
pub(super) fn expr(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    transform(expr, schema).map(|t| t.data)
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    // The numbers of a LIMIT are BIGINT by contract.
    if matches!(plan, LogicalPlan::Limit(_)) {
        return Ok(Transformed::no(plan));
    }
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    let names = NamePreserver::new(&plan);
    let plan = plan.map_expressions(|e| {
        let name = names.save(&e);
        Ok(transform(e, &schema)?.update_data(|e| name.restore(e)))
    })?;
    plan.map_data(|plan| match plan {
        LogicalPlan::Values(values) => LogicalPlanBuilder::values(values.values)?.build(),
        plan => plan.recompute_schema(),
    })
}

fn transform(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_down_up(
        |e| {
            Ok(if is_count_star(&e) {
                Transformed::new(e, false, datafusion_common::tree_node::TreeNodeRecursion::Jump)
            } else {
                Transformed::no(e)
            })
        },
        |e| one(e, schema),
    )
}

/// `COUNT(*)` is `COUNT` of a constant of a type that DataFusion knows it by.
fn is_count_star(expr: &Expr) -> bool {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else { return false };
    func.name() == "count" && matches!(params.args.as_slice(), [Expr::Literal(ScalarValue::Int64(Some(1)), _)])
}

fn one(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::Literal(value, metadata) => Ok(literal(value, metadata)),
        Expr::Cast(cast) => {
            let from = cast.expr.get_type(schema)?;
            Ok(replaced(flink_cast(&cast.expr, &from, cast.field.data_type(), false), Expr::Cast(cast)))
        }
        Expr::TryCast(cast) => {
            let from = cast.expr.get_type(schema)?;
            Ok(replaced(flink_cast(&cast.expr, &from, cast.field.data_type(), true), Expr::TryCast(cast)))
        }
        Expr::BinaryExpr(binary) => arithmetic(binary, schema),
        Expr::Like(like) => Ok(like_pattern(like)),
        Expr::SimilarTo(like) => Ok(Transformed::yes(regexp::similar(like))),
        Expr::InList(list) => in_list(list, schema),
        Expr::ScalarFunction(call) => function(call, schema),
        other => Ok(Transformed::no(other)),
    }
}

fn replaced(new: Option<Expr>, old: Expr) -> Transformed<Expr> {
    match new {
        Some(new) => Transformed::yes(new),
        None => Transformed::no(old),
    }
}

/// Whole numbers that fit are INT.
fn literal(value: ScalarValue, metadata: Option<datafusion_common::metadata::FieldMetadata>) -> Transformed<Expr> {
    match value {
        ScalarValue::Int64(Some(n)) => match i32::try_from(n) {
            Ok(n) => Transformed::yes(Expr::Literal(ScalarValue::Int32(Some(n)), metadata)),
            Err(_) => Transformed::no(Expr::Literal(value, metadata)),
        },
        other => Transformed::no(Expr::Literal(other, metadata)),
    }
}

/// Flink's types for arithmetic where DataFusion's differ: decimals, and FLOAT.
fn arithmetic(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let op = binary.op;
    if !matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo) {
        return Ok(Transformed::no(Expr::BinaryExpr(binary)));
    }
    let (left, right) = (binary.left.get_type(schema)?, binary.right.get_type(schema)?);
    let decimal = left.is_decimal() || right.is_decimal();
    let floating = left.is_floating() || right.is_floating();
    if floating && left.is_numeric() && right.is_numeric() {
        let both = if decimal || left == DataType::Float64 || right == DataType::Float64 {
            DataType::Float64
        } else {
            DataType::Float32
        };
        let (l, r) = (as_type(*binary.left, &left, &both), as_type(*binary.right, &right, &both));
        return Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(l), op, Box::new(r)))));
    }
    let sides = (decimal::precision_and_scale(&left), decimal::precision_and_scale(&right));
    let (true, (Some(l), Some(r))) = (decimal, sides) else {
        return Ok(Transformed::no(Expr::BinaryExpr(binary)));
    };
    let Some((result, native)) = decimal::result_type(op, l, r) else {
        return Ok(Transformed::no(Expr::BinaryExpr(binary)));
    };
    let left = as_type(*binary.left, &left, &DataType::Decimal128(l.0, l.1));
    let right = as_type(*binary.right, &right, &DataType::Decimal128(r.0, r.1));
    Ok(Transformed::yes(if native {
        Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
    } else {
        decimal::call(op, left, right, result)
    }))
}

fn as_type(expr: Expr, from: &DataType, to: &DataType) -> Expr {
    if from == to { expr } else { Expr::Cast(Cast::new(Box::new(expr), to.clone())) }
}

/// LIKE has no escape character unless one is given; Arrow's is the backslash.
fn like_pattern(like: Like) -> Transformed<Expr> {
    let escape = like.escape_char;
    let pattern = match *like.pattern {
        Expr::Literal(ScalarValue::Utf8(Some(pattern)), metadata) => {
            let escaped = regexp::like_pattern(&pattern, escape);
            if escape.is_none() && escaped == pattern {
                let pattern = Box::new(Expr::Literal(ScalarValue::Utf8(Some(pattern)), metadata));
                return Transformed::no(Expr::Like(Like { pattern, ..like }));
            }
            Expr::Literal(ScalarValue::Utf8(Some(escaped)), metadata)
        }
        pattern => regexp::like_pattern_call(pattern, escape),
    };
    Transformed::yes(Expr::Like(Like { pattern: Box::new(pattern), escape_char: None, ..like }))
}

/// The list of IN takes the type of what is looked for, where that loses nothing.
fn in_list(list: InList, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let wanted = list.expr.get_type(schema)?;
    let fits = |e: &Expr| matches!(e, Expr::Literal(ScalarValue::Int32(_), _)) && wanted == DataType::Int64;
    if !list.list.iter().any(fits) {
        return Ok(Transformed::no(Expr::InList(list)));
    }
    let widened = list.list.into_iter().map(|e| match e {
        Expr::Literal(ScalarValue::Int32(n), metadata) => Expr::Literal(ScalarValue::Int64(n.map(i64::from)), metadata),
        other => other,
    });
    Ok(Transformed::yes(Expr::InList(InList { list: widened.collect(), ..list })))
}

/// `IF` evaluates only the branch it takes; `MOD` is the operator.
fn function(call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match (call.func.name(), call.args.as_slice()) {
        ("if", [condition, yes, no]) => Ok(Transformed::yes(Expr::Case(Case {
            expr: None,
            when_then_expr: vec![(Box::new(condition.clone()), Box::new(yes.clone()))],
            else_expr: Some(Box::new(no.clone())),
        }))),
        ("mod", [left, right]) => {
            let (left, right) = (Box::new(left.clone()), Box::new(right.clone()));
            Ok(Transformed::yes(arithmetic(BinaryExpr::new(left, Operator::Modulo, right), schema)?.data))
        }
        _ => Ok(Transformed::no(Expr::ScalarFunction(call))),
    }
}
