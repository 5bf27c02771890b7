//! What a step both takes away from the result and adds to it.

use arrow::array::{ArrayRef, BooleanArray};

use super::output::Output;
use crate::Result;
use crate::change::ChangeBatch;
use crate::state::Keys;

/// Drops rows that stand on both sides, as often as they do.
pub(super) fn cancel(output: &mut Output) -> Result<()> {
    let Some(schema) = output.removed.first().map(ChangeBatch::schema) else { return Ok(()) };
    let mut rows = Keys::try_new(schema)?;
    let mut number = |batches: &[ChangeBatch]| -> Result<Vec<Vec<u32>>> {
        let ids = |batch: &ChangeBatch| {
            let mut ids = Vec::new();
            let columns: Vec<ArrayRef> = batch.rows.columns().to_vec();
            rows.intern(&columns, batch.num_rows(), &mut ids)?;
            Ok(ids)
        };
        batches.iter().map(ids).collect()
    };
    let (removed, added) = (number(&output.removed)?, number(&output.added)?);
    let count = |ids: &[Vec<u32>], distinct: usize| {
        let mut counts = vec![0u64; distinct];
        ids.iter().flatten().for_each(|id| counts[*id as usize] += 1);
        counts
    };
    let (less, more) = (count(&removed, rows.len()), count(&added, rows.len()));
    let common: Vec<u64> = less.iter().zip(&more).map(|(a, b)| *a.min(b)).collect();
    if common.iter().all(|c| *c == 0) {
        return Ok(());
    }
    output.removed = without(&output.removed, &removed, common.clone())?;
    output.added = without(&output.added, &added, common)?;
    Ok(())
}

/// The batches less so many of each row.
fn without(batches: &[ChangeBatch], ids: &[Vec<u32>], mut dropped: Vec<u64>) -> Result<Vec<ChangeBatch>> {
    let mut left = Vec::with_capacity(batches.len());
    for (batch, ids) in batches.iter().zip(ids) {
        let mut keep = |id: &u32| {
            let dropped = &mut dropped[*id as usize];
            let keep = *dropped == 0;
            *dropped = dropped.saturating_sub(1);
            Some(keep)
        };
        let keep: BooleanArray = ids.iter().map(&mut keep).collect();
        let batch = batch.filter(&keep)?;
        if batch.num_rows() > 0 {
            left.push(batch);
        }
    }
    Ok(left)
}
