//! Multisets of rows.

use arrow::array::{ArrayRef, RecordBatch, UInt32Array, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use arrow::util::display::array_value_to_string;
use datafusion_common::hash_utils::{QualityRandomState, create_hashes};
use hashbrown::HashTable;

use super::remap::GONE;
use super::{Remap, RowStore, row_store};
use crate::change::{RowKind, RowKinds, take_rows};
use crate::{Error, Result};

/// Unlike the exchange's, so that a worker's rows spread evenly.
const SEED: u64 = 0x726f_7773;
/// With fewer dead entries compaction is not worth its while.
const COMPACT_FROM: usize = 4096;

/// A multiset of whole rows: each distinct row is kept once, as an *entry* with a number, and how often it is there. A change
/// costs the same however much is in it.
pub struct Multiset {
    rows: Box<dyn RowStore>,
    /// Entries by the hash of their rows.
    index: HashTable<u32>,
    /// By entry.
    hashes: Vec<u64>,
    /// By entry: how often the row is there.
    weights: Vec<u32>,
    /// Entries whose rows are there.
    live: usize,
    /// Whether a row that is not there may be taken away.
    lenient: bool,
    /// For tests: fewer bits make rows collide.
    hash_bits: u64,
}

/// A batch's rows on their way in.
struct Incoming<'a> {
    rows: &'a RecordBatch,
    hashes: Vec<u64>,
    /// For each row its entry; numbers from `base` on are entries to be.
    entries: Vec<u32>,
    /// For each entry to be its first row.
    fresh: Vec<u32>,
    base: u32,
}

impl Multiset {
    /// An empty one for rows of a schema.
    pub fn new(schema: SchemaRef) -> Self {
        Self {
            rows: row_store(schema),
            index: HashTable::new(),
            hashes: Vec::new(),
            weights: Vec::new(),
            live: 0,
            lenient: false,
            hash_bits: u64::MAX,
        }
    }

    /// Passes over rows to be taken away that are not there, their entry being [`GONE`], in place of failing: they may have
    /// expired.
    pub fn lenient(self) -> Self {
        Self { lenient: true, ..self }
    }

    #[cfg(test)]
    pub(super) fn with_hash_bits(self, hash_bits: u64) -> Self {
        Self { hash_bits, ..self }
    }

    /// Applies changes in their order (`kinds` as in a [`ChangeBatch`](crate::change::ChangeBatch)), and gives the entry of
    /// each row, into `entries`.
    ///
    /// # Errors
    /// [`Error::Execution`] with the row when one is to be taken away that is not there.
    pub fn change(&mut self, rows: &RecordBatch, kinds: Option<&RowKinds>, entries: &mut Vec<u32>) -> Result<()> {
        let incoming = self.enter(rows)?;
        *entries = incoming;
        for (row, entry) in entries.iter_mut().enumerate() {
            let weight = &mut self.weights[*entry as usize];
            match kinds.map_or(RowKind::Insert, |k| k[row]).is_addition() {
                true => {
                    self.live += usize::from(*weight == 0);
                    *weight = weight.checked_add(1).ok_or_else(too_many)?;
                }
                false if *weight > 0 => {
                    *weight -= 1;
                    self.live -= usize::from(*weight == 0);
                }
                false if self.lenient => *entry = GONE,
                false => return Err(absent_row(rows, row)),
            }
        }
        Ok(())
    }

    /// Adds each row so many times, and gives the entry of each, into `entries`.
    ///
    /// # Errors
    /// When the columns are not the schema's.
    pub fn add(&mut self, rows: &RecordBatch, weights: &[u32], entries: &mut Vec<u32>) -> Result<()> {
        *entries = self.enter(rows)?;
        for (entry, times) in entries.iter().zip(weights) {
            let weight = &mut self.weights[*entry as usize];
            self.live += usize::from(*weight == 0 && *times > 0);
            *weight = weight.checked_add(*times).ok_or_else(too_many)?;
        }
        Ok(())
    }

