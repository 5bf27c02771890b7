//! What a step made of the groups that it touched, as changes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, make_comparator};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{SortOptions, interleave, take};

use super::GroupAggregate;
use crate::Result;
use crate::change::{ChangeBatch, RowKind};

/// How many rows go out in one batch, but for a pair of `-U +U` that is not torn apart.
const BATCH_ROWS: usize = 8192;

/// The groups that a step touched, with their rows before and after it.
pub(super) struct Change {
    touched: Vec<u32>,
    /// For each whether it is there now.
    there: Vec<bool>,
    /// For each its place among the old values, if it was there.
    old_place: Vec<Option<u32>>,
    /// By place among the old values: whether the row is another now.
    differs: BooleanBuffer,
    old: Vec<ArrayRef>,
    new: Vec<ArrayRef>,
}

impl Change {
    /// `old` are the aggregates of the groups `before`, those of the touched ones that were there, in their order; `new` are
    /// those of all that were touched.
    pub fn try_new(
        touched: &[u32],
        before: &[u32],
        there: Vec<bool>,
        old: Vec<ArrayRef>,
        new: Vec<ArrayRef>,
    ) -> Result<Self> {
        let mut known = before.iter().peekable();
        let mut next = 0;
        let old_place: Vec<Option<u32>> = touched
            .iter()
            .map(|g| {
                known.next_if_eq(&g)?;
                next += 1;
                Some(next - 1)
            })
            .collect();
        let differs = differs(before.len(), &old_place, &old, &new)?;
        Ok(Self { touched: touched.to_vec(), there, old_place, differs, old, new })
    }

    /// Calls `f` with the kinds of each touched group's changes and its place.
    fn each(&self, mut f: impl FnMut(&[RowKind], usize) -> Result<()>) -> Result<()> {
        for (place, (there, old)) in self.there.iter().zip(&self.old_place).enumerate() {
            match (old, there) {
                (None, true) => f(&[RowKind::Insert], place)?,
                (Some(_), false) => f(&[RowKind::Delete], place)?,
                (Some(old), true) if self.differs.value(*old as usize) => {
                    f(&[RowKind::UpdateBefore, RowKind::UpdateAfter], place)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Of those that were there, which have other values now.
fn differs(before: usize, old_place: &[Option<u32>], old: &[ArrayRef], new: &[ArrayRef]) -> Result<BooleanBuffer> {
    let mut differs = BooleanBuffer::new_unset(before);
    if before == 0 {
        return Ok(differs);
    }
    let places = (0u32..).zip(old_place).filter(|(_, old)| old.is_some()).map(|(place, _)| place);
    let places = UInt32Array::from_iter_values(places);
    for (old, new) in old.iter().zip(new) {
        if differs.count_set_bits() == before {
            break;
        }
        let new = if before == old_place.len() { Arc::clone(new) } else { take(new, &places, None)? };
        differs = &differs | &different(old, &new)?;
    }
    Ok(differs)
}

/// Row by row whether two columns differ; NULL is like NULL.
fn different(old: &ArrayRef, new: &ArrayRef) -> Result<BooleanBuffer> {
    if !old.data_type().is_nested() {
        return Ok(distinct(old, new)?.values().clone());
    }
    let compare = make_comparator(old, new, SortOptions::default())?;
    Ok(BooleanBuffer::collect_bool(old.len(), |row| compare(row, row).is_ne()))
}

/// Rows of one batch that goes out.
#[derive(Default)]
struct Outgoing {
    kinds: Vec<RowKind>,
    groups: Vec<u32>,
    /// Old values are 0, new ones 1; and the place among them.
    values: Vec<(usize, usize)>,
}

impl GroupAggregate {
    /// Puts changes into batches.
    pub(super) fn emit(&self, change: &Change, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let mut outgoing = Outgoing::default();
        change.each(|kinds, place| {
            if outgoing.kinds.len() + kinds.len() > BATCH_ROWS {
                out.push(self.batch(change, std::mem::take(&mut outgoing))?);
            }
            for kind in kinds {
                let old = change.old_place[place].unwrap_or_default() as usize;
                outgoing.values.push(if kind.is_addition() { (1, place) } else { (0, old) });
                outgoing.groups.push(change.touched[place]);
                outgoing.kinds.push(*kind);
            }
            Ok(())
        })?;
        if !outgoing.kinds.is_empty() {
            out.push(self.batch(change, outgoing)?);
        }
        Ok(())
    }

    fn batch(&self, change: &Change, outgoing: Outgoing) -> Result<ChangeBatch> {
        let mut columns = self.keys.take(&outgoing.groups)?;
        let fresh = outgoing.kinds.iter().all(|k| *k == RowKind::Insert);
        let places = match fresh {
            true => Some(UInt32Array::from_iter_values(outgoing.values.iter().map(|(_, place)| *place as u32))),
            false => None,
        };
        for (column, new) in change.new.iter().enumerate() {
            columns.push(match &places {
                Some(places) => take(new, places, None)?,
                None => interleave(&[change.old[column].as_ref(), new.as_ref()], &outgoing.values)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(outgoing.kinds.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.plan.schema), columns, &options)?;
        let kinds = (!fresh).then(|| outgoing.kinds.into());
        Ok(ChangeBatch { rows, kinds, watermarks: None })
    }
}
