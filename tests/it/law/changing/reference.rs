//! What a query over changing tables must answer: the same plan, run by DataFusion in batch over the rows that stand.
//!
//! Two things differ from batch. An aggregate over all rows has no row as long as there are none to aggregate. And
//! `INTERSECT ALL` and `EXCEPT ALL`, which DataFusion plans wrongly, are worked out by numbering equal rows.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, Result, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SessionStateBuilder, TaskContext};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::logical_plan::{
    Aggregate, Filter, Join, JoinConstraint, Projection, Subquery, TableScan,
};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, lit, when};
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::ensure_requirements::EnsureRequirements;
use datafusion::physical_optimizer::join_selection::JoinSelection;
use datafusion::physical_optimizer::sanity_checker::SanityCheckPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, stream::RecordBatchStreamAdapter};
use datafusion::prelude::{SessionConfig, SessionContext};
use millstream::plan::{ColumnOrigin, StreamTable};

/// The rows of a table, which may be exchanged between two runs of a plan.
#[derive(Debug)]
struct Contents {
    schema: SchemaRef,
    rows: Mutex<RecordBatch>,
}

#[derive(Debug)]
struct Part(Arc<Contents>);

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.0.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.0.rows.lock().unwrap().clone();
        let rows = futures::stream::iter([Ok(rows)]);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.0.schema), rows))
    }
}

/// A query that has been planned for batch, to be run over any rows.
pub struct Reference {
    context: SessionContext,
    runtime: tokio::runtime::Runtime,
    tables: HashMap<String, Arc<Contents>>,
    plan: Arc<dyn ExecutionPlan>,
}

impl Reference {
    pub fn new(plan: &LogicalPlan) -> Result<Self> {
        let config = SessionConfig::new().with_target_partitions(1).with_batch_size(1 << 16);
        let config = config.set_bool("datafusion.optimizer.enable_dynamic_filter_pushdown", false);
        // Where an aggregate has no row, columns are NULL that batch knows as not NULL.
        let config = config.set_bool("datafusion.execution.skip_physical_aggregate_schema_check", true);
        // Only what makes a plan fit to run: the pushing of filters into outer joins, for one, is wrong at times.
        let rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> =
            vec![Arc::new(JoinSelection::new()), Arc::new(EnsureRequirements::new()), Arc::new(SanityCheckPlan::new())];
        let state = SessionStateBuilder::new().with_config(config).with_default_features();
        let context = SessionContext::new_with_state(state.with_physical_optimizer_rules(rules).build());
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let mut tables = HashMap::new();
        let plan = plan.clone().transform_up_with_subqueries(|node| lower(node, &mut tables))?.data;
        // Only what must be done before a plan can run: the more is left out, the less can be wrong in the same way as ours.
        let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
            Arc::new(SimplifyExpressions::new()),
            Arc::new(ReplaceDistinctWithAggregate::new()),
            Arc::new(DecorrelatePredicateSubquery::new()),
            Arc::new(ScalarSubqueryToJoin::new()),
            Arc::new(ExtractEquijoinPredicate::new()),
        ];
        let plan = Optimizer::with_rules(rules).optimize(plan, &OptimizerContext::new(), |_, _| {})?;
        let state = context.state();
        let plan = runtime.block_on(state.query_planner().create_physical_plan(&plan, &state))?;
        Ok(Self { context, runtime, tables, plan })
    }

    /// The answer when these rows stand in the tables.
    pub fn answer(&self, standing: &HashMap<String, RecordBatch>) -> Result<RecordBatch> {
        for (name, contents) in &self.tables {
            *contents.rows.lock().unwrap() = standing[name].clone().with_schema(Arc::clone(&contents.schema))?;
        }
        let plan = reset_plan_states(Arc::clone(&self.plan))?;
        let batches = datafusion::physical_plan::collect(plan, self.context.task_ctx());
        let all = arrow::compute::concat_batches(&self.plan.schema(), &self.runtime.block_on(batches)?)?;
        // Names that cannot collide.
        let fields = all.columns().iter().enumerate();
        let fields = fields.map(|(i, c)| Field::new(format!("c{i}"), c.data_type().clone(), true)).collect::<Vec<_>>();
        let options = RecordBatchOptions::new().with_row_count(Some(all.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), all.columns().to_vec(), &options)?)
    }
}

