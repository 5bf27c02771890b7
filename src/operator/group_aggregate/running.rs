//! Any aggregate over rows that only come: one accumulator for each group, whose result can be asked for again and again.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr::Accumulator as Evaluator;

use super::accumulate::{Accumulator, Kept, Part, Rows, Saved};
use super::function::{Function, column};
use crate::state::Remap;
use crate::{Error, Result};

/// An accumulator of DataFusion's for each group.
pub(super) struct Running {
    kept: Kept,
    /// The function's arguments, and behind them what its ORDER BY sorts by.
    inputs: Vec<usize>,
    function: Function,
    state_types: Vec<DataType>,
    /// By group; `None` for one that is empty.
    evaluators: Vec<Option<Box<dyn Evaluator>>>,
}

impl Running {
    pub fn try_new(kept: Kept, inputs: Vec<usize>, function: Function) -> Result<Self> {
        let state_types = function.state_types()?;
        Ok(Self { kept, inputs, function, state_types, evaluators: Vec::new() })
    }

    fn evaluator(&mut self, group: u32) -> Result<&mut Box<dyn Evaluator>> {
        let slot = &mut self.evaluators[group as usize];
        if slot.is_none() {
            *slot = Some(self.function.evaluator()?);
        }
        slot.as_mut().ok_or_else(|| Error::internal("an accumulator that was not made"))
    }
}

/// Runs of equal groups in a list that is sorted by group: the group, where the run begins and how long it is.
pub(super) fn runs(groups: &[u32]) -> impl Iterator<Item = (u32, usize, usize)> + '_ {
    let mut start = 0;
    groups.chunk_by(|a, b| a == b).map(move |run| {
        let at = start;
        start += run.len();
        (run[0], at, run.len())
    })
}

impl Accumulator for Running {
    fn grow(&mut self, groups: usize) {
        self.evaluators.resize_with(groups, || None);
        self.function.grow(groups);
    }

    fn update(&mut self, rows: &Rows) -> Result<()> {
        if rows.signs.is_some() {
            return Err(Error::internal("rows are taken away from an aggregate that only takes new ones"));
        }
        let mut kept = rows.kept(self.kept.mask(rows)?.as_ref());
        kept.sort_by_key(|row| rows.groups[*row as usize]);
        let groups: Vec<u32> = kept.iter().map(|row| rows.groups[*row as usize]).collect();
        let kept = UInt32Array::from(kept);
        let sorted = self.inputs.iter().map(|i| Ok(take(rows.input(*i)?, &kept, None)?)).collect::<Result<Vec<_>>>()?;
        for (group, start, length) in runs(&groups) {
            let values: Vec<ArrayRef> = sorted.iter().map(|column| column.slice(start, length)).collect();
            self.evaluator(group)?.update_batch(&values)?;
            self.function.forget(group);
        }
        Ok(())
    }

    fn evaluate(&mut self, groups: &[u32], out: &mut Vec<ArrayRef>) -> Result<()> {
        for group in groups {
            if self.function.is_stale(*group) {
                let result = self.evaluator(*group)?.evaluate()?;
                self.function.set(*group, result);
            }
        }
        out.push(self.function.results(groups)?);
        Ok(())
    }

    fn clear(&mut self, groups: &[u32]) {
        for group in groups {
            self.evaluators[*group as usize] = None;
            self.function.forget(*group);
        }
    }

    fn remap(&mut self, remap: &Remap) -> Result<()> {
        remap.apply(&mut self.evaluators);
        remap.apply(self.function.last_mut());
        Ok(())
    }

    fn parts(&self) -> Vec<Part> {
        let mut types = vec![self.function.data_type()];
        types.extend(self.state_types.iter().cloned());
        vec![Part::one(types)]
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<Saved>> {
        let mut columns = Vec::new();
        self.evaluate(groups, &mut columns)?;
        let mut states: Vec<Vec<ScalarValue>> = vec![Vec::with_capacity(groups.len()); self.state_types.len()];
        for group in groups {
            // Telling the state may consume it: an accumulator made from it goes on in its place.
            let state = self.evaluator(*group)?.state()?;
            let mut next = self.function.evaluator()?;
            let merged = state.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>, _>>()?;
            next.merge_batch(&merged)?;
            self.evaluators[*group as usize] = Some(next);
            states.iter_mut().zip(state).for_each(|(column, value)| column.push(value));
        }
        for (state, data_type) in states.into_iter().zip(&self.state_types) {
            columns.push(column(state.into_iter(), data_type)?);
        }
        Ok(vec![Saved { groups: None, columns }])
    }

    fn load(&mut self, _part: usize, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let Some((results, states)) = columns.split_first() else { return Err(Error::internal("no state")) };
        for (row, group) in groups.iter().enumerate() {
            let state: Vec<ArrayRef> = states.iter().map(|column| column.slice(row, 1)).collect();
            self.evaluator(*group)?.merge_batch(&state)?;
            self.function.set(*group, ScalarValue::try_from_array(results, row)?);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let held: usize = self.evaluators.iter().flatten().map(|e| e.size()).sum();
        held + self.evaluators.capacity() * size_of::<Option<Box<dyn Evaluator>>>() + self.function.bytes()
    }
}
