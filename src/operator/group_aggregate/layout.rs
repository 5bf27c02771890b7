//! Which accumulators answer a list of aggregates, and what they share.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Schema};
use arrow::row::{RowConverter, SortField};
use datafusion_functions_aggregate::count::Count;
use datafusion_functions_aggregate::first_last::{FirstValue, LastValue};
use datafusion_functions_aggregate::min_max::{Max, Min};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};

use super::accumulate::{Accumulator, Kept};
use super::bag::{Bag, Held};
use super::count::Counts;
use super::distinct::{Distinct, MAX_FILTERS, Table};
use super::extreme::{End, Extremes};
use super::function::Function;
use super::running::Running;
use super::total::{sum_type, totals};
use crate::Result;
use crate::operator::grouped::Aggregate;

/// How an aggregate is kept, for the words in which a plan tells what bounds its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// One value for each group.
    Value,
    /// The distinct values of each group.
    Distinct,
    /// All rows of each group.
    Rows,
}

/// How an aggregate over input that changes, or does not, is kept.
pub fn keeping(aggregate: &Aggregate, changing: bool) -> Keeping {
    let function = &aggregate.function;
    match Kind::of(function) {
        Kind::Extreme(_) => {
            if changing {
                Keeping::Distinct
            } else {
                Keeping::Value
            }
        }
        _ if function.is_distinct() => Keeping::Distinct,
        Kind::Count | Kind::Total(_) => Keeping::Value,
        Kind::Other => {
            if runs(function, changing) && !gathers(function) {
                Keeping::Value
            } else {
                Keeping::Rows
            }
        }
    }
}

/// What an aggregate function is to this operator.
enum Kind {
    Count,
    Total(DataType),
    Extreme(End),
    Other,
}

impl Kind {
    fn of(function: &AggregateFunctionExpr) -> Self {
        let implementation = function.fun().inner();
        let ordered = |data_type: &DataType| RowConverter::supports_fields(&[SortField::new(data_type.clone())]);
        if implementation.downcast_ref::<Count>().is_some() {
            return Kind::Count;
        }
        if ordered(function.field().data_type()) {
            if implementation.downcast_ref::<Min>().is_some() {
                return Kind::Extreme(End::Least);
            }
            if implementation.downcast_ref::<Max>().is_some() {
                return Kind::Extreme(End::Greatest);
            }
        }
        sum_type(function).map_or(Kind::Other, Kind::Total)
    }
}

/// Whether one accumulator for each group is enough, which takes rows as they come.
fn runs(function: &AggregateFunctionExpr, changing: bool) -> bool {
    !changing && (function.order_bys().is_empty() || takes_one(function))
}

/// Whether a function takes one of its rows: the first or the last.
fn takes_one(function: &AggregateFunctionExpr) -> bool {
    let implementation = function.fun().inner();
    implementation.downcast_ref::<FirstValue>().is_some() || implementation.downcast_ref::<LastValue>().is_some()
}

/// Whether a function's own state grows with its rows, as far as can be told.
fn gathers(function: &AggregateFunctionExpr) -> bool {
    let list = |t: &DataType| matches!(t, DataType::List(_) | DataType::LargeList(_) | DataType::Map(..));
    let lists = function.state_fields().is_ok_and(|fields| fields.iter().any(|f| list(f.data_type())));
    lists || matches!(function.fun().name(), "listagg" | "string_agg")
}

/// What accumulators read, each expression once.
#[derive(Debug, Default)]
pub(super) struct Inputs(Vec<Arc<dyn PhysicalExpr>>);

impl Inputs {
    fn add(&mut self, expr: &Arc<dyn PhysicalExpr>) -> usize {
        self.0.iter().position(|known| known == expr).unwrap_or_else(|| {
            self.0.push(Arc::clone(expr));
            self.0.len() - 1
        })
    }

    /// Computes all for the rows of a batch.
    pub fn evaluate(&self, rows: &arrow::array::RecordBatch) -> Result<Vec<ArrayRef>> {
        self.0.iter().map(|e| Ok(e.evaluate(rows)?.into_array(rows.num_rows())?)).collect()
    }
}

/// The accumulators of an operator.
pub(super) struct Layout {
    /// What they read.
    pub inputs: Inputs,
    /// All of them.
    pub accumulators: Vec<Box<dyn Accumulator>>,
    /// For each aggregate the column that holds it, of all that the accumulators give.
    pub columns: Vec<usize>,
}

/// What all accumulators of an operator have in common.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    /// The input's columns.
    pub schema: &'a Schema,
    /// Whether rows may go.
    pub changing: bool,
    /// Whether groups expire.
    pub expires: bool,
}

