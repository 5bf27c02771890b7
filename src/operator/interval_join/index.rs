//! By key and time, the rows of a side that have been asked for.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::hash_utils::{RandomState, create_hashes};

use super::batches::{Batch, Past};
use crate::Result;
use crate::state::{Keys, Timelines};

/// With fewer rows that are gone, or keys without rows, the index is left as it is.
const SWEEP_FROM: usize = 4096;
/// So many bits a key has a filter: 1 key in 32 that was not put in seems to be.
const BITS_A_KEY: usize = 32;
/// Unlike those of exchange and tables.
const SEED: u64 = 0x696e_7472;

/// Rows by key, each key's in the order of their times. It follows from the rows that are held, and can be made anew from them.
pub(super) struct Index {
    schema: SchemaRef,
    keys: Keys,
    pub lines: Timelines,
    /// Kept between calls for its memory.
    ids: Vec<u32>,
}

impl Index {
    pub fn try_new(schema: SchemaRef) -> Result<Self> {
        let keys = Keys::try_new(SchemaRef::clone(&schema))?;
        Ok(Self { schema, keys, lines: Timelines::default(), ids: Vec::new() })
    }

    pub fn bytes(&self) -> usize {
        self.keys.bytes() + self.lines.bytes()
    }

    /// Enters rows of a batch that are not in the index, all or those at some places, unless they are gone or there already.
    /// [`Timelines::settle`] must follow.
    pub fn enter(&mut self, batch: &Batch, keys: &[ArrayRef], places: Option<&UInt32Array>, past: Past) -> Result<()> {
        let column = |column: &ArrayRef| places.map_or(Ok(column.clone()), |at| Ok(take(column, at, None)?));
        let columns = keys.iter().map(column).collect::<Result<Vec<_>>>()?;
        let rows = places.map_or(batch.not_indexed(), |at| at.values().len());
        self.keys.intern(&columns, rows, &mut self.ids)?;
        for (i, key) in self.ids.iter().enumerate() {
            let place = batch.indexed + places.map_or(i, |at| at.value(i) as usize);
            let (time, row) = (batch.held.times[place], batch.first + place as u32);
            if past.is_there(time, row) {
                self.lines.push(*key, time, row);
            }
        }
        Ok(())
    }

    /// The numbers of some keys. Those without rows have one without rows.
    pub fn find(&mut self, columns: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> Result<()> {
        self.keys.find(columns, rows, ids)
    }

    /// Gives up what is no longer needed, once that is most; `live` rows are held.
    pub fn tidy(&mut self, live: usize, past: Past) -> Result<()> {
        if self.lines.rows().max(self.keys.len()) <= live * 2 + SWEEP_FROM {
            return Ok(());
        }
        if live == 0 {
            return self.clear();
        }
        self.lines.pass(past.until);
        let used = |key: u32| !self.lines.is_empty(key);
        let many = (0..self.keys.len() as u32).filter(|key| used(*key)).count();
        if many < self.keys.len() / 2 {
            let remap = self.keys.retain(used)?;
            self.lines.remap_keys(&remap);
        }
        Ok(())
    }

    pub fn clear(&mut self) -> Result<()> {
        *self = Self::try_new(SchemaRef::clone(&self.schema))?;
        Ok(())
    }
}

/// Some keys by their hashes, of which it is quickly told that a key is not among them.
pub(super) struct KeyFilter {
    bits: Vec<u64>,
    mask: u64,
}

impl KeyFilter {
    /// Whether equal keys of these types have equal hashes.
    pub fn suits(types: &SchemaRef) -> bool {
        let suits = |t: &DataType| !t.is_floating() && !t.is_nested();
        !types.fields().is_empty() && types.fields().iter().all(|f| suits(f.data_type()))
    }

    /// With room for some keys.
    pub fn new(keys: usize) -> Self {
        let bits = (keys * BITS_A_KEY).next_power_of_two().max(u64::BITS as usize);
        Self { bits: vec![0; bits / u64::BITS as usize], mask: bits as u64 - 1 }
    }

    pub fn put(&mut self, hashes: &[u64]) {
        for hash in hashes {
            let bit = hash & self.mask;
            self.bits[(bit / 64) as usize] |= 1 << (bit % 64);
        }
    }

    /// Whether a key may be among them.
    pub fn may_have(&self, hash: u64) -> bool {
        let bit = hash & self.mask;
        self.bits[(bit / 64) as usize] & 1 << (bit % 64) != 0
    }
}

/// The hashes of some rows' keys.
pub(super) fn hashes<'a>(columns: &[ArrayRef], rows: usize, into: &'a mut Vec<u64>) -> Result<&'a [u64]> {
    into.clear();
    into.resize(rows, 0);
    Ok(create_hashes(columns, &RandomState::with_seed(SEED), into)?)
}
