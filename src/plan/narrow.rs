//! Reading only the fields of a ROW column that are used.
//!
//! A column is narrowed only where that is plainly sound: every mention of its name, in all plans, takes a field of it.
//! Which of several tables a mention is of is not asked.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, ScalarValue, TableReference};
use datafusion_expr::logical_plan::TableScanBuilder;
use datafusion_expr::{Expr, LogicalPlan};

use super::match_recognize::MatchRecognizeNode;
use super::scan::{Narrowed, for_each_scan, read_expressions, table_id, table_of};
use super::set_operation::SetOperationNode;
use super::table::StreamTable;
use crate::Result;

/// The function that takes a field of a ROW.
const GET_FIELD: &str = "get_field";

/// Narrows the ROW columns of all scanned tables; gives the plans over the narrowed tables, and their columns.
pub(super) fn narrow_scans(plans: Vec<LogicalPlan>) -> Result<(Vec<LogicalPlan>, Narrowed)> {
    let mut uses = Uses::default();
    for plan in &plans {
        uses.note_names(plan)?;
    }
    for plan in &plans {
        uses.visit_plan(plan)?;
    }
    let mut narrowed = Narrowed::new();
    for_each_scan(&plans, |scan| {
        let table = table_of(scan)?;
        // A column that is handed on as it is, is mentioned where it goes.
        let computed = read_expressions(scan, table).into_iter().filter(|e| !matches!(e, Expr::Column(_)));
        computed.for_each(|e| uses.visit(&e));
        for key in &table.descriptor.primary_key {
            uses.columns.insert(table.descriptor.schema.field(*key).name().clone(), None);
        }
        Ok(())
    })?;
    for_each_scan(&plans, |scan| {
        let table = table_of(scan)?;
        let whole = &table.descriptor.schema;
        let schema = uses.narrow(whole);
        if &schema != whole {
            narrowed.insert(table_id(table), schema);
        }
        Ok(())
    })?;
    if narrowed.is_empty() {
        return Ok((plans, narrowed));
    }
    let rewritten = plans.into_iter().map(|plan| rewrite(plan, &narrowed)).collect::<Result<_>>()?;
    Ok((rewritten, narrowed))
}

#[derive(Default)]
struct Uses {
    /// How each column name is used: the fields that are taken, or `None` when it is used whole.
    columns: HashMap<String, Option<BTreeSet<Vec<String>>>>,
    /// The qualifiers that a scan's own columns go by. Under any other a column was computed on the way, and what it was
    /// computed from has been seen there.
    names: HashSet<TableReference>,
}

