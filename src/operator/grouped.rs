//! Groups and their running aggregates: DataFusion's grouping and accumulators behind one small type.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_expr::{EmitTo, GroupsAccumulator};
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;
use datafusion_physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};
use datafusion_physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion_physical_plan::aggregates::order::GroupOrdering;

use crate::Result;

/// What is grouped by and what is aggregated; shared by all groupings of an operator.
#[derive(Debug)]
pub(super) struct Grouping {
    /// The types of the keys.
    pub keys: SchemaRef,
    /// The aggregates.
    pub aggregates: Vec<Aggregate>,
    /// What [`Grouped::freeze`] gives: keys, then each aggregate's partial state.
    pub partial: SchemaRef,
}

/// One aggregate function over its arguments.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// The function, its arguments, DISTINCT and ORDER BY.
    pub function: Arc<AggregateFunctionExpr>,
    /// `FILTER (WHERE …)`.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

impl Aggregate {
    /// Arguments and, behind them, what the function's own ORDER BY sorts by.
    pub(super) fn inputs(&self) -> impl Iterator<Item = Arc<dyn PhysicalExpr>> {
        let ordering = self.function.order_bys().iter().map(|s| Arc::clone(&s.expr)).collect::<Vec<_>>();
        self.function.expressions().into_iter().chain(ordering)
    }
}

/// The aggregates' inputs, computed for some rows.
pub(super) struct Inputs {
    values: Vec<Vec<ArrayRef>>,
    filters: Vec<Option<BooleanArray>>,
}

impl Grouping {
    pub fn try_new(keys: SchemaRef, aggregates: Vec<Aggregate>) -> Result<Self> {
        let mut fields: Vec<Arc<Field>> = keys.fields().iter().cloned().collect();
        for (i, aggregate) in aggregates.iter().enumerate() {
            for (j, field) in aggregate.function.state_fields()?.into_iter().enumerate() {
                // Two aggregates may name their states alike.
                fields.push(Arc::new(field.as_ref().clone().with_name(format!("a{i}_{j}")).with_nullable(true)));
            }
        }
        Ok(Self { keys, aggregates, partial: Arc::new(Schema::new(fields)) })
    }

    /// Computes the aggregates' inputs for all rows of a batch.
    pub fn inputs(&self, rows: &RecordBatch) -> Result<Inputs> {
        let evaluate = |e: Arc<dyn PhysicalExpr>| e.evaluate(rows)?.into_array(rows.num_rows());
        let mut values = Vec::with_capacity(self.aggregates.len());
        let mut filters = Vec::with_capacity(self.aggregates.len());
        for aggregate in &self.aggregates {
            values.push(aggregate.inputs().map(evaluate).collect::<datafusion_common::Result<Vec<_>>>()?);
            let filter = aggregate.filter.clone().map(evaluate).transpose()?;
            filters.push(filter.map(|f| f.as_boolean().clone()));
        }
        Ok(Inputs { values, filters })
    }
}

impl Inputs {
    /// The inputs of some of the rows.
    pub fn select(&self, pick: impl Fn(&ArrayRef) -> Result<ArrayRef>) -> Result<Self> {
        let values = self.values.iter().map(|v| v.iter().map(&pick).collect()).collect::<Result<_>>()?;
        let mut filters = Vec::with_capacity(self.filters.len());
        for filter in &self.filters {
            let picked = match filter {
                Some(f) => Some(pick(&(Arc::new(f.clone()) as ArrayRef))?.as_boolean().clone()),
                None => None,
            };
            filters.push(picked);
        }
        Ok(Self { values, filters })
    }
}

/// Running aggregates of groups that are known by number, from 0 on.
pub(super) struct Accumulators {
    grouping: Arc<Grouping>,
    all: Vec<Box<dyn GroupsAccumulator>>,
}

impl Accumulators {
    pub fn try_new(grouping: &Arc<Grouping>) -> Result<Self> {
        let all = grouping.aggregates.iter().map(accumulator).collect::<Result<_>>()?;
        Ok(Self { grouping: Arc::clone(grouping), all })
    }

    pub fn bytes(&self) -> usize {
        self.all.iter().map(|a| a.size()).sum()
    }

    /// Adds rows: the group of each, and the aggregates' inputs for them; `total` is how many groups there are then.
    pub fn update(&mut self, groups: &[usize], inputs: &Inputs, total: usize) -> Result<()> {
        for (i, accumulator) in self.all.iter_mut().enumerate() {
            accumulator.update_batch(&inputs.values[i], groups, inputs.filters[i].as_ref(), total)?;
        }
        Ok(())
    }