fn lower(plan: LogicalPlan, tables: &mut HashMap<String, Arc<Contents>>) -> Result<Transformed<LogicalPlan>> {
    Ok(match &plan {
        LogicalPlan::TableScan(scan) => Transformed::yes(read(scan, tables)?),
        LogicalPlan::Aggregate(a) if is_global(a) => Transformed::yes(of_some_rows(a)?),
        LogicalPlan::Filter(f) => {
            let schema = Arc::clone(f.input.schema());
            let conditions =
                split_conjunction_owned(f.predicate.clone()).into_iter().map(|condition| match condition {
                    Expr::InSubquery(membership) => not_in(membership, &schema),
                    other => Ok(other.transform_up(|e| in_three_values(e, &schema))?.data),
                });
            let predicate = conjunction(conditions.collect::<Result<Vec<_>>>()?).unwrap_or(lit(true));
            Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, Arc::clone(&f.input))?))
        }
        LogicalPlan::Join(join) if counts_copies(join) => Transformed::yes(numbered(join)?),
        // What may be NULL below may have changed.
        _ => Transformed::yes(plan.recompute_schema()?),
    })
}

/// INTERSECT ALL and EXCEPT ALL come as joins by all columns that are wrong where the left side has rows twice.
fn counts_copies(join: &Join) -> bool {
    let kind = matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti);
    kind && join.null_equality == NullEquality::NullEqualsNull && !matches!(*join.left, LogicalPlan::Distinct(_))
}

/// The same join with equal rows numbered on both sides: the first joins the first, the second the second.
fn numbered(join: &Join) -> Result<LogicalPlan> {
    let side = |input: &LogicalPlan| -> Result<LogicalPlan> {
        let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        let copy = row_number().partition_by(columns.clone()).build()?.alias("__copy");
        let windowed = LogicalPlanBuilder::from(input.clone()).window(vec![copy])?.build()?;
        let copy = windowed.schema().columns().pop().map(Expr::Column).unwrap().alias("__copy");
        LogicalPlanBuilder::from(windowed).project(columns.into_iter().chain([copy]))?.build()
    };
    let (left, right) = (side(&join.left)?, side(&join.right)?);
    let copies = (Expr::Column(Column::from_name("__copy")), Expr::Column(Column::from_name("__copy")));
    let on = join.on.iter().cloned().chain([copies]).collect();
    let joined = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        None,
        join.join_type,
        JoinConstraint::On,
        NullEquality::NullEqualsNull,
        false,
    )?;
    let columns = join.left.schema().columns().into_iter().map(Expr::Column);
    LogicalPlanBuilder::from(LogicalPlan::Join(joined)).project(columns)?.build()
}

/// `x NOT IN (…)`, which DataFusion does not plan with references to the query around, as NOT EXISTS with a row for which
/// `x = y` is not false. That is as good where all that counts is whether a condition is true.
fn not_in(membership: InSubquery, outer: &DFSchema) -> Result<Expr> {
    match membership.negated {
        true => exists(&membership, outer, true, Expr::is_not_false),
        false => Ok(Expr::InSubquery(membership)),
    }
}

/// `x IN (…)` as a part of a condition, where it also counts whether it is false or not known.
fn in_three_values(expr: Expr, outer: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::InSubquery(membership) = expr else { return Ok(Transformed::no(expr)) };
    let found = exists(&membership, outer, false, |equal| equal)?;
    let unknown = exists(&membership, outer, false, Expr::is_null)?;
    let null = lit(ScalarValue::Boolean(None));
    let value = when(found, lit(!membership.negated)).when(unknown, null).otherwise(lit(membership.negated))?;
    Ok(Transformed::yes(value))
}