impl Uses {
    fn note_names(&mut self, plan: &LogicalPlan) -> Result<()> {
        plan.apply_with_subqueries(|node| {
            match node {
                LogicalPlan::TableScan(scan) => drop(self.names.insert(scan.table_name.clone())),
                LogicalPlan::SubqueryAlias(alias) if reaches_output(&alias.input) => {
                    self.names.insert(alias.alias.clone());
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    fn visit_plan(&mut self, plan: &LogicalPlan) -> Result<()> {
        // What a scan gives to anything but a projection or an aggregate goes on under other nodes' schemas.
        if let LogicalPlan::Union(union) = plan {
            for input in &union.inputs {
                self.whole(input.schema());
            }
        }
        if !matches!(plan, LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_)) && reaches_output(plan) {
            self.whole(plan.schema());
        }
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::Union(_) | LogicalPlan::Distinct(_) = node {
                node.inputs().into_iter().for_each(|i| self.whole(i.schema()));
            }
            if let LogicalPlan::Extension(e) = node
                && (e.node.as_any().is::<SetOperationNode>() || all_rows(e.node.as_any()))
            {
                e.node.inputs().into_iter().for_each(|i| self.whole(i.schema()));
            }
            node.apply_expressions(|e| {
                self.visit(e);
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(())
    }

    /// Uses all columns of a schema whole.
    fn whole(&mut self, schema: &DFSchema) {
        for field in schema.fields() {
            self.columns.insert(field.name().clone(), None);
        }
    }

    fn visit(&mut self, expr: &Expr) {
        let mut stack = vec![expr];
        while let Some(expr) = stack.pop() {
            if let Some((column, path)) = field_path(expr) {
                if let Some(paths) = self.columns.entry(column).or_insert_with(|| Some(BTreeSet::new())) {
                    paths.insert(path);
                }
                continue;
            }
            if let Expr::Column(column) = expr
                && column.relation.as_ref().is_none_or(|r| self.names.contains(r))
            {
                self.columns.insert(column.name.clone(), None);
            }
            let _ = expr.apply_children(|child| {
                stack.push(child);
                Ok(TreeNodeRecursion::Continue)
            });
        }
    }

    fn narrow(&self, schema: &SchemaRef) -> SchemaRef {
        let fields = schema.fields().iter().map(|field| match self.columns.get(field.name()) {
            Some(Some(paths)) => keep(field, &paths.iter().map(Vec::as_slice).collect::<Vec<_>>()),
            _ => Arc::clone(field),
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// Whether a node is a MATCH_RECOGNIZE that gives its input's columns.
fn all_rows(node: &dyn std::any::Any) -> bool {
    node.downcast_ref::<MatchRecognizeNode>().is_some_and(|matched| matched.clauses.all_rows)
}

/// Whether a plan's own output columns are a scan's: nothing between computes columns anew.
fn reaches_output(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => false,
        other => other.inputs().into_iter().any(reaches_output),
    }
}

/// `get_field(get_field(column, 'a'), 'b')` as the column's name and the path `[a, b]`.
fn field_path(expr: &Expr) -> Option<(String, Vec<String>)> {
    let Expr::ScalarFunction(call) = expr else { return None };
    if call.func.name() != GET_FIELD {
        return None;
    }
    let (inner, names) = call.args.split_first()?;
    let mut path = Vec::new();
    for name in names {
        match name {
            Expr::Literal(ScalarValue::Utf8(Some(n)) | ScalarValue::Utf8View(Some(n)), _) => path.push(n.clone()),
            _ => return None,
        }
    }
    match inner {
        Expr::Column(column) => Some((column.name.clone(), path)),
        nested => {
            let (column, mut before) = field_path(nested)?;
            before.extend(path);
            Some((column, before))
        }
    }
}

/// A field with only the parts that some paths lead to.
fn keep(field: &FieldRef, paths: &[&[String]]) -> FieldRef {
    let DataType::Struct(parts) = field.data_type() else { return Arc::clone(field) };
    if paths.iter().any(|p| p.is_empty()) {
        return Arc::clone(field);
    }
    let kept = parts.iter().filter_map(|part| {
        let below: Vec<&[String]> = paths.iter().filter(|p| p[0] == *part.name()).map(|p| &p[1..]).collect();
        (!below.is_empty()).then(|| keep(part, &below))
    });
    let kept: Fields = kept.collect();
    if kept.is_empty() {
        return Arc::clone(field);
    }
    Arc::new(Field::clone(field).with_data_type(DataType::Struct(kept)))
}

fn rewrite(plan: LogicalPlan, narrowed: &Narrowed) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up(|node| match node {
        LogicalPlan::TableScan(scan) => match scan.source.downcast_ref::<StreamTable>() {
            Some(table) if narrowed.contains_key(&table_id(table)) => {
                let table = narrow_table(table, &narrowed[&table_id(table)]);
                let scan =
                    TableScanBuilder::new(scan.table_name, Arc::new(table)).with_projection(scan.projection).build()?;
                Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
            }
            _ => Ok(Transformed::no(LogicalPlan::TableScan(scan))),
        },
        other => Ok(Transformed::yes(other.recompute_schema()?)),
    })?;
    Ok(rewritten.data)
}

/// A table whose columns have only the fields that are read.
fn narrow_table(table: &StreamTable, connector: &SchemaRef) -> StreamTable {
    use super::table::ColumnOrigin;
    let fields = table.schema.fields().iter().zip(&table.origins).map(|(field, origin)| match origin {
        ColumnOrigin::Connector(i) => {
            Arc::new(Field::clone(field).with_data_type(connector.field(*i).data_type().clone()))
        }
        ColumnOrigin::Computed(_) => Arc::clone(field),
    });
    StreamTable { schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())), ..table.clone() }
}
