//! COUNT.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};

use super::accumulate::{Accumulator, Kept, Part, Rows, Saved};
use crate::state::Remap;
use crate::{Error, Result};

/// How many rows of each group are kept.
pub(super) struct Counts {
    kept: Kept,
    counts: Vec<i64>,
}

impl Counts {
    pub fn new(kept: Kept) -> Self {
        Self { kept, counts: Vec::new() }
    }
}

impl Accumulator for Counts {
    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
    }

    fn update(&mut self, rows: &Rows) -> Result<()> {
        let counts = &mut self.counts;
        match self.kept.mask(rows)? {
            // Adding nothing is cheaper than a branch that is guessed wrong.
            Some(mask) => rows.each(None, |group, row, sign| counts[group] += sign * i64::from(mask.value(row))),
            None => rows.each(None, |group, _, sign| counts[group] += sign),
        }
        Ok(())
    }

    fn evaluate(&mut self, groups: &[u32], out: &mut Vec<ArrayRef>) -> Result<()> {
        out.push(Arc::new(Int64Array::from_iter_values(groups.iter().map(|g| self.counts[*g as usize]))));
        Ok(())
    }

    fn clear(&mut self, groups: &[u32]) {
        groups.iter().for_each(|g| self.counts[*g as usize] = 0);
    }

    fn remap(&mut self, remap: &Remap) -> Result<()> {
        remap.apply(&mut self.counts);
        Ok(())
    }

    fn parts(&self) -> Vec<Part> {
        vec![Part::one([DataType::Int64])]
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<Saved>> {
        let mut columns = Vec::new();
        self.evaluate(groups, &mut columns)?;
        Ok(vec![Saved { groups: None, columns }])
    }

    fn load(&mut self, _part: usize, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let counts = columns.first().and_then(|c| c.as_primitive_opt::<Int64Type>());
        let counts = counts.ok_or_else(|| Error::internal("a state of COUNT without counts"))?;
        groups.iter().zip(counts.values()).for_each(|(g, n)| self.counts[*g as usize] = *n);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }
}
