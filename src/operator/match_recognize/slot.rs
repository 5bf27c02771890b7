//! What expressions over a match read of its rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef, TimestampMillisecondType};
use datafusion_common::ScalarValue;
use datafusion_expr::EmitTo;
use datafusion_physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};

use crate::operator::grouped::Aggregate;
use crate::state::RowStore;
use crate::{Error, Result};

/// Some of a pattern's variables.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Variables {
    /// All of them.
    All,
    /// These.
    Some(Vec<u32>),
}

impl Variables {
    /// Whether a variable is among them.
    pub fn contains(&self, variable: u32) -> bool {
        match self {
            Variables::All => true,
            Variables::Some(some) => some.contains(&variable),
        }
    }
}

/// Which row of some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// Counted from the first.
    First,
    /// Counted back from the last.
    Last,
}

/// A row of a match: the one that a navigation leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Navigation {
    /// The variables whose rows are counted.
    pub variables: Variables,
    /// From which end.
    pub end: End,
    /// How many rows from there.
    pub offset: u64,
    /// How many rows behind that one in the partition; before it where this is negative.
    pub shift: i64,
    /// Whether the rows of the whole match are seen where `ALL ROWS PER MATCH` would show those up to the current one.
    pub whole: bool,
}

/// Something that is read of a match's rows.
#[derive(Debug, Clone)]
pub enum Slot {
    /// A column of one of its rows.
    Value {
        /// The row.
        navigation: Navigation,
        /// The column.
        column: usize,
    },
    /// An aggregate over its rows.
    Aggregate {
        /// The variables whose rows are aggregated.
        variables: Variables,
        /// The function and its arguments, over a row's columns.
        aggregate: Aggregate,
        /// As for navigations.
        whole: bool,
    },
    /// The name of the variable that a row is bound to.
    Classifier(Navigation),
    /// The number of the match in its partition.
    Number,
    /// When the match was found, by the time that rows are ordered by.
    Time,
}

/// Rows in a row that are bound to one variable.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    /// The variable.
    pub variable: u32,
    /// Whether `ALL ROWS PER MATCH` leaves them out.
    pub excluded: bool,
    /// From where to where they stand in [`Matched::ids`].
    pub rows: (usize, usize),
}

/// The rows that an expression sees: a part of [`Matched::ids`].
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// From where to where the partition's rows stand that are at hand.
    pub at_hand: (usize, usize),
    /// Where the match begins.
    pub first: usize,
    /// Behind the last row that is seen.
    pub end: usize,
    /// Behind the match's last row.
    pub whole: usize,
    /// From where to where the match's segments stand in [`Matched::segments`].
    pub segments: (usize, usize),
    /// The number of the match.
    pub number: i64,
    /// When it was found.
    pub time: i64,
}

/// Rows of matches, and what is seen of them. Matches of one partition may share rows.
#[derive(Debug, Default)]
pub struct Matched {
    /// The rows, those of a partition in their order.
    pub ids: Vec<u32>,
    /// What they are bound to, match by match.
    pub segments: Vec<Segment>,
    /// One for each row of the result.
    pub frames: Vec<Frame>,
}

impl Frame {
    fn end(&self, whole: bool) -> usize {
        if whole { self.whole } else { self.end }
    }
}

