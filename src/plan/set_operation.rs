//! `INTERSECT ALL` and `EXCEPT ALL`.
//!
//! DataFusion plans them as semi and anti joins of the two sides by all columns. That is right where the left side has no row
//! twice, as without `ALL`; with it, copies must be counted.

use std::fmt;
use std::sync::Arc;

use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchemaRef, JoinType, NullEquality, Result, plan_err};
use datafusion_expr::logical_plan::{Join, Projection};
use datafusion_expr::{Expr, ExprSchemable, Extension, LogicalPlan, UserDefinedLogicalNodeCore, cast};

use super::compile::Compiler;
use crate::operator::set_operation::{SetKind, SetOperationFactory};
use crate::runtime::circuit::{Changelog, NodeId, NodeNotes};
use crate::runtime::{Bound, Held};

/// A set operation that counts copies. Both inputs have the same columns, in order and type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub(super) struct SetOperationNode {
    kind: SetKind,
    /// Whose columns are given.
    left: Arc<LogicalPlan>,
    right: Arc<LogicalPlan>,
}

/// Puts [`SetOperationNode`]s in the place of the joins that DataFusion plans; before any rule has changed these.
pub(super) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(join) if counts_copies(&join) => Ok(Transformed::yes(replace(&join)?)),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(rewritten.data)
}

/// Only set operations come as joins whose NULLs are equal; a condition in SQL that says so has not been made that yet.
fn counts_copies(join: &Join) -> bool {
    let by_all = join.on.len() == join.left.schema().fields().len() && join.filter.is_none();
    let once = matches!(join.left.as_ref(), LogicalPlan::Distinct(_));
    let kind = matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti);
    kind && by_all && !once && join.null_equality == NullEquality::NullEqualsNull
}

fn replace(join: &Join) -> Result<LogicalPlan> {
    let kind = if join.join_type == JoinType::LeftSemi { SetKind::Intersect } else { SetKind::Except };
    let left = side(&join.left, join.on.iter().map(|(l, _)| l))?;
    let right = side(&join.right, join.on.iter().map(|(_, r)| r))?;
    let node = SetOperationNode { kind, left: Arc::new(left), right: Arc::new(right) };
    let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
    // The types as they were: what follows has been planned with them.
    let back = |(column, (qualifier, field)): (_, (Option<&_>, &Arc<arrow::datatypes::Field>))| {
        let column = Expr::Column(column);
        match column.get_type(plan.schema())? == *field.data_type() {
            true => Ok(column),
            false => Ok(cast(column, field.data_type().clone()).alias_qualified(qualifier.cloned(), field.name())),
        }
    };
    let exprs: Vec<Expr> =
        plan.schema().columns().into_iter().zip(join.schema.iter()).map(back).collect::<Result<_>>()?;
    if exprs.iter().all(|e| matches!(e, Expr::Column(_))) {
        return Ok(plan);
    }
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}

/// A side with its columns as they are compared.
fn side<'a>(plan: &Arc<LogicalPlan>, keys: impl Iterator<Item = &'a Expr>) -> Result<LogicalPlan> {
    let named = keys.zip(plan.schema().iter()).map(|(key, (qualifier, field))| match key {
        Expr::Column(_) => key.clone(),
        computed => computed.clone().alias_qualified(qualifier.cloned(), field.name()),
    });
    let exprs: Vec<Expr> = named.collect();
    let columns = plan.schema().columns();
    if exprs.iter().zip(&columns).all(|(e, c)| matches!(e, Expr::Column(own) if own == c)) {
        return Ok(plan.as_ref().clone());
    }
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::clone(plan))?))
}

impl UserDefinedLogicalNodeCore for SetOperationNode {
    fn name(&self) -> &str {
        match self.kind {
            SetKind::Intersect => "IntersectAll",
            SetKind::Except => "ExceptAll",
        }
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.left.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut inputs = inputs.into_iter().map(Arc::new);
        match (inputs.next(), inputs.next()) {
            (Some(left), Some(right)) => Ok(Self { kind: self.kind, left, right }),
            _ => plan_err!("a set operation has two inputs"),
        }
    }

    /// All: rows are compared whole.
    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let all = |plan: &LogicalPlan| (0..plan.schema().fields().len()).collect();
        Some(vec![all(&self.left), all(&self.right)])
    }
}

/// A set operation's node.
pub(super) fn lower(compiler: &mut Compiler, node: &SetOperationNode) -> crate::Result<NodeId> {
    let mut inputs = Vec::new();
    let mut changelog = if node.kind == SetKind::Except { Changelog::Retract } else { Changelog::Append };
    let ttl = [&node.left, &node.right].map(|plan| compiler.state_ttl(plan));
    for plan in [&node.left, &node.right] {
        let input = compiler.lower(plan)?;
        let all = (0..compiler.circuit.node(input).schema.fields().len()).collect();
        let exchanged = compiler.exchange(input, all);
        changelog = changelog.or(compiler.circuit.node(exchanged).notes.changelog);
        inputs.push(exchanged);
    }
    let [left, right] = [0, 1].map(|i| compiler.circuit.node(inputs[i]));
    let pairs = left.schema.fields().iter().zip(right.schema.fields());
    let fields = pairs.map(|(l, r)| l.as_ref().clone().with_nullable(l.is_nullable() || r.is_nullable()));
    let schema = Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()));
    let longest = ttl.iter().all(Option::is_some).then(|| ttl.into_iter().flatten().max()).flatten();
    let notes = NodeNotes {
        detail: if node.kind == SetKind::Intersect { "INTERSECT ALL".into() } else { "EXCEPT ALL".into() },
        changelog,
        keys: left.notes.keys.clone(),
        bound: Some(Bound::of([Held::rows("both inputs").ttl(longest)])),
        ..NodeNotes::default()
    };
    let factory = SetOperationFactory { kind: node.kind, schema: Arc::clone(&schema), ttl };
    Ok(compiler.operator(factory, inputs, schema, notes))
}
