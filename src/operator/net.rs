//! The net changes of each step, for sinks: what comes and goes within a step is not seen outside.

use arrow::array::{RecordBatch, UInt32Array};

use super::{Operator, OperatorFactory, StepTime};
use crate::Result;
use crate::change::{ChangeBatch, RowKind, take_rows};
use crate::state::{GONE, Keys};

/// Puts a step's changes together. Rows that come and go, or go and come, equal within a step cancel out; with a unique key,
/// what is left of a key is at most one change: `+I`, `-U +U`, or `-D`. A row that is a key's only change in the step keeps
/// its kind, as a filter over updates leaves it. Keeps no state.
#[derive(Debug, Clone)]
pub struct NetChanges {
    key: Option<Vec<usize>>,
    upsert: bool,
}

impl NetChanges {
    /// Where there is a `key`, the rows of one are brought to one worker; else equal rows are.
    /// With `upsert` a row that another takes the place of is left out (`-U`), and what goes for good is `-D`.
    pub fn new(key: Option<Vec<usize>>, upsert: bool) -> Self {
        Self { key, upsert }
    }
}

impl OperatorFactory for NetChanges {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Net { plan: self.clone(), pending: Vec::new() }))
    }

    fn name(&self) -> &'static str {
        "NetChanges"
    }
}

struct Net {
    plan: NetChanges,
    /// The step's batches.
    pending: Vec<ChangeBatch>,
}

impl Operator for Net {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.num_rows() > 0 {
            self.pending.push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, _time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Ok(());
        }
        let step = ChangeBatch::concat(pending)?;
        let (rows, kinds) = match &self.plan.key {
            Some(key) => self.by_key(&step, key)?,
            None => left_over(&step)?,
        };
        if !rows.is_empty() {
            let rows = take_rows(&step.rows, &UInt32Array::from(rows))?;
            out.push(ChangeBatch { rows, kinds: Some(kinds.into()), watermarks: None });
        }
        Ok(())
    }
}

impl Net {
    /// The rows that are left of the step, and their kinds: key by key, in the order in which keys come first.
    fn by_key(&self, step: &ChangeBatch, key: &[usize]) -> Result<(Vec<u32>, Vec<RowKind>)> {
        let groups = Groups::new(&numbers(&step.rows.project(key)?)?);
        let several: Vec<u32> = groups.iter().filter(|rows| rows.len() > 1).flatten().copied().collect();
        let mut weights = Weights::of(step, &several)?;
        let (mut rows, mut kinds) = (Vec::new(), Vec::new());
        for group in groups.iter() {
            match group {
                [] => {}
                [only] => {
                    let kind = step.kind(*only as usize);
                    rows.push(*only);
                    kinds.push(if self.plan.upsert && !kind.is_addition() { RowKind::Delete } else { kind });
                }
                [first, .., last] => {
                    let (goes, comes) = weights.left(step, group);
                    let first = step.kind(*first as usize);
                    let last = step.kind(*last as usize);
                    let (down, up) = labels(goes.len(), comes.len(), first, last, self.plan.upsert);
                    if down != RowKind::UpdateBefore || !self.plan.upsert {
                        kinds.extend(goes.iter().map(|_| down));
                        rows.extend(goes);
                    }
                    kinds.extend(comes.iter().map(|_| up));
                    rows.extend(comes);
                }
            }
        }
        Ok((rows, kinds))
    }
}

/// What a key's rows are called that go and come, of which there are so many; `first` and `last` are the kinds of its first
/// and last row in the step.
fn labels(goes: usize, comes: usize, first: RowKind, last: RowKind, upsert: bool) -> (RowKind, RowKind) {
    match (goes, comes) {
        (1, 1) => (RowKind::UpdateBefore, RowKind::UpdateAfter),
        (0, _) if first == RowKind::UpdateAfter => (RowKind::Delete, RowKind::UpdateAfter),
        (_, 0) if last == RowKind::UpdateBefore && !upsert => (RowKind::UpdateBefore, RowKind::Insert),
        _ => (RowKind::Delete, RowKind::Insert),
    }
}