impl Matched {
    /// A frame's rows by the variables that they are bound to: some of these.
    fn bound<'a>(
        &'a self,
        frame: &'a Frame,
        variables: &'a Variables,
        whole: bool,
    ) -> impl DoubleEndedIterator<Item = Segment> + 'a {
        let end = frame.end(whole);
        let segments = &self.segments[frame.segments.0..frame.segments.1];
        let seen = segments.iter().filter(move |s| variables.contains(s.variable) && s.rows.0 < end);
        seen.map(move |s| Segment { rows: (s.rows.0, s.rows.1.min(end)), ..*s })
    }

    /// Where the row stands that a navigation leads to.
    fn find(&self, frame: &Frame, navigation: &Navigation) -> Option<usize> {
        let mut left = usize::try_from(navigation.offset).ok()?;
        let mut nth = |segment: Segment| {
            let (from, to) = segment.rows;
            if left >= to - from {
                left -= to - from;
                return None;
            }
            Some(if navigation.end == End::First { from + left } else { to - 1 - left })
        };
        let mut bound = self.bound(frame, &navigation.variables, navigation.whole);
        let row = match navigation.end {
            End::First => bound.find_map(&mut nth)?,
            End::Last => bound.rev().find_map(&mut nth)?,
        };
        let row = row.checked_add_signed(isize::try_from(navigation.shift).ok()?)?;
        (frame.at_hand.0..frame.at_hand.1).contains(&row).then_some(row)
    }

    /// The variable that a row is bound to, if it is one of the match's that are seen.
    fn variable(&self, frame: &Frame, row: usize, whole: bool) -> Option<u32> {
        let segments = &self.segments[frame.segments.0..frame.segments.1];
        let at = segments.partition_point(|s| s.rows.1 <= row);
        segments.get(at).filter(|s| s.rows.0 <= row && row < frame.end(whole)).map(|s| s.variable)
    }

    /// Where a frame's rows stand that are bound to some variables.
    fn places<'a>(
        &'a self,
        frame: &'a Frame,
        variables: &'a Variables,
        whole: bool,
    ) -> impl Iterator<Item = usize> + 'a {
        self.bound(frame, variables, whole).flat_map(|s| s.rows.0..s.rows.1)
    }
}

/// A column of rows, some of which are not there.
fn column_of(store: &dyn RowStore, column: usize, ids: &[Option<u32>]) -> Result<ArrayRef> {
    let there: Vec<u32> = ids.iter().flatten().copied().collect();
    let values = store.take_column(column, &there)?;
    if there.len() == ids.len() {
        return Ok(values);
    }
    let mut next = 0;
    let places = ids.iter().map(|id| {
        id.map(|_| {
            next += 1;
            next - 1
        })
    });
    Ok(take(&values, &UInt32Array::from_iter(places), None)?)
}

impl Slot {
    /// Its values, one for each frame.
    ///
    /// # Errors
    /// When a function fails.
    pub fn evaluate(&self, matched: &Matched, names: &[String], store: &dyn RowStore) -> Result<ArrayRef> {
        match self {
            Slot::Value { navigation, column } => {
                let row = |frame: &Frame| matched.find(frame, navigation).map(|row| matched.ids[row]);
                column_of(store, *column, &matched.frames.iter().map(row).collect::<Vec<_>>())
            }
            Slot::Aggregate { variables, aggregate, whole } => {
                if !whole && matched.frames.iter().any(|f| f.end < f.whole) {
                    return running_aggregate(variables, aggregate, matched, store);
                }
                aggregate_of(variables, aggregate, matched, store)
            }
            Slot::Classifier(navigation) => {
                let name = |frame: &Frame| {
                    let row = matched.find(frame, navigation)?;
                    let variable = matched.variable(frame, row, navigation.whole)?;
                    names.get(variable as usize).map(String::as_str)
                };
                Ok(Arc::new(matched.frames.iter().map(name).collect::<StringArray>()))
            }
            Slot::Number => Ok(Arc::new(Int64Array::from_iter_values(matched.frames.iter().map(|f| f.number)))),
            Slot::Time => Ok(Arc::new(Int64Array::from_iter_values(matched.frames.iter().map(|f| f.time)))),
        }
    }
}

/// The inputs of an aggregate for some rows, and its filter.
fn inputs(aggregate: &Aggregate, rows: &RecordBatch) -> Result<(Vec<ArrayRef>, Option<BooleanArray>)> {
    let evaluate = |e: Arc<dyn PhysicalExpr>| e.evaluate(rows)?.into_array(rows.num_rows());
    let values = aggregate.inputs().map(evaluate).collect::<datafusion_common::Result<Vec<_>>>()?;
    let filter = aggregate.filter.clone().map(evaluate).transpose()?;
    Ok((values, filter.and_then(|f| f.as_any().downcast_ref::<BooleanArray>().cloned())))
}

