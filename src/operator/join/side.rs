//! One side of a join: its rows by key, and what a step changes of them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::output::Layout;
use super::{JoinFactory, JoinKind, Role};
use crate::Result;
use crate::change::RowKind;
use crate::state::{Expiry, Lists, Multiset, Remap, RowStore, row_store};

/// The key of a row that can match nothing.
pub(in crate::operator) const NO_KEY: u32 = u32::MAX;
const NO_SLOT: u32 = u32::MAX;

/// What a side has to keep.
pub(super) struct Shape {
    side: usize,
    schema: SchemaRef,
    keys: Vec<usize>,
    role: Role,
    changing: bool,
    ttl: Option<i64>,
    /// How often a key is there is all that is asked of the side.
    counts_only: bool,
    /// Matches are counted by row: those of the key are not enough.
    by_row: bool,
    /// Each row's key must be found again.
    keyed_rows: bool,
}

impl Shape {
    pub fn of(factory: &JoinFactory, side: usize) -> Self {
        let input = &factory.inputs[side];
        let role = factory.kind.role(side);
        let ttl = factory.inputs.iter().any(|i| i.ttl.is_some());
        Self {
            side,
            schema: Arc::clone(&input.schema),
            keys: input.keys.clone(),
            role,
            changing: input.changing,
            ttl: input.ttl,
            counts_only: side == 1 && !factory.kind.pairs() && factory.condition.is_none(),
            by_row: role != Role::None && (factory.condition.is_some() || ttl),
            keyed_rows: input.ttl.is_some() || (factory.kind == JoinKind::NotIn && side == 0),
        }
    }
}

/// One side.
pub(super) struct Side {
    /// The key columns of the input.
    pub keys: Vec<usize>,
    /// The columns of the input that are kept.
    pub kept: Vec<usize>,
    /// Of `kept`, which are key columns, in the order of the keys.
    pub kept_keys: Vec<usize>,
    pub role: Role,
    pub store: Store,
    /// Entries by key, without those that can match nothing.
    pub lists: Lists,
    pub expiry: Expiry,
    /// By entry its key, where it must be found again.
    pub key_of: Option<Vec<u32>>,
    /// By entry how many rows match it, where that is counted by row. Without a further condition it is 1 or 0, and what was
    /// last said of the row.
    pub matches: Option<Vec<u64>>,
    pub delta: Delta,
    /// By entry of a changing side: where in `delta` it stands.
    slots: Vec<u32>,
}

/// How a side's rows are kept. Rows, or whatever else is counted here, are *entries* and have numbers.
pub(super) enum Store {
    /// Rows that are never taken away.
    Rows(Box<dyn RowStore>),
    /// Distinct rows and how often each is there.
    Weighted(Multiset),
    /// How often each key is there: the entries are the keys.
    Counts(Counts),
}

/// How often keys are there.
#[derive(Default)]
pub(super) struct Counts {
    pub by_key: Vec<u64>,
    /// How many keys are there.
    pub live: u64,
}

impl Counts {
    pub fn get(&self, key: u32) -> u64 {
        self.by_key.get(key as usize).copied().unwrap_or(0)
    }

    pub fn set(&mut self, key: u32, count: u64) {
        if self.by_key.len() <= key as usize {
            self.by_key.resize(key as usize + 1, 0);
        }
        let before = std::mem::replace(&mut self.by_key[key as usize], count);
        self.live += u64::from(before == 0 && count > 0);
        self.live -= u64::from(before > 0 && count == 0);
    }
}

/// What a step changes of a side: entries, each once, with their net change.
#[derive(Default)]
pub(super) struct Delta {
    pub entries: Vec<u32>,
    /// For each its key; [`NO_KEY`] where it can match nothing.
    pub keys: Vec<u32>,
    /// For each how often it came (or went, below 0). Empty for a side that is only appended to: each came once.
    pub weights: Vec<i64>,
    /// For each the kind of its last addition and of its last removal. Empty as `weights`.
    pub kinds: Vec<(RowKind, RowKind)>,
    /// For a side that is only appended to: its rows as they came, and which of `entries` is the first of each.
    pub chunks: Vec<(usize, RecordBatch)>,
}

impl Delta {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn weight(&self, i: usize) -> i64 {
        self.weights.get(i).copied().unwrap_or(1)
    }

