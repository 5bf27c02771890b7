//! What all accumulators of the operator share.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;

use crate::state::{Remap, absent_row};
use crate::{Error, Result};

/// Running aggregates by group, which can be read without being consumed.
///
/// Groups have dense numbers. A group that has been [cleared](Accumulator::clear), or has never been seen, is empty.
pub(super) trait Accumulator: Send {
    /// Makes room: the groups are those from 0 up to `groups`.
    fn grow(&mut self, groups: usize);

    /// Adds rows and takes rows away, in order.
    fn update(&mut self, rows: &Rows) -> Result<()>;

    /// Adds a column with the values of some groups for each aggregate.
    fn evaluate(&mut self, groups: &[u32], out: &mut Vec<ArrayRef>) -> Result<()>;

    /// Empties some groups.
    fn clear(&mut self, groups: &[u32]);

    /// Follows groups to their new numbers. Those that are dropped have been cleared.
    fn remap(&mut self, remap: &Remap) -> Result<()>;

    /// The parts of its state.
    fn parts(&self) -> Vec<Part>;

    /// The state of some groups, part by part.
    fn save(&mut self, groups: &[u32]) -> Result<Vec<Saved>>;

    /// Takes over what was saved of a part: each row belongs to the group that stands at its place. Groups are loaded once.
    fn load(&mut self, part: usize, groups: &[u32], columns: &[ArrayRef]) -> Result<()>;

    /// How many rows it holds beside one for each group.
    fn entries(&self) -> usize {
        0
    }

    /// About how many bytes of memory it takes.
    fn bytes(&self) -> usize;
}

/// Part of an accumulator's state.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    /// Whether a group has any number of rows, not one.
    pub many: bool,
    /// The columns' types.
    pub types: Vec<DataType>,
}

/// What a part holds.
pub(super) struct Saved {
    /// For each row its group; `None` where the rows are those groups that were asked for.
    pub groups: Option<Vec<u32>>,
    /// The columns.
    pub columns: Vec<ArrayRef>,
}

impl Part {
    pub fn one(types: impl Into<Vec<DataType>>) -> Self {
        Self { many: false, types: types.into() }
    }

    pub fn many(types: impl Into<Vec<DataType>>) -> Self {
        Self { many: true, types: types.into() }
    }
}

/// Rows on their way into accumulators.
pub(super) struct Rows<'a> {
    /// The operator's input, for errors.
    pub batch: &'a RecordBatch,
    /// The group of each row.
    pub groups: &'a [u32],
    /// 1 for a row that comes, -1 for one that goes; `None` when all come.
    pub signs: Option<&'a [i8]>,
    /// What the accumulators read, by number.
    pub inputs: &'a [ArrayRef],
}

/// Which rows an accumulator takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// The input that must be true.
    pub filter: Option<usize>,
    /// The inputs that must not be NULL.
    pub valid: Vec<usize>,
}

impl Kept {
    /// A bit for each row; `None` when all are kept.
    pub fn mask(&self, rows: &Rows) -> Result<Option<BooleanBuffer>> {
        let mut mask: Option<BooleanBuffer> = None;
        let mut and = |bits: &BooleanBuffer| {
            mask = Some(match &mask {
                Some(mask) => mask & bits,
                None => bits.clone(),
            });
        };
        if let Some(filter) = self.filter {
            let filter = rows.input(filter)?;
            let filter = filter.as_boolean_opt().ok_or_else(|| Error::internal("a FILTER that is no boolean"))?;
            and(filter.values());
            filter.nulls().into_iter().for_each(|n| and(n.inner()));
        }
        for input in &self.valid {
            if let Some(nulls) = rows.input(*input)?.logical_nulls().filter(|n| n.null_count() > 0) {
                and(nulls.inner());
            }
        }
        Ok(mask)
    }
}

impl Rows<'_> {
    pub fn input(&self, input: usize) -> Result<&ArrayRef> {
        self.inputs.get(input).ok_or_else(|| Error::internal("an accumulator without its input"))
    }

    pub fn sign(&self, row: usize) -> i64 {
        self.signs.map_or(1, |s| i64::from(s[row]))
    }

    /// Calls `f` with the group, the place and the sign of each row that is kept.
    #[inline]
    pub fn each(&self, mask: Option<&BooleanBuffer>, mut f: impl FnMut(usize, usize, i64)) {
        let groups = self.groups.iter().map(|g| *g as usize).enumerate();
        match (mask, self.signs) {
            (None, None) => groups.for_each(|(row, group)| f(group, row, 1)),
            (None, Some(signs)) => groups.zip(signs).for_each(|((row, group), s)| f(group, row, i64::from(*s))),
            (Some(mask), None) => groups.filter(|(row, _)| mask.value(*row)).for_each(|(row, group)| f(group, row, 1)),
            (Some(mask), Some(signs)) => groups
                .zip(signs)
                .filter(|((row, _), _)| mask.value(*row))
                .for_each(|((row, group), s)| f(group, row, i64::from(*s))),
        }
    }

    /// The places of the rows that are kept.
    pub fn kept(&self, mask: Option<&BooleanBuffer>) -> Vec<u32> {
        match mask {
            None => (0..self.groups.len() as u32).collect(),
            Some(mask) => mask.set_indices().map(|row| row as u32).collect(),
        }
    }

    /// What is said when a row is to be taken away that never came.
    pub fn absent(&self, row: usize) -> Error {
        absent_row(self.batch, row)
    }
}

/// What is said when a count does not fit.
pub(super) fn too_many() -> Error {
    Error::Execution("a value is in one group more than four billion times".into())
}
