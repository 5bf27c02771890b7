//! Expressions over a match's rows: what they read of these, and the rest over what was read.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion_common::DFSchema;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion_expr::{Expr, ExprSchemable};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::Column;

use super::function::{Instant, MatchNumber, Navigate, Over};
use crate::Result;
use crate::operator::group_aggregate::Aggregate;
use crate::operator::match_recognize::{Navigation, Slot, Slots, Variables};
use crate::plan::compile::physical;

/// The columns that the operator reads: expressions over a row of the input, each once.
pub(super) struct Rows<'a> {
    /// What names stand for.
    pub names: &'a DFSchema,
    /// The input's columns.
    pub before: SchemaRef,
    /// The columns.
    pub exprs: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
}

impl Rows<'_> {
    /// The column that holds an expression.
    pub fn column(&mut self, expr: &Expr) -> Result<usize> {
        let expr = physical(expr, self.names)?;
        if let Some(known) = self.exprs.iter().position(|(e, _)| e == &expr) {
            return Ok(known);
        }
        let column = expr.downcast_ref::<Column>().map(|c| c.name().to_string());
        let name = column.unwrap_or_else(|| format!("${}", self.exprs.len()));
        let field = Field::new(name, expr.data_type(&self.before)?, expr.nullable(&self.before)?);
        self.exprs.push((expr, Arc::new(field)));
        Ok(self.exprs.len() - 1)
    }

    /// The columns' types.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.exprs.iter().map(|(_, field)| Arc::clone(field)).collect::<Vec<_>>()))
    }
}

/// What some expressions read, each thing once.
#[derive(Default)]
pub(super) struct SlotList {
    known: Vec<Expr>,
    pub slots: Vec<Slot>,
    fields: Vec<FieldRef>,
}

/// What an expression reads at its top, if that is not a row of its own.
pub(super) enum Read<'a> {
    Value(&'a Navigation, &'a Expr),
    Classifier(&'a Navigation),
    Aggregate(&'a Variables, bool, &'a AggregateFunction),
    Time,
    Number,
}

/// What an expression reads at its top.
pub(super) fn read(expr: &Expr) -> Option<Read<'_>> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else { return None };
    let function = func.inner();
    if let Some(navigate) = function.downcast_ref::<Navigate>() {
        return Some(match args.first() {
            Some(value) => Read::Value(&navigate.navigation, value),
            None => Read::Classifier(&navigate.navigation),
        });
    }
    if let Some(over) = function.downcast_ref::<Over>()
        && let Some(Expr::AggregateFunction(aggregate)) = args.first()
    {
        return Some(Read::Aggregate(&over.variables, over.whole, aggregate));
    }
    if function.downcast_ref::<Instant>().is_some() {
        return Some(Read::Time);
    }
    function.downcast_ref::<MatchNumber>().map(|_| Read::Number)
}

impl SlotList {
    /// An expression over what is read of the match's rows.
    pub fn expression(&mut self, expr: &Expr, rows: &mut Rows<'_>) -> Result<Expr> {
        let replaced = expr.clone().transform_down(|e| match read(&e) {
            None => Ok(Transformed::no(e)),
            Some(_) => {
                let slot =
                    self.slot(&e, rows).map_err(|e| datafusion_common::DataFusionError::External(Box::new(e)))?;
                Ok(Transformed::new(slot, true, TreeNodeRecursion::Jump))
            }
        });
        Ok(replaced?.data)
    }

    fn slot(&mut self, expr: &Expr, rows: &mut Rows<'_>) -> Result<Expr> {
        let at = match self.known.iter().position(|known| known == expr) {
            Some(at) => at,
            None => {
                let slot = match read(expr) {
                    Some(Read::Value(navigation, value)) => {
                        Slot::Value { navigation: navigation.clone(), column: rows.column(value)? }
                    }
                    Some(Read::Classifier(navigation)) => Slot::Classifier(navigation.clone()),
                    Some(Read::Aggregate(variables, whole, call)) => {
                        Slot::Aggregate { variables: variables.clone(), aggregate: aggregate(call, rows)?, whole }
                    }
                    Some(Read::Time) => Slot::Time,
                    _ => Slot::Number,
                };
                let data_type = expr.get_type(rows.names)?;
                self.fields.push(Arc::new(Field::new(format!("s{}", self.slots.len()), data_type, true)));
                self.slots.push(slot);
                self.known.push(expr.clone());
                self.slots.len() - 1
            }
        };
        Ok(Expr::Column(datafusion_common::Column::new_unqualified(format!("s{at}"))))
    }

    /// All that is read.
    pub fn finish(self) -> Slots {
        Slots { slots: self.slots, schema: Arc::new(Schema::new(self.fields)) }
    }

    /// The types of what is read.
    pub fn schema(&self) -> Result<DFSchema> {
        Ok(DFSchema::try_from(Schema::new(self.fields.clone()))?)
    }
}

/// An aggregate over columns of rows.
fn aggregate(call: &AggregateFunction, rows: &mut Rows<'_>) -> Result<Aggregate> {
    let params = &call.params;
    let over = |expr: &Expr, rows: &mut Rows<'_>| -> Result<Arc<dyn PhysicalExpr>> {
        let columns: Vec<datafusion_common::Column> = expr.column_refs().into_iter().cloned().collect();
        let places = columns.iter().map(|c| Ok((c.clone(), rows.column(&Expr::Column(c.clone()))?)));
        let places = places.collect::<Result<Vec<_>>>()?;
        // The same expression over the columns that the operator reads.
        let renamed = expr.clone().transform_up(|e| match &e {
            Expr::Column(column) => {
                let place = places.iter().find(|(c, _)| c == column).map(|(_, place)| *place);
                let new = place.map(|p| Expr::Column(datafusion_common::Column::new_unqualified(format!("c{p}"))));
                Ok(new.map_or_else(|| Transformed::no(e.clone()), Transformed::yes))
            }
            _ => Ok(Transformed::no(e)),
        });
        physical(&renamed?.data, &numbered(&rows.schema())?)
    };
    let arguments = params.args.iter().map(|e| over(e, rows)).collect::<Result<Vec<_>>>()?;
    let filter = params.filter.as_ref().map(|f| over(f, rows)).transpose()?;
    let order = params.order_by.iter().map(|o| {
        let options = arrow::compute::SortOptions { descending: !o.asc, nulls_first: o.nulls_first };
        Ok(datafusion_physical_expr::PhysicalSortExpr::new(over(&o.expr, rows)?, options))
    });
    let order = order.collect::<Result<Vec<_>>>()?;
    let types = numbered(&rows.schema())?;
    let function = AggregateExprBuilder::new(Arc::clone(&call.func), arguments)
        .schema(Arc::clone(types.inner()))
        .alias(call.func.name())
        .with_distinct(params.distinct)
        .order_by(order)
        .build()?;
    Ok(Aggregate { function: Arc::new(function), filter })
}

/// Columns under names that are their places.
fn numbered(schema: &Schema) -> Result<DFSchema> {
    let fields = schema.fields().iter().enumerate();
    let fields: Vec<Field> = fields.map(|(at, f)| f.as_ref().clone().with_name(format!("c{at}"))).collect();
    Ok(DFSchema::try_from(Schema::new(fields))?)
}

/// Whether values of a type are truth values.
pub(super) fn is_truth(data_type: &DataType) -> bool {
    *data_type == DataType::Boolean
}