/// Whether the subquery has a row of whose equality with the value something holds.
fn exists(membership: &InSubquery, outer: &DFSchema, negated: bool, test: fn(Expr) -> Expr) -> Result<Expr> {
    let InSubquery { expr: wanted, subquery, .. } = membership.clone();
    let columns: HashSet<Column> = wanted.column_refs().into_iter().cloned().collect();
    let mut refer = |e: Expr| match e {
        Expr::Column(c) if columns.contains(&c) => {
            let (_, field) = outer.qualified_field_from_column(&c)?;
            Ok(Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(field), c)))
        }
        other => Ok(Transformed::no(other)),
    };
    let wanted = wanted.transform_up(&mut refer)?.data;
    let mut outer_ref_columns = subquery.outer_ref_columns.clone();
    wanted.apply(|e| {
        outer_ref_columns.extend(matches!(e, Expr::OuterReferenceColumn(..)).then(|| e.clone()));
        Ok(TreeNodeRecursion::Continue)
    })?;
    let given = Expr::Column(subquery.subquery.schema().columns().remove(0));
    let asked = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).filter(test(given.eq(wanted)))?;
    let subquery = Subquery { subquery: Arc::new(asked.build()?), outer_ref_columns, ..subquery };
    Ok(Expr::Exists(Exists { subquery, negated }))
}

fn read(scan: &TableScan, tables: &mut HashMap<String, Arc<Contents>>) -> Result<LogicalPlan> {
    let Some(table) = scan.source.downcast_ref::<StreamTable>() else {
        return Ok(LogicalPlan::TableScan(scan.clone()));
    };
    let descriptor = &table.descriptor;
    // DataFusion believes too readily that a column is never NULL, as behind a subquery that has no row.
    let fields = descriptor.schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let empty = || {
        let rows = Mutex::new(RecordBatch::new_empty(Arc::clone(&schema)));
        Arc::new(Contents { schema: Arc::clone(&schema), rows })
    };
    let contents = tables.entry(descriptor.name.clone()).or_insert_with(empty);
    let provider = StreamingTable::try_new(Arc::clone(&schema), vec![Arc::new(Part(Arc::clone(contents)))])?;
    let all = (0..table.schema.fields().len()).collect();
    let exprs = scan.projection.clone().unwrap_or(all).into_iter().map(|column| {
        let expr = match &table.origins[column] {
            ColumnOrigin::Connector(i) => Expr::Column(Column::from_name(table.descriptor.schema.field(*i).name())),
            ColumnOrigin::Computed(expr) => expr.clone(),
        };
        expr.alias_qualified(Some(scan.table_name.clone()), table.schema.field(column).name())
    });
    let exprs: Vec<Expr> = exprs.collect();
    LogicalPlanBuilder::scan("__rows", provider_as_source(Arc::new(provider)), None)?.project(exprs)?.build()
}

/// Whether it has a row for all its input, and is not asked for the rows that belong to an outer one.
fn is_global(aggregate: &Aggregate) -> bool {
    let sets = matches!(aggregate.group_expr.as_slice(), [] | [Expr::GroupingSet(_)]);
    sets && aggregate.input.all_out_ref_exprs().is_empty()
}

/// The aggregate without the row of nothing.
fn of_some_rows(aggregate: &Aggregate) -> Result<LogicalPlan> {
    let rows = count(lit(1)).alias("__rows");
    let exprs = aggregate.aggr_expr.iter().cloned().chain([rows]).collect();
    let with_count = Aggregate::try_new(Arc::clone(&aggregate.input), aggregate.group_expr.clone(), exprs)?;
    let some = Expr::Column(Column::from_name("__rows")).gt(lit(0_i64));
    let kept = LogicalPlanBuilder::from(LogicalPlan::Aggregate(with_count)).filter(some.clone())?.build()?;
    let keys = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let columns = aggregate.schema.columns().into_iter().enumerate().map(|(i, column)| {
        let (relation, name) = (column.relation.clone(), column.name.clone());
        let value = Expr::Column(column);
        match i < keys {
            true => Ok(value),
            // Says that it may be NULL: so is a subquery's value without a row.
            false => Ok(when(some.clone(), value).end()?.alias_qualified(relation, name)),
        }
    });
    Ok(LogicalPlan::Projection(Projection::try_new(columns.collect::<Result<_>>()?, Arc::new(kept))?))
}
