//! Keys of a few numbers and times, packed into one word each.

use std::hash::{BuildHasher, Hash};

use arrow::array::{Array, ArrayData, ArrayRef, make_array};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, SchemaRef};
use datafusion_common::hash_utils::QualityRandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::super::Remap;
use super::super::remap::GONE;
use super::Index;
use crate::{Error, Result};

/// Unlike the exchange's, so that a worker's keys spread evenly.
const SEED: u64 = 0x6b65_7973;
/// Makes keys that differ in their NULLs alone differ in their hashes.
const NULLS: u64 = 0x9e37_79b9_7f4a_7c15;

/// How many bytes the columns of a key take together; `None` where one has no fixed width of at most eight bytes, or is a
/// floating-point number, whose equality is not that of its bits.
pub(super) fn width(schema: &SchemaRef) -> Option<usize> {
    let fields = schema.fields();
    if fields.len() > u8::BITS as usize {
        return None;
    }
    fields.iter().map(|f| bytes_of(f.data_type())).sum()
}

fn bytes_of(data_type: &DataType) -> Option<usize> {
    let whole = data_type.is_integer() || data_type.is_temporal();
    data_type.primitive_width().filter(|width| whole && *width <= 8)
}

/// What a key is packed into.
pub(super) trait Word: Copy + Eq + Hash + Default + Send {
    fn with(self, bits: u64, shift: u32) -> Self;
    fn bits(self, shift: u32) -> u64;
}

impl Word for u64 {
    fn with(self, bits: u64, shift: u32) -> Self {
        self | bits << shift
    }

    fn bits(self, shift: u32) -> u64 {
        self >> shift
    }
}

impl Word for u128 {
    fn with(self, bits: u64, shift: u32) -> Self {
        self | u128::from(bits) << shift
    }

    fn bits(self, shift: u32) -> u64 {
        (self >> shift) as u64
    }
}

/// A column's type and place in the word.
#[derive(Debug, Clone)]
struct Part {
    data_type: DataType,
    bytes: usize,
    shift: u32,
}

pub(super) struct PackedKeys<W> {
    parts: Vec<Part>,
    table: HashTable<u32>,
    /// By number.
    words: Vec<W>,
    /// By number, a bit for each column that is NULL; empty as long as none is.
    nulls: Vec<u8>,
    hasher: QualityRandomState,
    /// Kept between calls for their memory.
    incoming: Vec<W>,
    incoming_nulls: Vec<u8>,
}

impl<W: Word> PackedKeys<W> {
    /// For key columns that [`width`] finds to fit.
    pub fn new(schema: &SchemaRef) -> Self {
        let mut shift = 0;
        let part = |field: &arrow::datatypes::FieldRef| {
            let bytes = bytes_of(field.data_type()).unwrap_or_default();
            let part = Part { data_type: field.data_type().clone(), bytes, shift };
            shift += bytes as u32 * 8;
            part
        };
        Self {
            parts: schema.fields().iter().map(part).collect(),
            table: HashTable::new(),
            words: Vec::new(),
            nulls: Vec::new(),
            hasher: QualityRandomState::with_seed(SEED),
            incoming: Vec::new(),
            incoming_nulls: Vec::new(),
        }
    }

    /// Packs a batch's keys.
    fn pack(&mut self, columns: &[ArrayRef], rows: usize) -> Result<()> {
        self.incoming.clear();
        self.incoming.resize(rows, W::default());
        self.incoming_nulls.clear();
        for (at, (column, part)) in columns.iter().zip(&self.parts).enumerate() {
            let data = column.to_data();
            if *data.data_type() != part.data_type {
                return Err(Error::internal(format!(
                    "a key of type {} where {} was",
                    data.data_type(),
                    part.data_type
                )));
            }
            let nulls = column.nulls().filter(|n| n.null_count() > 0);
            if let Some(nulls) = nulls {
                self.incoming_nulls.resize(rows, 0);
                let marked = self.incoming_nulls.iter_mut().zip(nulls);
                marked.for_each(|(mask, valid)| *mask |= u8::from(!valid) << at);
            }
            put_column(&mut self.incoming, &data, nulls, part);
        }
        Ok(())
    }
}

/// Puts a column's values into their place in the words; where it is NULL, the place stays empty.
fn put_column<W: Word>(words: &mut [W], data: &ArrayData, nulls: Option<&NullBuffer>, part: &Part) {
    match part.bytes {
        1 => put(words, values::<u8>(data), nulls, part.shift, u64::from),
        2 => put(words, values::<u16>(data), nulls, part.shift, u64::from),
        4 => put(words, values::<u32>(data), nulls, part.shift, u64::from),
        _ => put(words, values::<u64>(data), nulls, part.shift, |v| v),
    }
}

fn values<N: ArrowNativeType>(data: &ArrayData) -> &[N] {
    &data.buffers()[0].typed_data::<N>()[data.offset()..]
}