    /// The kind of an addition or a removal.
    pub fn kind(&self, i: usize, added: bool) -> RowKind {
        let (plus, minus) = self.kinds.get(i).copied().unwrap_or((RowKind::Insert, RowKind::Delete));
        if added { plus } else { minus }
    }
}

/// A side as of which moment of a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Before the step.
    Old,
    /// What was there before the step and is there after it.
    Stayed,
    /// After the step.
    New,
}

impl Side {
    pub fn try_new(shape: &Shape, layout: &Layout) -> Result<Self> {
        let kept = match shape.counts_only {
            true => shape.keys.clone(),
            false => layout.kept[shape.side].clone(),
        };
        let schema: SchemaRef = Arc::new(shape.schema.project(&kept)?);
        let kept_keys = shape.keys.iter().filter_map(|k| kept.iter().position(|c| c == k)).collect();
        let store = match (shape.counts_only, shape.changing) {
            (true, _) => Store::Counts(Counts::default()),
            (false, false) => Store::Rows(row_store(schema)),
            (false, true) if shape.ttl.is_some() => Store::Weighted(Multiset::new(schema).lenient()),
            (false, true) => Store::Weighted(Multiset::new(schema)),
        };
        Ok(Self {
            keys: shape.keys.clone(),
            kept,
            kept_keys,
            role: shape.role,
            store,
            lists: Lists::default(),
            expiry: Expiry::new(shape.ttl),
            key_of: shape.keyed_rows.then(Vec::new),
            matches: shape.by_row.then(Vec::new),
            delta: Delta::default(),
            slots: Vec::new(),
        })
    }

    /// How many entries are there.
    pub fn rows(&self) -> usize {
        match &self.store {
            Store::Rows(rows) => rows.len(),
            Store::Weighted(rows) => rows.len(),
            Store::Counts(counts) => counts.live as usize,
        }
    }

    pub fn bytes(&self) -> usize {
        let store = match &self.store {
            Store::Rows(rows) => rows.bytes(),
            Store::Weighted(rows) => rows.bytes(),
            Store::Counts(counts) => counts.by_key.capacity() * 8,
        };
        let by_entry = self.key_of.as_ref().map_or(0, |k| k.capacity() * 4)
            + self.matches.as_ref().map_or(0, |m| m.capacity() * 8)
            + self.slots.capacity() * 4;
        store + by_entry + self.lists.bytes() + self.expiry.bytes()
    }

    /// Whether rows of a key are there now.
    pub fn has(&self, key: u32) -> bool {
        match &self.store {
            Store::Counts(counts) => counts.get(key) > 0,
            _ => !self.lists.is_empty(key),
        }
    }

    /// By how much the step changed an entry.
    pub fn change_of(&self, entry: u32) -> i64 {
        match self.slots.get(entry as usize) {
            Some(&slot) if slot != NO_SLOT => self.delta.weight(slot as usize),
            _ => 0,
        }
    }

    /// Whether an entry is among those that the step changed.
    pub fn is_changed(&self, entry: u32) -> bool {
        match &self.store {
            Store::Rows(_) => self.delta.entries.first().is_some_and(|first| entry >= *first),
            _ => self.slots.get(entry as usize).is_some_and(|slot| *slot != NO_SLOT),
        }
    }

    /// How often an entry is there.
    pub fn weight(&self, entry: u32, moment: Moment) -> u64 {
        let Store::Weighted(rows) = &self.store else { return 1 };
        let new = u64::from(rows.weight(entry));
        if moment == Moment::New {
            return new;
        }
        let old = new.saturating_add_signed(-self.change_of(entry));
        if moment == Moment::Old { old } else { old.min(new) }
    }

    /// Notes that a row of a changing side came or went.
    pub fn note(&mut self, entry: u32, key: u32, kind: RowKind) {
        if self.slots.len() <= entry as usize {
            self.slots.resize(entry as usize + 1, NO_SLOT);
        }
        let slot = &mut self.slots[entry as usize];
        let delta = &mut self.delta;
        if *slot == NO_SLOT {
            *slot = delta.entries.len() as u32;
            delta.entries.push(entry);
            delta.keys.push(key);
            delta.weights.push(0);
            delta.kinds.push((RowKind::Insert, RowKind::Delete));
        }
        let at = *slot as usize;
        match kind.is_addition() {
            true => {
                delta.weights[at] += 1;
                delta.kinds[at].0 = kind;
            }
            false => {
                delta.weights[at] -= 1;
                delta.kinds[at].1 = kind;
            }
        }
    }