impl Layout {
    pub fn try_new(aggregates: &[Aggregate], setting: Setting) -> Result<Self> {
        let mut inputs = Inputs::default();
        let mut plain = Slots::default();
        let mut tables: Vec<Distincts> = Vec::new();
        for (index, aggregate) in aggregates.iter().enumerate() {
            let function = &aggregate.function;
            let filter = aggregate.filter.as_ref().map(|f| inputs.add(f));
            if !function.is_distinct() || matches!(Kind::of(function), Kind::Extreme(_)) {
                let places: Vec<usize> = aggregate.inputs().map(|e| inputs.add(&e)).collect();
                plain.add(index, function, filter, &places, setting)?;
                continue;
            }
            let function = Arc::new(without_distinct(function, setting.schema)?);
            let places: Vec<usize> = aggregate.inputs().map(|e| inputs.add(&e)).collect();
            let (table, filter) = table_for(&mut tables, places, filter);
            let within: Vec<usize> = (0..tables[table].inputs.len()).collect();
            tables[table].slots[filter].add(index, &function, None, &within, setting)?;
        }
        let mut layout = Self { inputs, accumulators: Vec::new(), columns: vec![0; aggregates.len()] };
        let mut next = 0;
        let accumulators = plain.build(setting, &mut next, &mut layout.columns)?;
        layout.accumulators.extend(accumulators);
        for table in tables {
            let types = table.inputs.iter().map(|i| Ok(layout.inputs.0[*i].data_type(setting.schema)?));
            let types = types.collect::<Result<Vec<_>>>()?;
            let build = |slots: Slots| slots.build(setting, &mut next, &mut layout.columns);
            let aggregates = table.slots.into_iter().map(build).collect::<Result<Vec<_>>>()?;
            let (inputs, filters) = (table.inputs, table.filters);
            let table = Table { inputs, types, filters, changing: setting.changing, expires: setting.expires };
            layout.accumulators.push(Box::new(Distinct::try_new(table, aggregates)?));
        }
        Ok(layout)
    }
}

/// The distinct aggregates over one argument.
struct Distincts {
    inputs: Vec<usize>,
    filters: Vec<Option<usize>>,
    /// By filter.
    slots: Vec<Slots>,
}

/// Finds or makes the table of distinct values of some inputs, and room for a filter in it.
fn table_for(tables: &mut Vec<Distincts>, inputs: Vec<usize>, filter: Option<usize>) -> (usize, usize) {
    for (index, table) in tables.iter_mut().enumerate().filter(|(_, t)| t.inputs == inputs) {
        if let Some(known) = table.filters.iter().position(|f| *f == filter) {
            return (index, known);
        }
        if table.filters.len() < MAX_FILTERS {
            table.filters.push(filter);
            table.slots.push(Slots::default());
            return (index, table.filters.len() - 1);
        }
    }
    tables.push(Distincts { inputs, filters: vec![filter], slots: vec![Slots::default()] });
    (tables.len() - 1, 0)
}

/// The same function over values that are distinct already.
fn without_distinct(function: &AggregateFunctionExpr, schema: &Schema) -> Result<AggregateFunctionExpr> {
    let built = AggregateExprBuilder::new(Arc::new(function.fun().clone()), function.expressions())
        .schema(Arc::new(schema.clone()))
        .alias(function.name())
        .order_by(function.order_bys().to_vec())
        .with_ignore_nulls(function.ignore_nulls())
        .with_reversed(function.is_reversed());
    Ok(built.build()?)
}

/// One accumulator to be.
enum Slot {
    Count(Kept),
    Total {
        kept: Kept,
        data_type: DataType,
        functions: Vec<Arc<AggregateFunctionExpr>>,
    },
    Extreme {
        kept: Kept,
        data_type: DataType,
        ends: Vec<End>,
    },
    Running {
        kept: Kept,
        inputs: Vec<usize>,
        function: Arc<AggregateFunctionExpr>,
    },
    Bag {
        kept: Kept,
        inputs: Vec<usize>,
        order: Vec<SortOptions>,
        ends: bool,
        functions: Vec<Arc<AggregateFunctionExpr>>,
    },
}

/// Accumulators to be, and which aggregate is which of their columns.
#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    /// Aggregate, slot, column of the slot.
    columns: Vec<(usize, usize, usize)>,
}

impl Slots {
    /// Adds an aggregate, to a slot that is there if one fits. `inputs` are its arguments and what its ORDER BY sorts by.
    fn add(
        &mut self,
        aggregate: usize,
        function: &Arc<AggregateFunctionExpr>,
        filter: Option<usize>,
        inputs: &[usize],
        setting: Setting,
    ) -> Result<()> {
        let (slot, column) = match Kind::of(function) {
            Kind::Count => self.count(Kept { filter, valid: nullable(function, inputs, setting.schema)? }),
            Kind::Total(data_type) => {
                let kept = Kept { filter, valid: inputs[..1].to_vec() };
                self.total(kept, data_type, function)
            }
            Kind::Extreme(end) => {
                let kept = Kept { filter, valid: inputs[..1].to_vec() };
                self.extreme(kept, function.field().data_type().clone(), end)
            }
            Kind::Other => self.other(Kept { filter, valid: Vec::new() }, inputs.to_vec(), function, setting.changing),
        };
        self.columns.push((aggregate, slot, column));
        Ok(())
    }

