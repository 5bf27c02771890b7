//! Any aggregate over rows that come and go: its arguments are kept, and it is evaluated anew for the groups that changed.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take};
use arrow::datatypes::DataType;

use super::accumulate::{Accumulator, Kept, Part, Rows, Saved};
use super::function::Function;
use super::running::runs;
use super::values::Values;
use crate::state::{Lists, Remap};
use crate::{Error, Result};

/// With fewer rows gone it is not worth while to number the others anew.
const COMPACT_FROM: usize = 4096;

/// What a bag holds.
#[derive(Clone)]
pub(super) struct Held {
    pub kept: Kept,
    /// The arguments, and behind them what ORDER BY sorts by.
    pub inputs: Vec<usize>,
    /// Their types.
    pub types: Vec<DataType>,
    /// How ORDER BY sorts by the last of the inputs.
    pub order: Vec<SortOptions>,
    /// Whether a group's first and last row are all that the functions ask for.
    pub ends: bool,
    /// Whether a row may be taken away that is not there.
    pub lenient: bool,
}

/// The argument rows of each group, in the order in which they came. Of equal rows the first goes first, as in Flink's
/// LISTAGG.
pub(super) struct Bag {
    held: Held,
    functions: Vec<Function>,
    /// Groups and arguments, each combination once: a *value*.
    values: Values,
    /// By row: its value.
    value_of: Vec<u32>,
    /// The rows of each group.
    by_group: Lists,
    /// The rows of each value.
    by_value: Lists,
    /// How many rows are there.
    live: usize,
}

impl Bag {
    pub fn try_new(held: Held, functions: Vec<Function>) -> Result<Self> {
        let values = Values::try_new(&held.types)?;
        let (by_group, by_value) = (Lists::default(), Lists::default());
        Ok(Self { held, functions, values, value_of: Vec::new(), by_group, by_value, live: 0 })
    }

    fn add(&mut self, group: u32, value: u32) -> Result<()> {
        let row = u32::try_from(self.value_of.len()).map_err(|_| super::accumulate::too_many())?;
        self.value_of.push(value);
        self.by_group.push(group, row);
        self.by_value.push(value, row);
        self.live += 1;
        Ok(())
    }

    fn remove(&mut self, group: u32, row: u32) {
        self.by_group.remove(group, row);
        self.by_value.remove(self.value_of[row as usize], row);
        self.live -= 1;
    }

    /// The arguments of those of some groups' rows that the functions ask for, and the group of each, as a place in `groups`; in the order that the functions
    /// want.
    fn arguments(&self, groups: &[u32]) -> Result<(Vec<u32>, Vec<ArrayRef>)> {
        let (mut places, mut values) = (Vec::new(), Vec::new());
        for (place, group) in (0u32..).zip(groups) {
            match self.held.ends {
                true => values.extend(self.ends(*group).map(|row| self.value_of[row as usize])),
                false => values.extend(self.by_group.iter(*group).map(|row| self.value_of[row as usize])),
            }
            places.resize(values.len(), place);
        }
        let columns = self.values.take(&values)?;
        if self.held.order.is_empty() || values.is_empty() {
            return Ok((places, columns));
        }
        let whole = |values: ArrayRef| SortColumn { values, options: None };
        let by = columns[columns.len() - self.held.order.len()..].iter().zip(&self.held.order);
        let mut sort = vec![whole(Arc::new(UInt32Array::from(places.clone())))];
        sort.extend(by.map(|(values, options)| SortColumn { values: Arc::clone(values), options: Some(*options) }));
        sort.push(whole(Arc::new(UInt32Array::from_iter_values(0..places.len() as u32))));
        let sorted = lexsort_to_indices(&sort, None)?;
        let columns = columns.iter().map(|c| Ok(take(c, &sorted, None)?)).collect::<Result<_>>()?;
        Ok((places, columns))
    }

    /// A group's first row, and its last where that is another.
    fn ends(&self, group: u32) -> impl Iterator<Item = u32> + use<> {
        let first = self.by_group.iter(group).next();
        let last = self.by_group.last(group).filter(|last| first != Some(*last));
        first.into_iter().chain(last)
    }

    fn refresh(&mut self, groups: &[u32]) -> Result<()> {
        let stale = |g: &u32| self.functions.iter().any(|f| f.is_stale(*g));
        let stale: Vec<u32> = groups.iter().copied().filter(stale).collect();
        if stale.is_empty() {
            return Ok(());
        }
        let (places, columns) = self.arguments(&stale)?;
        for function in &mut self.functions {
            let mut evaluators = stale.iter().map(|_| function.evaluator()).collect::<Result<Vec<_>>>()?;
            for (place, start, length) in runs(&places) {
                let values: Vec<ArrayRef> = columns.iter().map(|column| column.slice(start, length)).collect();
                evaluators[place as usize].update_batch(&values)?;
            }
            for (group, evaluator) in stale.iter().zip(&mut evaluators) {
                function.set(*group, evaluator.evaluate()?);
            }
        }
        Ok(())
    }

