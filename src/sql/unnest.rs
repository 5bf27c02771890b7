//! `UNNEST` in FROM: arrays and maps to rows, also of the table to its left.
//!
//! DataFusion would plan `t CROSS JOIN UNNEST(t.a)` as a correlated subquery. Here the call is planned as a leaf,
//! [`UnnestCall`], and [`fold_unnests`] then turns the join with it into an `Unnest` over the join's left side.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{
    Column, DFSchema, DFSchemaRef, NullHandling, Result, ScalarValue, UnnestOptions, not_impl_err, plan_err,
};
use datafusion_expr::logical_plan::Join;
use datafusion_expr::planner::RelationPlannerContext;
use datafusion_expr::{
    Expr, ExprSchemable, Extension, JoinType, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore,
};
use datafusion_sql::sqlparser::ast::{Expr as SqlExpr, Ident};

/// The column that is unnested, between its projection and its end.
const ELEMENT: &str = "__element";

/// A call of UNNEST before it is joined with what stands to its left.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct UnnestCall {
    array: Expr,
    schema: DFSchemaRef,
}

impl UnnestCall {
    fn try_new(array: Expr) -> Result<Self> {
        let columns = match array.get_type(&DFSchema::empty())? {
            DataType::List(element) | DataType::LargeList(element) => match element.data_type() {
                DataType::Struct(fields) => fields.iter().map(|f| f.as_ref().clone().with_nullable(true)).collect(),
                other => vec![Field::new("f0", other.clone(), true)],
            },
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) => fields.iter().map(|f| f.as_ref().clone().with_nullable(true)).collect(),
                other => return plan_err!("a map of {other} cannot be unnested"),
            },
            other => return plan_err!("UNNEST needs an ARRAY, a MAP or a MULTISET, not {other}"),
        };
        let fields = columns.into_iter().map(|f| (None, Arc::new(f))).collect();
        Ok(Self { array, schema: Arc::new(DFSchema::new_with_metadata(fields, Default::default())?) })
    }

    /// The rows of `input`, each once for each element of its array, with the elements' columns under these names.
    fn over(&self, input: LogicalPlan, names: &DFSchema, nulls: NullHandling) -> Result<LogicalPlan> {
        let array = self.array.clone().transform_up(|e| {
            Ok(match e {
                Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
                other => Transformed::no(other),
            })
        })?;
        let is_row = match self.array.get_type(&DFSchema::empty())? {
            DataType::List(element) | DataType::LargeList(element) => {
                matches!(element.data_type(), DataType::Struct(_))
            }
            _ => true,
        };
        let array = match array.data {
            map if matches!(self.array.get_type(&DFSchema::empty())?, DataType::Map(..)) => {
                datafusion_functions_nested::map_entries::map_entries(map)
            }
            list => list,
        };
        let kept: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        let widened = kept.iter().cloned().chain([array.alias(ELEMENT)]);
        let element = Column::from_name(ELEMENT);
        let columns = self.schema.fields().iter().zip(names.iter()).map(|(field, (qualifier, name))| {
            let element = Expr::Column(element.clone());
            let value = if is_row { field_of(element, field.name()) } else { element };
            value.alias_qualified(qualifier.cloned(), name.name())
        });
        let columns: Vec<Expr> = kept.iter().cloned().chain(columns).collect();
        LogicalPlanBuilder::from(input)
            .project(widened.collect::<Vec<_>>())?
            .unnest_columns_with_options(vec![element.clone()], UnnestOptions::new().with_null_handling(nulls))?
            .project(columns)?
            .build()
    }
}

fn field_of(row: Expr, name: &str) -> Expr {
    let name = Expr::Literal(ScalarValue::Utf8(Some(name.to_string())), None);
    datafusion_functions::core::get_field().call(vec![row, name])
}

impl PartialOrd for UnnestCall {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.array.partial_cmp(&other.array)
    }
}

impl UserDefinedLogicalNodeCore for UnnestCall {
    fn name(&self) -> &str {
        "UnnestCall"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.array.clone()]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "UnnestCall({})", self.array)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, _inputs: Vec<LogicalPlan>) -> Result<Self> {
        match exprs.into_iter().next() {
            Some(array) => Self::try_new(array),
            None => plan_err!("UNNEST needs an argument"),
        }
    }
}