/// An aggregate over the whole matches' rows, all in one go.
fn aggregate_of(
    variables: &Variables,
    aggregate: &Aggregate,
    matched: &Matched,
    store: &dyn RowStore,
) -> Result<ArrayRef> {
    let (mut ids, mut groups) = (Vec::new(), Vec::new());
    let mut some_without_rows = false;
    for (group, frame) in matched.frames.iter().enumerate() {
        ids.extend(matched.places(frame, variables, true).map(|row| matched.ids[row]));
        some_without_rows |= ids.len() == groups.len();
        groups.resize(ids.len(), group);
    }
    let (values, mut filter) = inputs(aggregate, &store.take(&ids)?)?;
    if some_without_rows && filter.is_none() {
        // Without a filter accumulators take it that each group has a row.
        filter = Some(BooleanArray::from(vec![true; ids.len()]));
    }
    let mut accumulator = if aggregate.function.groups_accumulator_supported() {
        aggregate.function.create_groups_accumulator()?
    } else {
        let function = Arc::clone(&aggregate.function);
        Box::new(GroupsAccumulatorAdapter::new(move || function.create_accumulator()))
    };
    accumulator.update_batch(&values, &groups, filter.as_ref(), matched.frames.len())?;
    Ok(accumulator.evaluate(EmitTo::All)?)
}

/// An aggregate over the rows up to each row of a match.
fn running_aggregate(
    variables: &Variables,
    aggregate: &Aggregate,
    matched: &Matched,
    store: &dyn RowStore,
) -> Result<ArrayRef> {
    let mut results: Vec<ScalarValue> = Vec::with_capacity(matched.frames.len());
    for frames in matched.frames.chunk_by(|a, b| a.segments == b.segments && a.end < b.end) {
        let Some(last) = frames.last() else { continue };
        let places: Vec<usize> = matched.places(last, variables, false).collect();
        let ids: Vec<u32> = places.iter().map(|row| matched.ids[*row]).collect();
        let (values, filter) = inputs(aggregate, &store.take(&ids)?)?;
        let mut accumulator = aggregate.function.create_accumulator()?;
        let mut done = 0;
        for frame in frames {
            let seen = places.partition_point(|row| *row < frame.end);
            for row in done..seen {
                if filter.as_ref().is_none_or(|f| f.iter().nth(row).flatten() == Some(true)) {
                    let values: Vec<ArrayRef> = values.iter().map(|v| v.slice(row, 1)).collect();
                    accumulator.update_batch(&values)?;
                }
            }
            done = seen;
            results.push(accumulator.evaluate()?);
        }
    }
    match results.is_empty() {
        true => Ok(arrow::array::new_empty_array(aggregate.function.field().data_type())),
        false => Ok(ScalarValue::iter_to_array(results)?),
    }
}

/// An expression over slots.
#[derive(Debug, Clone)]
pub struct Slots {
    /// What is read.
    pub slots: Vec<Slot>,
    /// Its types.
    pub schema: SchemaRef,
}

impl Slots {
    /// What is read for each frame, as columns.
    ///
    /// # Errors
    /// As [`Slot::evaluate`].
    pub fn read(&self, matched: &Matched, names: &[String], store: &dyn RowStore) -> Result<RecordBatch> {
        let columns = self.slots.iter().zip(self.schema.fields()).map(|(slot, field)| {
            let column = slot.evaluate(matched, names, store)?;
            if column.data_type() == field.data_type() {
                return Ok(column);
            }
            // Times are held in milliseconds.
            let millis = column.as_any().downcast_ref::<Int64Array>();
            let typed = millis.map(|m| m.reinterpret_cast::<TimestampMillisecondType>());
            match (typed, field.data_type()) {
                (Some(typed), DataType::Timestamp(_, zone)) => {
                    let typed: ArrayRef = Arc::new(typed.with_timezone_opt(zone.clone()));
                    Ok(arrow::compute::cast(&typed, field.data_type())?)
                }
                _ => Err(Error::internal("a slot of another type than was planned")),
            }
        });
        let options = RecordBatchOptions::new().with_row_count(Some(matched.frames.len()));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// A condition that is evaluated over columns of one row.
#[derive(Debug)]
pub struct General {
    /// What it reads.
    pub slots: Slots,
    /// The condition over these.
    pub condition: Arc<dyn PhysicalExpr>,
}

impl General {
    /// Whether the last of some rows satisfies it.
    ///
    /// # Errors
    /// When a function fails.
    pub fn holds(&self, matched: &Matched, names: &[String], store: &dyn RowStore) -> Result<bool> {
        let rows = self.slots.read(matched, names, store)?;
        let value = self.condition.evaluate(&rows)?.into_array(1)?;
        let value = value.as_any().downcast_ref::<BooleanArray>();
        let value = value.ok_or_else(|| Error::internal("a condition that is no truth value"))?;
        Ok(value.iter().next().flatten() == Some(true))
    }
}