fn put<W: Word, N: Copy>(
    words: &mut [W],
    values: &[N],
    nulls: Option<&NullBuffer>,
    shift: u32,
    bits: impl Fn(N) -> u64,
) {
    let all = words.iter_mut().zip(values);
    match nulls {
        None => all.for_each(|(word, value)| *word = word.with(bits(*value), shift)),
        Some(nulls) => {
            let valid = all.zip(nulls).filter(|(_, valid)| *valid);
            valid.for_each(|((word, value), _)| *word = word.with(bits(*value), shift));
        }
    }
}

fn hash<W: Word>(hasher: &QualityRandomState, word: W, nulls: u8) -> u64 {
    hasher.hash_one(word) ^ u64::from(nulls).wrapping_mul(NULLS)
}

impl<W: Word> Index for PackedKeys<W> {
    fn intern(&mut self, columns: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> Result<()> {
        self.pack(columns, rows)?;
        if !self.incoming_nulls.is_empty() && self.nulls.is_empty() {
            self.nulls.resize(self.words.len(), 0);
        }
        let Self { table, words, nulls, hasher, incoming, incoming_nulls, .. } = self;
        // Once there was a NULL it is looked for in all keys.
        let with_nulls = !incoming_nulls.is_empty() || !nulls.is_empty();
        ids.reserve(rows);
        for (row, word) in incoming.iter().enumerate() {
            let own = incoming_nulls.get(row).copied().unwrap_or(0);
            let null_of = |id: u32| if with_nulls { nulls[id as usize] } else { 0 };
            let same = |id: &u32| words[*id as usize] == *word && null_of(*id) == own;
            let rehash = |id: &u32| hash(hasher, words[*id as usize], null_of(*id));
            match table.entry(hash(hasher, *word, own), same, rehash) {
                Entry::Occupied(known) => ids.push(*known.get()),
                Entry::Vacant(place) => {
                    let id = u32::try_from(words.len()).ok().filter(|id| *id < GONE);
                    let id = id.ok_or_else(|| Error::Execution("there are more than four billion keys".into()))?;
                    place.insert(id);
                    words.push(*word);
                    if with_nulls {
                        nulls.push(own);
                    }
                    ids.push(id);
                }
            }
        }
        Ok(())
    }

    fn find(&mut self, columns: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> Result<()> {
        self.pack(columns, rows)?;
        let Self { table, words, nulls, hasher, incoming, incoming_nulls, .. } = self;
        ids.extend(incoming.iter().enumerate().map(|(row, word)| {
            let own = incoming_nulls.get(row).copied().unwrap_or(0);
            let same = |id: &u32| words[*id as usize] == *word && nulls.get(*id as usize).copied().unwrap_or(0) == own;
            table.find(hash(hasher, *word, own), same).copied().unwrap_or(GONE)
        }));
        Ok(())
    }

    fn len(&self) -> usize {
        self.words.len()
    }

    fn take(&self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        if ids.iter().any(|id| *id as usize >= self.words.len()) {
            return Err(Error::internal("a key that is not in state"));
        }
        let column = |(at, part): (usize, &Part)| {
            let bits = ids.iter().map(|id| self.words[*id as usize].bits(part.shift));
            let values = match part.bytes {
                1 => Buffer::from_vec(bits.map(|b| b as u8).collect()),
                2 => Buffer::from_vec(bits.map(|b| b as u16).collect()),
                4 => Buffer::from_vec(bits.map(|b| b as u32).collect()),
                _ => Buffer::from_vec(bits.collect::<Vec<u64>>()),
            };
            let valid = |id: &u32| self.nulls.get(*id as usize).is_none_or(|n| n & (1 << at) == 0);
            let nulls = (!self.nulls.is_empty()).then(|| ids.iter().map(valid).collect::<NullBuffer>());
            let data = ArrayData::builder(part.data_type.clone()).len(ids.len()).add_buffer(values).nulls(nulls);
            Ok(make_array(data.build()?))
        };
        self.parts.iter().enumerate().map(column).collect()
    }

    fn retain(&mut self, kept: &[u32]) -> Result<Remap> {
        let mut new = vec![GONE; self.words.len()];
        (0u32..).zip(kept).for_each(|(id, old)| new[*old as usize] = id);
        let remap = Remap::new(new);
        remap.apply(&mut self.words);
        if !self.nulls.is_empty() {
            remap.apply(&mut self.nulls);
        }
        let Self { words, nulls, hasher, .. } = self;
        let hash_of = |id: &u32| hash(hasher, words[*id as usize], nulls.get(*id as usize).copied().unwrap_or(0));
        let mut table = HashTable::with_capacity(words.len());
        for id in 0..words.len() as u32 {
            table.insert_unique(hash_of(&id), id, hash_of);
        }
        self.table = table;
        Ok(remap)
    }

    fn bytes(&self) -> usize {
        self.table.capacity() * 5 + self.words.capacity() * size_of::<W>() + self.nulls.capacity()
    }
}
