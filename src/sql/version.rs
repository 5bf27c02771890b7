//! `FOR SYSTEM_TIME AS OF` in FROM.
//!
//! DataFusion plans a join's right side without knowing the left. So the table's version is first marked with the time as it
//! was written, and when all is planned, the join that the marked table stands in becomes a [`TemporalJoin`].

use std::fmt;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchemaRef, Result, TableReference, plan_err};
use datafusion_expr::logical_plan::Join;
use datafusion_expr::planner::RelationPlannerContext;
use datafusion_expr::utils::conjunction;
use datafusion_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore, lit};
use datafusion_sql::sqlparser::ast::{Expr as SqlExpr, Ident, Spanned, TableFactor, TableVersion};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::lookup_hint;
use super::window::{at, located};
use crate::plan::{LookupHint, TemporalJoin};

/// A relation as of a time: a column of what it is joined with, by its name as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
struct VersionOf {
    input: Arc<LogicalPlan>,
    time: Vec<Ident>,
    /// What a hint says of how it is looked up.
    hint: Option<LookupHint>,
}

impl VersionOf {
    fn span(&self) -> Span {
        Span::union_iter(self.time.iter().map(|i| i.span))
    }

    /// The column of the left side that the time is.
    fn column(&self, left: &LogicalPlan) -> Result<Column> {
        let column = match self.time.as_slice() {
            [name] => Column::from_name(&name.value),
            // Not from a text, whose case would be lost.
            [table, name] => Column::new(Some(TableReference::bare(table.value.as_str())), &name.value),
            _ => return Err(self.misplaced()),
        };
        let found = left.schema().qualified_fields_with_unqualified_name(&column.name);
        let mut found = found.into_iter().filter(|(relation, _)| match &column.relation {
            Some(wanted) => relation.is_some_and(|r| r.table() == wanted.table()),
            None => true,
        });
        match (found.next(), found.next()) {
            (Some(field), None) => Ok(Column::from(field)),
            (None, _) => Err(at(self.span(), format!("'{column}' is no column of the left side of this join"))),
            (Some(_), Some(_)) => Err(at(self.span(), format!("the column '{column}' is ambiguous"))),
        }
    }

    fn misplaced(&self) -> datafusion_common::DataFusionError {
        at(self.span(), "FOR SYSTEM_TIME AS OF takes a time attribute of the join's left side, by its name")
    }
}

impl UserDefinedLogicalNodeCore for VersionOf {
    fn name(&self) -> &str {
        "VersionOf"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match inputs.into_iter().next() {
            Some(input) => Ok(Self { input: Arc::new(input), ..self.clone() }),
            None => plan_err!("a version of nothing"),
        }
    }
}

/// Plans a table as of a time; the table itself where it has none.
pub(super) fn plan_version(
    relation: TableFactor,
    context: &mut dyn RelationPlannerContext,
) -> Result<std::result::Result<LogicalPlan, TableFactor>> {
    let TableFactor::Table { version: Some(TableVersion::ForSystemTimeAsOf(time)), .. } = &relation else {
        return Ok(Err(relation));
    };
    let span = time.span();
    let mut time = match time {
        SqlExpr::Identifier(name) => vec![name.clone()],
        SqlExpr::CompoundIdentifier(names) => names.clone(),
        _ => return Err(at(span, "FOR SYSTEM_TIME AS OF takes a time attribute of the join's left side, by its name")),
    };
    let hint = time.last_mut().map(lookup_hint::take).transpose().map_err(|message| at(span, message))?.flatten();
    let mut now = relation;
    if let TableFactor::Table { version, alias, .. } = &mut now {
        (*version, *alias) = (None, None);
    }
    let input = Arc::new(context.plan(now)?);
    Ok(Ok(LogicalPlan::Extension(Extension { node: Arc::new(VersionOf { input, time, hint }) })))
}

/// Makes of joins whose right side is a table as of a time what they are.
///
/// # Errors
/// Where a table as of a time stands anywhere else.
pub(super) fn fold_versions(plan: LogicalPlan) -> Result<LogicalPlan> {
    let folded = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Join(join) => match version_in(&join.right) {
            Some(version) => fold_join(&join, version).map(Transformed::yes),
            None => Ok(Transformed::no(LogicalPlan::Join(join))),
        },
        other => Ok(Transformed::no(other)),
    })?;
    folded.data.apply_with_subqueries(|plan| match plan {
        LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<VersionOf>() {
            Some(version) => Err(version.misplaced()),
            None => Ok(TreeNodeRecursion::Continue),
        },
        _ => Ok(TreeNodeRecursion::Continue),
    })?;
    Ok(folded.data)
}

fn fold_join(join: &Join, version: &VersionOf) -> Result<LogicalPlan> {
    let time = version.column(&join.left)?;
    let right = Arc::new(unmarked(&join.right)?);
    let equal = join.on.iter().map(|(l, r)| l.clone().eq(r.clone()));
    let condition = conjunction(equal.chain(join.filter.clone())).unwrap_or_else(|| lit(true));
    let node = TemporalJoin::try_new([Arc::clone(&join.left), right], join.join_type, condition, time);
    let node = Arc::new(node.map_err(|e| located(e, version.span()))?.hinted(version.hint));
    Ok(LogicalPlan::Extension(Extension { node }))
}

/// The version that a join's right side is, below nothing but names.
fn version_in(plan: &LogicalPlan) -> Option<&VersionOf> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => version_in(&alias.input),
        LogicalPlan::Projection(projection) => version_in(&projection.input),
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<VersionOf>(),
        _ => None,
    }
}

/// The same plan without the mark.
fn unmarked(plan: &LogicalPlan) -> Result<LogicalPlan> {
    let plain = plan.clone().transform_down(|plan| match &plan {
        LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<VersionOf>() {
            Some(version) => Ok(Transformed::new(version.input.as_ref().clone(), true, TreeNodeRecursion::Jump)),
            None => Ok(Transformed::no(plan)),
        },
        _ => Ok(Transformed::no(plan)),
    })?;
    Ok(plain.data)
}
