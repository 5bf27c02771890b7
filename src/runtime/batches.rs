//! A step's batches: small ones joined, and all dealt to workers.

use crate::Result;
use crate::change::ChangeBatch;

/// Below this, a step's rows are not divided among workers in front of the first exchange: it would cost more than it gains.
const DIVIDE_FROM_ROWS: usize = 1024;
/// Small batches of one step are joined into batches of at least this many rows.
const JOIN_BELOW_ROWS: usize = 1024;

/// Joins neighbouring batches while they are small: an operator's cost is by the batch as well as by the row.
pub(super) fn join_small(batches: Vec<ChangeBatch>) -> Result<Vec<ChangeBatch>> {
    if batches.len() < 2 || batches.iter().all(|b| b.num_rows() >= JOIN_BELOW_ROWS) {
        return Ok(batches);
    }
    let mut joined = Vec::new();
    let mut run: Vec<ChangeBatch> = Vec::new();
    let mut rows = 0;
    for batch in batches {
        if batch.watermarks.is_some() || batch.num_rows() >= JOIN_BELOW_ROWS {
            flush(&mut run, &mut joined)?;
            rows = 0;
            joined.push(batch);
            continue;
        }
        rows += batch.num_rows();
        run.push(batch);
        if rows >= JOIN_BELOW_ROWS {
            flush(&mut run, &mut joined)?;
            rows = 0;
        }
    }
    flush(&mut run, &mut joined)?;
    Ok(joined)
}

fn flush(run: &mut Vec<ChangeBatch>, joined: &mut Vec<ChangeBatch>) -> Result<()> {
    if !run.is_empty() {
        joined.push(ChangeBatch::concat(std::mem::take(run))?);
    }
    Ok(())
}

/// Deals a source's rows to workers as runs of neighbours, the first rows to the first worker: the exchanges then restore
/// the order of arrival, for any number of workers.
pub(super) fn divide(batches: Vec<ChangeBatch>, workers: usize) -> Vec<Vec<ChangeBatch>> {
    let mut dealt = vec![Vec::new(); workers];
    let total: usize = batches.iter().map(ChangeBatch::num_rows).sum();
    if total < DIVIDE_FROM_ROWS {
        dealt[0] = batches;
        return dealt;
    }
    let share = total.div_ceil(workers);
    let mut seen = 0;
    for batch in batches {
        let mut from = 0;
        while from < batch.num_rows() {
            let worker = (seen / share).min(workers - 1);
            let take = (share * (worker + 1) - seen).min(batch.num_rows() - from);
            dealt[worker].push(batch.slice(from, take));
            from += take;
            seen += take;
        }
    }
    dealt
}