/// Plans the call alone; columns of what stands to its left are outer references in it.
pub(super) fn plan_call(arrays: Vec<SqlExpr>, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let mut arrays = arrays.into_iter();
    let (Some(array), None) = (arrays.next(), arrays.next()) else {
        return plan_err!("UNNEST takes one array or map");
    };
    let array = match array {
        SqlExpr::CompoundIdentifier(parts) => nested_column(parts, context)?,
        other => context.sql_expr_to_logical_expr(other, &DFSchema::empty())?,
    };
    let node = Arc::new(UnnestCall::try_new(array)?);
    Ok(LogicalPlan::Extension(Extension { node }))
}

/// `t.row.field`: DataFusion knows no fields of an outer column, so the column is found first and its fields taken.
fn nested_column(parts: Vec<Ident>, context: &mut dyn RelationPlannerContext) -> Result<Expr> {
    for taken in (1..=parts.len()).rev() {
        let (column, fields) = parts.split_at(taken);
        let column = match column {
            [one] => SqlExpr::Identifier(one.clone()),
            more => SqlExpr::CompoundIdentifier(more.to_vec()),
        };
        if let Ok(found @ Expr::OuterReferenceColumn(..)) = context.sql_expr_to_logical_expr(column, &DFSchema::empty())
        {
            return Ok(fields.iter().fold(found, |row, field| field_of(row, &field.value)));
        }
    }
    context.sql_expr_to_logical_expr(SqlExpr::CompoundIdentifier(parts), &DFSchema::empty())
}

/// Turns joins with calls into `Unnest` nodes over their left sides, and calls that stand alone into one over one row.
pub(super) fn fold_unnests(plan: LogicalPlan) -> Result<LogicalPlan> {
    let folded = plan.transform_down_with_subqueries(|plan| match plan {
        LogicalPlan::Join(join) => match call_in(&join.right) {
            Some(call) => fold_join(&join, call).map(Transformed::yes),
            None => Ok(Transformed::no(LogicalPlan::Join(join))),
        },
        LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<UnnestCall>() {
            Some(call) => {
                let one_row = LogicalPlanBuilder::empty(true).build()?;
                call.over(one_row, &call.schema, NullHandling::Drop).map(Transformed::yes)
            }
            None => Ok(Transformed::no(LogicalPlan::Extension(extension))),
        },
        other => Ok(Transformed::no(other)),
    })?;
    Ok(folded.data)
}

fn fold_join(join: &Join, call: &UnnestCall) -> Result<LogicalPlan> {
    let left = join.left.as_ref().clone();
    let condition = join.filter.clone().filter(|f| *f != Expr::Literal(ScalarValue::Boolean(Some(true)), None));
    match (join.join_type, condition) {
        (JoinType::Inner, None) => call.over(left, join.right.schema(), NullHandling::Drop),
        (JoinType::Inner, Some(condition)) => {
            let plan = call.over(left, join.right.schema(), NullHandling::Drop)?;
            LogicalPlanBuilder::from(plan).filter(condition)?.build()
        }
        (JoinType::Left, None) => call.over(left, join.right.schema(), NullHandling::PreserveAndExpandEmpty),
        (JoinType::Left, Some(_)) => not_impl_err!("LEFT JOIN UNNEST with a condition other than ON TRUE"),
        (other, _) => not_impl_err!("{other} JOIN with UNNEST"),
    }
}

/// The call in a join's right side, below nothing but names.
fn call_in(plan: &LogicalPlan) -> Option<&UnnestCall> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => call_in(&alias.input),
        LogicalPlan::Subquery(subquery) => call_in(&subquery.subquery),
        LogicalPlan::Projection(projection) => {
            let call = call_in(&projection.input)?;
            let plain = |(expr, field): (&Expr, &Arc<Field>)| matches!(expr.clone().unalias(), Expr::Column(column) if column.name == *field.name());
            let same = projection.expr.len() == call.schema.fields().len();
            (same && projection.expr.iter().zip(call.schema.fields()).all(plain)).then_some(call)
        }
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<UnnestCall>(),
        _ => None,
    }
}
