//! Which worker a key belongs to.

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use datafusion_common::hash_utils::{QualityRandomState, create_hashes};

use super::{Placement, StateTable};
use crate::Result;
use crate::change::take_rows;

/// Fixed, so that a key belongs to the same worker in every run; its own, so that a worker's keys still spread evenly over
/// hash tables that use another seed.
const SEED: u64 = 0x6d69_6c6c_7374_7265;

/// The hash of each row's key, into `hashes`: by it a key belongs to a worker.
///
/// # Errors
/// When a column's type cannot be hashed.
pub fn key_hashes(keys: &[ArrayRef], rows: usize, hashes: &mut Vec<u64>) -> Result<()> {
    hashes.clear();
    hashes.resize(rows, 0);
    create_hashes(keys, &QualityRandomState::with_seed(SEED), hashes)?;
    Ok(())
}

/// Divides rows among workers by the hash of some columns.
#[derive(Debug)]
pub struct Partitioner {
    workers: usize,
    hashes: Vec<u64>,
}

impl Partitioner {
    /// For that many workers.
    pub fn new(workers: usize) -> Self {
        Self { workers: workers.max(1), hashes: Vec::new() }
    }

    /// For each worker the rows whose key belongs to it, in order. Without key columns all rows belong to the first.
    ///
    /// # Errors
    /// When a column's type cannot be hashed.
    pub fn rows(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<UInt32Array>> {
        let mut picked: Vec<Vec<u32>> = vec![Vec::new(); self.workers];
        if keys.is_empty() {
            picked[0] = (0..rows as u32).collect();
        } else {
            key_hashes(keys, rows, &mut self.hashes)?;
            for (row, hash) in (0u32..).zip(&self.hashes) {
                picked[(hash % self.workers as u64) as usize].push(row);
            }
        }
        Ok(picked.into_iter().map(UInt32Array::from).collect())
    }
}

/// Deals state that any number of workers handed out to `workers` of them.
///
/// # Errors
/// When a key column's type cannot be hashed.
pub fn place(tables: Vec<Vec<StateTable>>, workers: usize) -> Result<Vec<Vec<StateTable>>> {
    let mut placed: Vec<Vec<StateTable>> = vec![Vec::new(); workers];
    let mut partitioner = Partitioner::new(workers);
    for table in tables.into_iter().flatten() {
        match &table.placement {
            Placement::All => placed.iter_mut().for_each(|p| p.push(table.clone())),
            Placement::First => placed[0].push(table),
            Placement::Key(columns) => {
                let mut parts: Vec<Vec<RecordBatch>> = vec![Vec::new(); workers];
                for chunk in &table.rows {
                    let keys: Vec<ArrayRef> = columns.iter().map(|c| chunk.column(*c).clone()).collect();
                    for (part, rows) in parts.iter_mut().zip(partitioner.rows(&keys, chunk.num_rows())?) {
                        if !rows.is_empty() {
                            part.push(take_rows(chunk, &rows)?);
                        }
                    }
                }
                for (worker, rows) in placed.iter_mut().zip(parts) {
                    worker.push(StateTable { name: table.name.clone(), placement: table.placement.clone(), rows });
                }
            }
        }
    }
    Ok(placed)
}