    /// Forgets values and rows that are gone when they are most.
    fn compact(&mut self) -> Result<()> {
        let gone = self.value_of.len() - self.live;
        if gone < COMPACT_FROM || gone < self.live {
            return Ok(());
        }
        let mut there = vec![false; self.value_of.len()];
        for value in 0..self.values.len() as u32 {
            self.by_value.iter(value).for_each(|row| there[row as usize] = true);
        }
        let rows = Remap::keeping(self.value_of.len() as u32, |row| there[row as usize]);
        rows.apply(&mut self.value_of);
        self.by_group.remap_rows(&rows);
        self.by_value.remap_rows(&rows);
        let by_value = &self.by_value;
        let values = self.values.retain(|value| !by_value.is_empty(value))?;
        self.by_value.remap_keys(&values);
        self.value_of.iter_mut().for_each(|v| *v = values.get(*v).unwrap_or(*v));
        Ok(())
    }
}

impl Accumulator for Bag {
    fn grow(&mut self, groups: usize) {
        self.functions.iter_mut().for_each(|f| f.grow(groups));
    }

    fn update(&mut self, rows: &Rows) -> Result<()> {
        let kept = rows.kept(self.held.kept.mask(rows)?.as_ref());
        let groups: Vec<u32> = kept.iter().map(|row| rows.groups[*row as usize]).collect();
        let picked = UInt32Array::from(kept);
        let pick = |i: &usize| Ok(take(rows.input(*i)?, &picked, None)?);
        let arguments = self.held.inputs.iter().map(pick).collect::<Result<Vec<_>>>()?;
        let mut values = Vec::new();
        self.values.intern(&groups, &arguments, &mut values)?;
        for ((row, group), value) in picked.values().iter().zip(&groups).zip(values) {
            self.functions.iter_mut().for_each(|f| f.forget(*group));
            if rows.sign(*row as usize) > 0 {
                self.add(*group, value)?;
                continue;
            }
            let first = self.by_value.iter(value).next();
            match first {
                Some(first) => self.remove(*group, first),
                None if self.held.lenient => {}
                None => return Err(rows.absent(*row as usize)),
            }
        }
        self.compact()
    }

    fn evaluate(&mut self, groups: &[u32], out: &mut Vec<ArrayRef>) -> Result<()> {
        self.refresh(groups)?;
        for function in &self.functions {
            out.push(function.results(groups)?);
        }
        Ok(())
    }

    fn clear(&mut self, groups: &[u32]) {
        for group in groups {
            let rows: Vec<u32> = self.by_group.iter(*group).collect();
            rows.into_iter().for_each(|row| self.remove(*group, row));
            self.functions.iter_mut().for_each(|f| f.forget(*group));
        }
    }

    fn remap(&mut self, remap: &Remap) -> Result<()> {
        // The groups stand among the values: all is told anew.
        self.functions.iter_mut().for_each(|f| remap.apply(f.last_mut()));
        let (groups, columns) = self.rows(remap.kept())?;
        let mut moved = Self::try_new(self.held.clone(), std::mem::take(&mut self.functions))?;
        let groups: Vec<u32> = groups.iter().filter_map(|g| remap.get(*g)).collect();
        moved.insert(&groups, &columns)?;
        *self = moved;
        Ok(())
    }

    fn parts(&self) -> Vec<Part> {
        let results: Vec<DataType> = self.functions.iter().map(Function::data_type).collect();
        vec![Part::one(results), Part::many(self.held.types.clone())]
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<Saved>> {
        let mut results = Vec::new();
        self.evaluate(groups, &mut results)?;
        let (of, columns) = self.rows(groups)?;
        Ok(vec![Saved { groups: None, columns: results }, Saved { groups: Some(of), columns }])
    }

    fn load(&mut self, part: usize, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        if part == 1 {
            return self.insert(groups, columns);
        }
        for (function, results) in self.functions.iter_mut().zip(columns) {
            for (row, group) in groups.iter().enumerate() {
                function.set(*group, datafusion_common::ScalarValue::try_from_array(results, row)?);
            }
        }
        Ok(())
    }

    fn entries(&self) -> usize {
        self.live
    }

    fn bytes(&self) -> usize {
        let results: usize = self.functions.iter().map(Function::bytes).sum();
        let lists = self.by_group.bytes() + self.by_value.bytes() + self.value_of.capacity() * size_of::<u32>();
        results + lists + self.values.bytes()
    }
}

impl Bag {
    /// The rows of some groups in the order in which they came, and the group of each.
    fn rows(&self, groups: &[u32]) -> Result<(Vec<u32>, Vec<ArrayRef>)> {
        let rows = groups.iter().flat_map(|g| self.by_group.iter(*g).map(|row| (*g, self.value_of[row as usize])));
        let (of, values): (Vec<u32>, Vec<u32>) = rows.unzip();
        let columns = self.values.take(&values)?;
        Ok((of, columns))
    }

    fn insert(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        if columns.len() != self.held.types.len() {
            return Err(Error::internal("a state of an aggregate in other columns"));
        }
        let mut values = Vec::new();
        self.values.intern(groups, columns, &mut values)?;
        groups.iter().zip(values).try_for_each(|(group, value)| self.add(*group, value))
    }
}