    /// Adds partial aggregates, as [`Accumulators::state`] gave them: the group of each.
    pub fn merge(&mut self, groups: &[usize], mut states: &[ArrayRef], total: usize) -> Result<()> {
        for (accumulator, aggregate) in self.all.iter_mut().zip(&self.grouping.aggregates) {
            let (own, rest) = states.split_at(aggregate.function.state_fields()?.len());
            accumulator.merge_batch(own, groups, total)?;
            states = rest;
        }
        Ok(())
    }

    /// The partial aggregates of all groups, to be merged later; leaves nothing behind.
    pub fn state(&mut self) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::new();
        for accumulator in &mut self.all {
            columns.extend(accumulator.state(EmitTo::All)?);
        }
        Ok(columns)
    }

    /// The final values of all groups; leaves nothing behind.
    pub fn evaluate(&mut self) -> Result<Vec<ArrayRef>> {
        self.all.iter_mut().map(|accumulator| Ok(accumulator.evaluate(EmitTo::All)?)).collect()
    }
}

/// Groups with running aggregates.
pub(super) struct Grouped {
    grouping: Arc<Grouping>,
    /// `None` without keys: then there is one group.
    keys: Option<Box<dyn GroupValues>>,
    accumulators: Accumulators,
    /// Kept between calls for its memory: the group of each row.
    groups: Vec<usize>,
}

impl Grouped {
    pub fn try_new(grouping: &Arc<Grouping>) -> Result<Self> {
        let keys = match grouping.keys.fields().is_empty() {
            true => None,
            false => Some(new_group_values(Arc::clone(&grouping.keys), &GroupOrdering::None)?),
        };
        let accumulators = Accumulators::try_new(grouping)?;
        Ok(Self { grouping: Arc::clone(grouping), keys, accumulators, groups: Vec::new() })
    }

    pub fn len(&self) -> usize {
        self.keys.as_ref().map_or(1, |k| k.len())
    }

    pub fn bytes(&self) -> usize {
        let keys = self.keys.as_ref().map_or(0, |k| k.size());
        keys + self.accumulators.bytes()
    }

    /// Adds rows: their keys and the aggregates' inputs for them.
    pub fn update(&mut self, keys: &[ArrayRef], inputs: &Inputs, rows: usize) -> Result<()> {
        let total = self.assign(keys, rows)?;
        self.accumulators.update(&self.groups, inputs, total)
    }

    /// Adds what [`Grouped::freeze`] gave.
    pub fn merge(&mut self, partial: &RecordBatch) -> Result<()> {
        let (keys, states) = partial.columns().split_at(self.grouping.keys.fields().len());
        let total = self.assign(keys, partial.num_rows())?;
        self.accumulators.merge(&self.groups, states, total)
    }

    /// Finds or makes the group of each row; gives how many groups there are.
    fn assign(&mut self, keys: &[ArrayRef], rows: usize) -> Result<usize> {
        match &mut self.keys {
            Some(groups) => groups.intern(keys, &mut self.groups)?,
            None => {
                self.groups.clear();
                self.groups.resize(rows, 0);
            }
        }
        Ok(self.len())
    }

    /// The partial aggregates of all groups, to be merged later; leaves nothing behind.
    pub fn freeze(mut self) -> Result<RecordBatch> {
        let rows = self.len();
        let mut columns = self.emit_keys()?;
        columns.extend(self.accumulators.state()?);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.grouping.partial), columns, &options)?)
    }

    /// Keys and final values of all groups, and how many groups there are; leaves nothing behind.
    pub fn finish(mut self) -> Result<(Vec<ArrayRef>, usize)> {
        let rows = self.len();
        let mut columns = self.emit_keys()?;
        columns.extend(self.accumulators.evaluate()?);
        Ok((columns, rows))
    }

    fn emit_keys(&mut self) -> Result<Vec<ArrayRef>> {
        let Some(groups) = &mut self.keys else { return Ok(Vec::new()) };
        let keys = groups.emit(EmitTo::All)?;
        // Interning may change an encoding (dictionaries); the schema is what was asked for.
        let cast =
            keys.into_iter().zip(self.grouping.keys.fields()).map(|(k, f)| match k.data_type() == f.data_type() {
                true => Ok(k),
                false => Ok(arrow::compute::cast(&k, f.data_type())?),
            });
        cast.collect()
    }
}

fn accumulator(aggregate: &Aggregate) -> Result<Box<dyn GroupsAccumulator>> {
    if aggregate.function.groups_accumulator_supported() {
        return Ok(aggregate.function.create_groups_accumulator()?);
    }
    let function = Arc::clone(&aggregate.function);
    Ok(Box::new(GroupsAccumulatorAdapter::new(move || function.create_accumulator())))
}