    /// Finds or makes the entry of each row.
    fn enter(&mut self, rows: &RecordBatch) -> Result<Vec<u32>> {
        let mut hashes = vec![0; rows.num_rows()];
        if !rows.columns().is_empty() {
            create_hashes(rows.columns(), &QualityRandomState::with_seed(SEED), &mut hashes)?;
        }
        hashes.iter_mut().for_each(|h| *h &= self.hash_bits);
        let mut incoming = Incoming { rows, hashes, entries: Vec::new(), fresh: Vec::new(), base: self.rows.ids() };
        self.find_by_hash(&mut incoming);
        if !self.verify(&incoming)? {
            self.find_exactly(&mut incoming)?;
        }
        self.admit(&incoming)?;
        Ok(incoming.entries)
    }

    /// Takes rows of one hash for equal, as they almost always are.
    fn find_by_hash(&self, incoming: &mut Incoming) {
        let Incoming { hashes, entries, fresh, base, .. } = incoming;
        let mut index: HashTable<u32> = HashTable::new();
        entries.reserve(hashes.len());
        for (row, hash) in (0u32..).zip(hashes.iter()) {
            if let Some(known) = self.index.find(*hash, |entry| self.hashes[*entry as usize] == *hash) {
                entries.push(*known);
                continue;
            }
            let hash_of = |new: &u32| hashes[fresh[*new as usize] as usize];
            let new = match index.find(*hash, |new| hash_of(new) == *hash) {
                Some(new) => *new,
                None => {
                    let new = fresh.len() as u32;
                    fresh.push(row);
                    index.insert_unique(*hash, new, |new| hashes[fresh[*new as usize] as usize]);
                    new
                }
            };
            entries.push(*base + new);
        }
    }

    /// Whether the rows really equal the entries that were found for them.
    fn verify(&self, incoming: &Incoming) -> Result<bool> {
        let Incoming { rows, entries, fresh, base, .. } = incoming;
        let (mut ids, mut at) = (Vec::new(), Vec::new());
        let mut repeated = Vec::new();
        for (row, entry) in (0u32..).zip(entries) {
            match entry.checked_sub(*base) {
                None => {
                    ids.push(*entry);
                    at.push(row);
                }
                Some(new) if fresh[new as usize] != row => repeated.push((fresh[new as usize], row)),
                Some(_) => {}
            }
        }
        if self.rows.equal(&ids, rows, &at)?.contains(&false) {
            return Ok(false);
        }
        if repeated.is_empty() {
            return Ok(true);
        }
        let same = equality(rows)?;
        Ok(repeated.into_iter().all(|(a, b)| same(a, b)))
    }

    /// Compares each row with all entries of its hash.
    fn find_exactly(&self, incoming: &mut Incoming) -> Result<()> {
        incoming.entries.clear();
        incoming.fresh.clear();
        let same = equality(incoming.rows)?;
        let Incoming { rows, hashes, entries, fresh, base } = incoming;
        let mut index: HashTable<u32> = HashTable::new();
        for (row, hash) in (0u32..).zip(hashes.iter()) {
            let candidates = self.index.iter_hash(*hash).copied();
            let candidates: Vec<u32> = candidates.filter(|e| self.hashes[*e as usize] == *hash).collect();
            let equal = self.rows.equal(&candidates, rows, &vec![row; candidates.len()])?;
            let known = candidates.iter().zip(equal).find(|(_, equal)| *equal).map(|(entry, _)| *entry);
            if let Some(known) = known {
                entries.push(known);
                continue;
            }
            let first = index.find(*hash, |new| same(fresh[*new as usize], row)).copied();
            let new = first.unwrap_or_else(|| {
                let new = fresh.len() as u32;
                fresh.push(row);
                index.insert_unique(*hash, new, |new| hashes[fresh[*new as usize] as usize]);
                new
            });
            entries.push(*base + new);
        }
        Ok(())
    }

    /// Makes the entries to be.
    fn admit(&mut self, incoming: &Incoming) -> Result<()> {
        let Incoming { rows, hashes, fresh, base, .. } = incoming;
        match fresh.len() == rows.num_rows() {
            true => self.rows.append(rows)?,
            false => self.rows.append(&take_rows(rows, &UInt32Array::from(fresh.clone()))?)?,
        };
        for (entry, row) in (*base..).zip(fresh) {
            let hash = hashes[*row as usize];
            self.hashes.push(hash);
            self.weights.push(0);
            self.index.insert_unique(hash, entry, |e| self.hashes[*e as usize]);
        }
        Ok(())
    }