/// What is left where there is no key: in the order of arrival, each under its own kind.
fn left_over(step: &ChangeBatch) -> Result<(Vec<u32>, Vec<RowKind>)> {
    let all: Vec<u32> = (0..step.num_rows() as u32).collect();
    let (mut rows, comes) = Weights::of(step, &all)?.left(step, &all);
    rows.extend(comes);
    rows.sort_unstable();
    let kinds = rows.iter().map(|row| step.kind(*row as usize)).collect();
    Ok((rows, kinds))
}

/// A number for each row, the same for equal ones, in the order in which they come first.
fn numbers(rows: &RecordBatch) -> Result<Vec<u32>> {
    let mut numbers = Vec::new();
    Keys::try_new(rows.schema())?.intern(rows.columns(), rows.num_rows(), &mut numbers)?;
    Ok(numbers)
}

/// Rows by number.
struct Groups {
    /// The rows of number 0, then those of 1, and so on, each in order.
    rows: Vec<u32>,
    /// Where each number's rows end.
    ends: Vec<usize>,
}

impl Groups {
    fn new(numbers: &[u32]) -> Self {
        let mut ends = vec![0; numbers.iter().max().map_or(0, |n| *n as usize + 1)];
        numbers.iter().for_each(|n| ends[*n as usize] += 1);
        let mut total = 0;
        for end in &mut ends {
            // For now where its rows begin.
            total += std::mem::replace(end, total);
        }
        let mut rows = vec![0; numbers.len()];
        for (row, number) in (0u32..).zip(numbers) {
            let place = &mut ends[*number as usize];
            rows[*place] = row;
            *place += 1;
        }
        Self { rows, ends }
    }

    fn iter(&self) -> impl Iterator<Item = &[u32]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.rows[begin..*end])
    }
}

/// How often each distinct row comes more than it goes, or less.
struct Weights {
    /// By row of the step the number of its equals; [`GONE`] for rows that were left out.
    numbers: Vec<u32>,
    weights: Vec<i64>,
}

impl Weights {
    /// Of some rows of a step.
    fn of(step: &ChangeBatch, rows: &[u32]) -> Result<Self> {
        let mut all = Self { numbers: vec![GONE; step.num_rows()], weights: Vec::new() };
        if rows.is_empty() {
            return Ok(all);
        }
        let numbers = match rows.len() == step.num_rows() {
            true => numbers(&step.rows)?,
            false => numbers(&take_rows(&step.rows, &UInt32Array::from(rows.to_vec()))?)?,
        };
        let order: Vec<u32> =
            if rows.len() == step.num_rows() { (0..rows.len() as u32).collect() } else { rows.to_vec() };
        all.weights = vec![0; rows.len()];
        for (row, number) in order.into_iter().zip(numbers) {
            all.numbers[row as usize] = number;
            all.weights[number as usize] += if step.kind(row as usize).is_addition() { 1 } else { -1 };
        }
        Ok(all)
    }

    /// The rows that are left of some: the first of those that go, and the last of those that come.
    fn left(&mut self, step: &ChangeBatch, rows: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let (mut goes, mut comes) = (Vec::new(), Vec::new());
        for row in rows {
            let weight = &mut self.weights[self.numbers[*row as usize] as usize];
            if *weight < 0 && !step.kind(*row as usize).is_addition() {
                *weight += 1;
                goes.push(*row);
            }
        }
        for row in rows.iter().rev() {
            let weight = &mut self.weights[self.numbers[*row as usize] as usize];
            if *weight > 0 && step.kind(*row as usize).is_addition() {
                *weight -= 1;
                comes.push(*row);
            }
        }
        comes.reverse();
        (goes, comes)
    }
}

#[cfg(test)]
mod tests;
