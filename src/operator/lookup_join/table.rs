//! A table that is kept whole, found by key.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, SchemaRef, UInt64Type};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion_common::hash_utils::QualityRandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::{Groups, LookupJoin, Pairs, evaluate};
use crate::{Error, Result};

const SEED: u64 = 0x6c6f_6f6b_7570;

/// The rows of a table and where each key's stand. Immutable: all workers share it.
#[derive(Debug)]
pub struct LookupTable {
    rows: RecordBatch,
    keys: KeyIndex,
    groups: Groups,
}

/// Keys to numbers from 0 on.
#[derive(Debug)]
enum KeyIndex {
    /// Without keys all rows belong to one.
    One,
    /// A whole number or a time.
    Word { table: HashTable<(u64, u32)>, hasher: QualityRandomState },
    /// Anything else, as comparable bytes.
    Bytes { table: HashTable<(OwnedRow, u32)>, hasher: QualityRandomState, converter: RowConverter },
}

impl LookupTable {
    /// A table for a join, from what its connector gave: batches of `schema`.
    ///
    /// # Errors
    /// When a computed column fails on the data, or keys are of a type that cannot be compared.
    pub fn try_new(join: &LookupJoin, schema: &SchemaRef, read: &[RecordBatch]) -> Result<Self> {
        let tables = read.iter().map(|rows| join.table_rows(rows)).collect::<Result<Vec<_>>>()?;
        let rows = concat_batches(&join.table_schema, &tables)?;
        if u32::try_from(rows.num_rows()).is_err() {
            return Err(Error::Execution("a table that is kept whole has more than four billion rows".into()));
        }
        let mut columns: Vec<Vec<ArrayRef>> = vec![Vec::new(); join.table_keys.len()];
        for batch in read {
            let keys = evaluate(&join.table_keys, batch)?;
            columns.iter_mut().zip(keys).for_each(|(column, part)| column.push(part));
        }
        let join_parts = |parts: &Vec<ArrayRef>| {
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            arrow::compute::concat(&parts)
        };
        // Nothing was read: there is no key either, whatever its type.
        let keys = match read.is_empty() {
            true => evaluate(&join.table_keys, &RecordBatch::new_empty(Arc::clone(schema)))?,
            false => columns.iter().map(join_parts).collect::<Result<Vec<_>, _>>()?,
        };
        let (keys, numbers) = KeyIndex::build(&keys, rows.num_rows())?;
        let count = numbers.iter().flatten().max().map_or(1, |n| *n as usize + 1);
        if join.unique && numbers.iter().flatten().count() > count {
            return Err(Error::Execution("two rows have equal values in the PRIMARY KEY".into()));
        }
        Ok(Self { rows, keys, groups: Groups::of(&numbers, count) })
    }

    /// All rows, with the join's table columns.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// For each row of some key columns its rows here.
    ///
    /// # Errors
    /// When the keys are of another type than the table's.
    pub fn find(&self, keys: &[ArrayRef], rows: usize) -> Result<Pairs> {
        Ok(self.groups.pairs(&self.keys.find(keys, rows)?))
    }
}

/// The bits of a whole number or a time; `None` for other types.
fn words(column: &ArrayRef) -> Result<Option<ArrayRef>> {
    let data_type = column.data_type();
    if !data_type.is_integer() && !data_type.is_temporal() {
        return Ok(None);
    }
    let wide = match data_type {
        DataType::UInt64 => return Ok(Some(column.clone())),
        DataType::Interval(_) => return Ok(None),
        DataType::Date32 | DataType::Time32(_) => cast(&cast(column, &DataType::Int32)?, &DataType::Int64)?,
        _ => cast(column, &DataType::Int64)?,
    };
    let data = wide.to_data().into_builder().data_type(DataType::UInt64).build()?;
    Ok(Some(arrow::array::make_array(data)))
}

impl KeyIndex {
    /// An index of some keys, and each row's number; a key with a NULL has none.
    fn build(keys: &[ArrayRef], rows: usize) -> Result<(Self, Vec<Option<u32>>)> {
        let hasher = QualityRandomState::with_seed(SEED);
        let mut next = 0;
        let mut new = || {
            next += 1;
            next - 1
        };
        if keys.is_empty() {
            return Ok((KeyIndex::One, vec![Some(0); rows]));
        }
        if let [key] = keys
            && let Some(words) = words(key)?
        {
            let mut table: HashTable<(u64, u32)> = HashTable::new();
            let number = |word: Option<u64>| {
                let word = word?;
                let rehash = |(word, _): &(u64, u32)| hasher.hash_one(word);
                Some(match table.entry(hasher.hash_one(word), |(known, _)| *known == word, rehash) {
                    Entry::Occupied(known) => known.get().1,
                    Entry::Vacant(place) => place.insert((word, new())).get().1,
                })
            };
            let numbers = words.as_primitive::<UInt64Type>().iter().map(number).collect();
            return Ok((KeyIndex::Word { table, hasher }, numbers));
        }
        let fields = keys.iter().map(|k| SortField::new(k.data_type().clone())).collect();
        let converter = RowConverter::new(fields)?;
        let bytes = converter.convert_columns(keys)?;
        let mut table: HashTable<(OwnedRow, u32)> = HashTable::new();
        let number = |row: usize| {
            if keys.iter().any(|k| k.is_null(row)) {
                return None;
            }
            let key = bytes.row(row);
            let rehash = |(key, _): &(OwnedRow, u32)| hasher.hash_one(key.as_ref());
            Some(match table.entry(hasher.hash_one(key.as_ref()), |(known, _)| known.row() == key, rehash) {
                Entry::Occupied(known) => known.get().1,
                Entry::Vacant(place) => place.insert((key.owned(), new())).get().1,
            })
        };
        let numbers = (0..rows).map(number).collect();
        Ok((KeyIndex::Bytes { table, hasher, converter }, numbers))
    }

    fn find(&self, keys: &[ArrayRef], rows: usize) -> Result<Vec<Option<u32>>> {
        match self {
            KeyIndex::One => Ok(vec![Some(0); rows]),
            KeyIndex::Word { table, hasher } => {
                let words = keys.first().map(words).transpose()?.flatten();
                let words = words.ok_or_else(|| Error::internal("a look-up by a key of another type"))?;
                let number = |word: Option<u64>| {
                    let word = word?;
                    table.find(hasher.hash_one(word), |(known, _)| *known == word).map(|(_, number)| *number)
                };
                Ok(words.as_primitive::<UInt64Type>().iter().map(number).collect())
            }
            KeyIndex::Bytes { table, hasher, converter } => {
                let bytes = converter.convert_columns(keys)?;
                let number = |row: usize| {
                    let key = bytes.row(row);
                    if keys.iter().any(|k| k.is_null(row)) {
                        return None;
                    }
                    table.find(hasher.hash_one(key.as_ref()), |(known, _)| known.row() == key).map(|(_, n)| *n)
                };
                Ok((0..rows).map(number).collect())
            }
        }
    }
}