    /// How often an entry's row is there. At 0 it may come back under the same number.
    pub fn weight(&self, entry: u32) -> u32 {
        self.weights.get(entry as usize).copied().unwrap_or(0)
    }

    /// A hash of an entry's row: the same in every run, whatever else was in it before.
    pub fn hash(&self, entry: u32) -> u64 {
        self.hashes.get(entry as usize).copied().unwrap_or(0)
    }

    /// Takes a row away as often as it is there.
    pub fn clear_entry(&mut self, entry: u32) {
        if let Some(weight) = self.weights.get_mut(entry as usize) {
            self.live -= usize::from(*weight > 0);
            *weight = 0;
        }
    }

    /// The entries' rows.
    pub fn rows(&self) -> &dyn RowStore {
        self.rows.as_ref()
    }

    /// How many entries were made: their numbers are those from 0 up to this.
    pub fn entries(&self) -> u32 {
        self.rows.ids()
    }

    /// How many distinct rows are there.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether no row is there.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Whether most entries' rows are no longer there.
    pub fn wants_compaction(&self) -> bool {
        let dead = self.weights.len() - self.live;
        dead >= COMPACT_FROM && dead > self.live
    }

    /// Drops the entries whose rows are not there and numbers the others anew, in their order.
    ///
    /// # Errors
    /// When rows cannot be copied.
    pub fn compact(&mut self) -> Result<Remap> {
        let dead = (0u32..).zip(&self.weights).filter(|(_, w)| **w == 0).map(|(entry, _)| entry);
        dead.for_each(|entry| self.rows.remove(entry));
        let remap = self.rows.compact()?;
        remap.apply(&mut self.hashes);
        remap.apply(&mut self.weights);
        self.index = HashTable::with_capacity(self.hashes.len());
        for (entry, hash) in (0u32..).zip(&self.hashes) {
            self.index.insert_unique(*hash, entry, |e| self.hashes[*e as usize]);
        }
        Ok(remap)
    }

    /// The rows that are there, once each, in the order of their entries; and how often each is there.
    ///
    /// # Errors
    /// When rows cannot be copied.
    pub fn freeze(&self) -> Result<(Vec<RecordBatch>, Vec<u32>)> {
        let live = (0u32..).zip(&self.weights).filter(|(_, w)| **w > 0);
        let (ids, weights): (Vec<u32>, Vec<u32>) = live.unzip();
        let chunks = ids.chunks(FROZEN_ROWS).map(|ids| self.rows.take(ids)).collect::<Result<_>>()?;
        Ok((chunks, weights))
    }

    /// About how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        self.rows.bytes() + self.index.capacity() * 5 + self.hashes.capacity() * 8 + self.weights.capacity() * 4
    }
}

/// How many rows a frozen batch holds at most.
const FROZEN_ROWS: usize = 8192;

/// Compares a batch's rows with each other.
fn equality(rows: &RecordBatch) -> Result<impl Fn(u32, u32) -> bool> {
    let compare = |c: &ArrayRef| make_comparator(c, c, SortOptions::default());
    let columns = rows.columns().iter().map(compare).collect::<Result<Vec<_>, _>>()?;
    Ok(move |a: u32, b: u32| columns.iter().all(|compare| compare(a as usize, b as usize).is_eq()))
}

fn too_many() -> Error {
    Error::Execution("a row is in an operator's state more than four billion times".into())
}

/// What is said when a row is to be taken away that is not there.
pub fn absent_row(rows: &RecordBatch, row: usize) -> Error {
    let schema = rows.schema();
    let value = |(column, field): (&ArrayRef, &std::sync::Arc<arrow::datatypes::Field>)| {
        let text = array_value_to_string(column, row).unwrap_or_else(|e| e.to_string());
        let text = if column.is_null(row) { "NULL".into() } else { text };
        format!("{} = {text}", field.name())
    };
    let values: Vec<String> = rows.columns().iter().zip(schema.fields()).map(value).collect();
    Error::Execution(format!("a row is to be taken away (-U or -D) that never came: {}", values.join(", ")))
}