    fn push(&mut self, slot: Slot) -> (usize, usize) {
        self.slots.push(slot);
        (self.slots.len() - 1, 0)
    }

    fn count(&mut self, wanted: Kept) -> (usize, usize) {
        let same = |s: &Slot| matches!(s, Slot::Count(kept) if *kept == wanted);
        match self.slots.iter().position(same) {
            Some(known) => (known, 0),
            None => self.push(Slot::Count(wanted)),
        }
    }

    fn total(&mut self, wanted: Kept, of: DataType, function: &Arc<AggregateFunctionExpr>) -> (usize, usize) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Slot::Total { kept, data_type, functions } = slot
                && (&*kept, &*data_type) == (&wanted, &of)
            {
                functions.push(Arc::clone(function));
                return (index, functions.len() - 1);
            }
        }
        self.push(Slot::Total { kept: wanted, data_type: of, functions: vec![Arc::clone(function)] })
    }

    fn extreme(&mut self, wanted: Kept, data_type: DataType, end: End) -> (usize, usize) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Slot::Extreme { kept, ends, .. } = slot
                && *kept == wanted
            {
                let column = ends.iter().position(|e| *e == end).unwrap_or_else(|| {
                    ends.push(end);
                    ends.len() - 1
                });
                return (index, column);
            }
        }
        self.push(Slot::Extreme { kept: wanted, data_type, ends: vec![end] })
    }

    fn other(
        &mut self,
        mut wanted: Kept,
        inputs: Vec<usize>,
        function: &Arc<AggregateFunctionExpr>,
        changing: bool,
    ) -> (usize, usize) {
        let function = Arc::clone(function);
        if runs(&function, changing) {
            return self.push(Slot::Running { kept: wanted, inputs, function });
        }
        let sorted: Vec<SortOptions> = function.order_bys().iter().map(|s| s.options).collect();
        let one = takes_one(&function) && sorted.is_empty();
        if one && function.ignore_nulls() {
            // Else the one could stand behind any number of NULLs.
            wanted.valid = inputs[..1].to_vec();
        }
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Slot::Bag { kept, inputs: known, order, ends, functions } = slot
                && (&*kept, &*known, &*order, *ends) == (&wanted, &inputs, &sorted, one)
            {
                functions.push(function);
                return (index, functions.len() - 1);
            }
        }
        self.push(Slot::Bag { kept: wanted, inputs, order: sorted, ends: one, functions: vec![function] })
    }

    /// Makes the accumulators; notes for each aggregate its column, counted from `next` on.
    fn build(self, setting: Setting, next: &mut usize, columns: &mut [usize]) -> Result<Vec<Box<dyn Accumulator>>> {
        let mut starts = Vec::new();
        let mut built = Vec::new();
        for slot in self.slots {
            starts.push(*next);
            *next += slot.columns();
            built.push(slot.build(setting)?);
        }
        self.columns.iter().for_each(|(aggregate, slot, column)| columns[*aggregate] = starts[*slot] + column);
        Ok(built)
    }
}

/// Of a COUNT's inputs those that may be NULL.
fn nullable(function: &AggregateFunctionExpr, inputs: &[usize], schema: &Schema) -> Result<Vec<usize>> {
    let mut valid = Vec::new();
    for (input, expr) in inputs.iter().zip(function.expressions()) {
        if expr.nullable(schema)? {
            valid.push(*input);
        }
    }
    Ok(valid)
}

impl Slot {
    /// How many columns it gives.
    fn columns(&self) -> usize {
        match self {
            Slot::Count(_) | Slot::Running { .. } => 1,
            Slot::Total { functions, .. } | Slot::Bag { functions, .. } => functions.len(),
            Slot::Extreme { ends, .. } => ends.len(),
        }
    }

    fn build(self, setting: Setting) -> Result<Box<dyn Accumulator>> {
        let (changing, lenient) = (setting.changing, setting.expires);
        Ok(match self {
            Slot::Count(kept) => Box::new(Counts::new(kept)),
            Slot::Total { kept, data_type, functions } => totals(kept, data_type, functions),
            Slot::Extreme { kept, data_type, ends } => {
                Extremes { kept, data_type, ends, changing, lenient }.accumulator()?
            }
            Slot::Running { kept, inputs, function } => {
                Box::new(Running::try_new(kept, inputs, Function::new(function))?)
            }
            Slot::Bag { kept, inputs, order, ends, functions } => {
                let sorted = functions.first().map_or(&[][..], |f| f.order_bys());
                let exprs = functions.iter().take(1).flat_map(|f| f.expressions());
                let exprs = exprs.chain(sorted.iter().map(|s| Arc::clone(&s.expr)));
                let types = exprs.map(|e| Ok(e.data_type(setting.schema)?)).collect::<Result<Vec<_>>>()?;
                let held = Held { kept, inputs, types, order, ends, lenient };
                Box::new(Bag::try_new(held, functions.into_iter().map(Function::new).collect())?)
            }
        })
    }
}