    /// Lets go of entries that no row has touched for too long.
    pub fn expire(&mut self, now: i64) {
        for entry in self.expiry.expired(now) {
            let there = match &mut self.store {
                Store::Rows(rows) => {
                    let there = rows.is_live(entry);
                    rows.remove(entry);
                    there
                }
                Store::Weighted(rows) => {
                    let there = rows.weight(entry) > 0;
                    rows.clear_entry(entry);
                    there
                }
                Store::Counts(counts) => {
                    counts.set(entry, 0);
                    false
                }
            };
            let key = self.key_of.as_ref().and_then(|k| k.get(entry as usize)).copied().unwrap_or(NO_KEY);
            if there && key != NO_KEY {
                self.lists.remove(key, entry);
            }
        }
    }

    /// Takes the entries that are no longer there out of the lists.
    pub fn unlist_gone(&mut self) {
        let Store::Weighted(rows) = &self.store else { return };
        let Delta { entries, keys, weights, .. } = &self.delta;
        for ((entry, key), weight) in entries.iter().zip(keys).zip(weights) {
            if *weight < 0 && *key != NO_KEY && rows.weight(*entry) == 0 {
                self.lists.remove(*key, *entry);
            }
        }
    }

    /// Puts some entries, which are in no list, into those of their keys.
    pub fn list(&mut self, entries: &[u32], keys: &[u32]) {
        for (entry, key) in entries.iter().zip(keys).filter(|(_, k)| **k != NO_KEY) {
            self.lists.push(*key, *entry);
        }
    }

    /// Puts the entries that are new into the lists.
    pub fn list_new(&mut self) {
        let Delta { entries, keys, weights, .. } = &self.delta;
        match &self.store {
            Store::Counts(_) => {}
            Store::Rows(_) => {
                let delta = std::mem::take(&mut self.delta);
                self.list(&delta.entries, &delta.keys);
                self.delta = delta;
            }
            Store::Weighted(rows) => {
                for ((entry, key), weight) in entries.iter().zip(keys).zip(weights) {
                    let new = i64::from(rows.weight(*entry));
                    if *weight > 0 && *key != NO_KEY && new == *weight {
                        self.lists.push(*key, *entry);
                    }
                }
            }
        }
    }

    /// Columns of entries' rows, of those that are kept.
    pub fn take(&self, columns: &[usize], entries: &[u32]) -> Result<Vec<ArrayRef>> {
        match &self.store {
            Store::Rows(rows) => rows.take_columns(columns, entries),
            Store::Weighted(rows) => rows.rows().take_columns(columns, entries),
            Store::Counts(_) => Ok(Vec::new()),
        }
    }

    /// Ends a step: its changes are no longer asked for.
    pub fn settle(&mut self, now: i64) -> Result<()> {
        let delta = std::mem::take(&mut self.delta);
        self.expiry.touch(&delta.entries, now);
        if !delta.weights.is_empty() {
            delta.entries.iter().for_each(|e| self.slots[*e as usize] = NO_SLOT);
        }
        let remap = match &mut self.store {
            Store::Rows(rows) if rows.wants_compaction() => rows.compact()?,
            Store::Weighted(rows) if rows.wants_compaction() => rows.compact()?,
            _ => return Ok(()),
        };
        self.renumber(&remap);
        Ok(())
    }

    fn renumber(&mut self, entries: &Remap) {
        self.lists.remap_rows(entries);
        self.expiry.remap(entries);
        self.slots.clear();
        if let Some(keys) = &mut self.key_of {
            entries.apply(keys);
        }
        if let Some(matches) = &mut self.matches {
            entries.apply(matches);
        }
    }

    /// Follows keys to their new numbers.
    pub fn renumber_keys(&mut self, keys: &Remap) {
        self.lists.remap_keys(keys);
        if let Store::Counts(counts) = &mut self.store {
            keys.apply(&mut counts.by_key);
            self.expiry.remap(keys);
            self.slots.clear();
        }
        for key in self.key_of.iter_mut().flatten() {
            *key = keys.get(*key).unwrap_or(NO_KEY);
        }
    }
}
