//! A partition's rows in order.

use std::cmp::Ordering;

use super::order::{Head, Order};
use crate::state::Remap;

/// A chunk with more entries is divided in two.
const CHUNK: usize = 256;

/// A row in state, with what orders it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// The beginning of its encoded order.
    pub head: Head,
    /// Its number.
    pub row: u32,
    /// How often it is there, in lists of places.
    pub times: u32,
}

/// Entries in order, in chunks of bounded size: adding and taking out move a chunk's entries at most, and few rows take one
/// allocation.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    first: Vec<Entry>,
    /// The chunks that follow, none of them empty.
    rest: Vec<Vec<Entry>>,
    len: usize,
}

impl Sorted {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn last(&self) -> Option<&Entry> {
        self.rest.last().unwrap_or(&self.first).last()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.first.iter().chain(self.rest.iter().flatten())
    }

    /// The chunk that an entry belongs into, 0 being the first.
    fn chunk_of(&self, entry: &Entry, order: &Order) -> usize {
        self.rest.partition_point(|chunk| order.compare(&chunk[0], entry) != Ordering::Greater)
    }

    fn chunk_mut(&mut self, chunk: usize) -> &mut Vec<Entry> {
        match chunk {
            0 => &mut self.first,
            later => &mut self.rest[later - 1],
        }
    }

    /// Adds an entry that is not there yet.
    pub fn insert(&mut self, entry: Entry, order: &Order) {
        let at = self.chunk_of(&entry, order);
        let chunk = self.chunk_mut(at);
        let place = chunk.partition_point(|e| order.compare(e, &entry) == Ordering::Less);
        chunk.insert(place, entry);
        if chunk.len() > CHUNK {
            let upper = chunk.split_off(CHUNK / 2);
            self.rest.insert(at, upper);
        }
        self.len += 1;
    }

    /// Takes an entry out, if it is there.
    pub fn remove(&mut self, entry: &Entry, order: &Order) {
        let at = self.chunk_of(entry, order);
        let chunk = self.chunk_mut(at);
        let Ok(place) = chunk.binary_search_by(|e| order.compare(e, entry)) else { return };
        chunk.remove(place);
        let emptied = chunk.is_empty();
        self.len -= 1;
        if emptied {
            self.drop_chunk(at);
        }
    }

    fn drop_chunk(&mut self, chunk: usize) {
        if chunk > 0 {
            self.rest.remove(chunk - 1);
        } else if !self.rest.is_empty() {
            self.first = self.rest.remove(0);
        }
    }

    /// Takes the last entry out.
    pub fn pop(&mut self) -> Option<Entry> {
        let popped = match self.rest.last_mut() {
            Some(chunk) => chunk.pop(),
            None => self.first.pop(),
        };
        if self.rest.last().is_some_and(Vec::is_empty) {
            self.rest.pop();
        }
        self.len -= usize::from(popped.is_some());
        popped
    }

    /// Follows rows to their new numbers.
    pub fn remap(&mut self, remap: &Remap) {
        for entry in self.first.iter_mut().chain(self.rest.iter_mut().flatten()) {
            entry.row = remap.get(entry.row).unwrap_or(entry.row);
        }
    }

    /// About how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        let entries = self.first.capacity() + self.rest.iter().map(Vec::capacity).sum::<usize>();
        entries * size_of::<Entry>() + self.rest.capacity() * size_of::<Vec<Entry>>()
    }
}
