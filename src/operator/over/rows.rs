//! The rows of an OVER whose results change.

use std::cmp::Ordering;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::change::ChangeBatch;
use crate::state::{Multiset, Remap, RowStore, row_store};
use crate::{Error, Result};

/// Rows by number, in one of two ways.
pub(super) enum Rows {
    /// In the order of arrival; they only come.
    Log(Box<dyn RowStore>),
    /// Equal rows once, with how often they are there.
    Bag(Multiset),
}

impl Rows {
    /// `by_content`: whether the order of arrival is of no meaning. `lenient`: whether a row to take away may be missing.
    pub fn new(schema: SchemaRef, by_content: bool, lenient: bool) -> Self {
        match (by_content, lenient) {
            (false, _) => Rows::Log(row_store(schema)),
            (true, false) => Rows::Bag(Multiset::new(schema)),
            (true, true) => Rows::Bag(Multiset::new(schema).lenient()),
        }
    }

    /// Applies changes; gives the number of each row.
    pub fn change(&mut self, batch: &ChangeBatch, numbers: &mut Vec<u32>) -> Result<()> {
        match self {
            Rows::Bag(bag) => bag.change(&batch.rows, batch.kinds.as_ref(), numbers),
            Rows::Log(_) if batch.kinds.is_some() => Err(Error::internal("changes to rows that were to come only")),
            Rows::Log(_) => self.add(&batch.rows, numbers),
        }
    }

    /// Adds each row once; gives their numbers.
    pub fn add(&mut self, rows: &RecordBatch, numbers: &mut Vec<u32>) -> Result<()> {
        match self {
            Rows::Bag(bag) => bag.add(rows, &vec![1; rows.num_rows()], numbers),
            Rows::Log(log) => {
                let first = log.append(rows)?;
                numbers.clear();
                numbers.extend((first..).take(rows.num_rows()));
                Ok(())
            }
        }
    }

    /// How often a row is there.
    pub fn weight(&self, number: u32) -> u32 {
        match self {
            Rows::Bag(bag) => bag.weight(number),
            Rows::Log(log) => u32::from(log.is_live(number)),
        }
    }

    /// Takes a row away, however often it is there.
    pub fn clear(&mut self, number: u32) {
        match self {
            Rows::Bag(bag) => bag.clear_entry(number),
            Rows::Log(log) => log.remove(number),
        }
    }

    /// Some rows; those that are gone too, until compaction.
    pub fn take(&self, numbers: &[u32]) -> Result<RecordBatch> {
        match self {
            Rows::Bag(bag) => bag.rows().take(numbers),
            Rows::Log(log) => log.take(numbers),
        }
    }

    /// How rows compare that are ordered alike: those that only come by their arrival. Else they are equal.
    pub fn tie(&self, a: u32, b: u32) -> Ordering {
        if let Rows::Log(_) = self { a.cmp(&b) } else { Ordering::Equal }
    }

    /// Gives up the places of rows that are gone, where most are.
    pub fn compact(&mut self) -> Result<Option<Remap>> {
        match self {
            Rows::Bag(bag) => bag.wants_compaction().then(|| bag.compact()).transpose(),
            Rows::Log(log) => log.wants_compaction().then(|| log.compact()).transpose(),
        }
    }

    /// How many numbers were given.
    pub fn numbers(&self) -> u32 {
        match self {
            Rows::Bag(bag) => bag.entries(),
            Rows::Log(log) => log.ids(),
        }
    }

    /// About how many bytes of memory they take.
    pub fn bytes(&self) -> usize {
        match self {
            Rows::Bag(bag) => bag.bytes(),
            Rows::Log(log) => log.bytes(),
        }
    }
}
