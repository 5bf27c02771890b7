//! What partitions hold, and what changes at their places in a step.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::cast;

use super::TopN;
use super::order::{Encoder, Order};
use super::sorted::{Entry, Sorted};
use crate::Result;
use crate::change::{ChangeBatch, RowKind};
use crate::state::{Expiry, Keys, Remap, RowStore};

/// How many changes go out in one batch.
const BATCH_ROWS: usize = 8192;
/// With fewer partitions without rows it is not worth its while to drop them.
const RETAIN_FROM: usize = 4096;

/// The rows of all partitions in order, and those that stood at the places asked for when the step began.
pub(super) struct Partitions {
    pub keys: Keys,
    pub order: Order,
    /// By partition.
    pub lists: Vec<Sorted>,
    /// When a partition was written.
    pub expiry: Expiry,
    /// The partitions that this step changes, in the order in which it came upon them.
    touched: Vec<u32>,
    /// Partitions by bit: whether they are among these.
    is_touched: Vec<bool>,
    /// For each of these, one after another, the entries that stood at the places.
    before: Vec<Entry>,
    /// Where in `before` those of each end.
    ends: Vec<usize>,
    /// Partitions without rows.
    empty: usize,
}

impl Partitions {
    pub fn try_new(plan: &TopN) -> Result<Self> {
        Ok(Self {
            keys: Keys::try_new(Arc::new(plan.input.project(&plan.partition)?))?,
            order: Order::new(Encoder::try_new(&plan.input, &plan.order)?),
            lists: Vec::new(),
            expiry: Expiry::new(plan.ttl),
            touched: Vec::new(),
            is_touched: Vec::new(),
            before: Vec::new(),
            ends: Vec::new(),
            empty: 0,
        })
    }

    /// The partition of each row of a batch, into `ids`.
    pub fn intern(&mut self, plan: &TopN, rows: &RecordBatch, ids: &mut Vec<u32>) -> Result<()> {
        let columns: Vec<ArrayRef> = plan.partition.iter().map(|c| Arc::clone(rows.column(*c))).collect();
        self.keys.intern(&columns, rows.num_rows(), ids)?;
        self.lists.resize_with(self.keys.len(), Sorted::default);
        self.is_touched.resize(self.keys.len(), false);
        Ok(())
    }

    /// Says that a partition is about to change.
    pub fn touch(&mut self, partition: u32, plan: &TopN, times: impl Fn(u32) -> u32) {
        if std::mem::replace(&mut self.is_touched[partition as usize], true) {
            return;
        }
        self.touched.push(partition);
        at_places(&self.lists[partition as usize], plan.range, times, &mut self.before);
        self.ends.push(self.before.len());
    }

    /// Ends the step: what changed at the places, partition by partition.
    pub fn changes(&mut self, plan: &TopN, times: impl Fn(u32) -> u32, now: i64) -> Changes {
        let mut changes = Changes::default();
        let mut after = Vec::new();
        let mut start = 0;
        for (partition, end) in self.touched.iter().zip(&self.ends) {
            let before = &self.before[start..*end];
            start = *end;
            after.clear();
            at_places(&self.lists[*partition as usize], plan.range, &times, &mut after);
            match plan.ranked {
                true => changes.ranked(plan.range.0, before, &after),
                false => changes.unranked(&self.order, before, &after, plan),
            }
            self.is_touched[*partition as usize] = false;
            self.empty += usize::from(self.lists[*partition as usize].is_empty());
        }
        self.expiry.touch(&self.touched, now);
        self.touched.clear();
        self.before.clear();
        self.ends.clear();
        changes
    }

    /// Follows rows to their new numbers.
    pub fn remap_rows(&mut self, remap: &Remap) {
        self.order.remap(remap);
        self.lists.iter_mut().for_each(|list| list.remap(remap));
    }

    /// The partitions that no row got into for so long that they are let go; the caller takes their rows out.
    pub fn expire(&mut self, now: i64) -> Vec<Sorted> {
        let expired = self.expiry.expired(now);
        self.release(&expired)
    }

    /// Empties some partitions, and gives what they held.
    pub fn release(&mut self, partitions: &[u32]) -> Vec<Sorted> {
        self.empty += partitions.len();
        partitions.iter().map(|partition| std::mem::take(&mut self.lists[*partition as usize])).collect()
    }

    /// Drops the partitions without rows once there are many, and says how the others are numbered then.
    pub fn tidy(&mut self) -> Result<Option<Remap>> {
        // Counted more than once where one was emptied more than once: then this comes sooner.
        if self.empty < RETAIN_FROM || self.empty * 2 < self.keys.len() {
            return Ok(None);
        }
        self.empty = 0;
        let remap = self.keys.retain(|partition| !self.lists[partition as usize].is_empty())?;
        remap.apply(&mut self.lists);
        self.lists.resize_with(self.keys.len(), Sorted::default);
        self.is_touched = vec![false; self.keys.len()];
        self.expiry.remap(&remap);
        Ok(Some(remap))
    }

    /// The times when the partitions of some rows were written; `None` where nothing expires.
    pub fn written(&mut self, plan: &TopN, rows: &RecordBatch) -> Result<Option<ArrayRef>> {
        if !self.expiry.is_on() {
            return Ok(None);
        }
        let mut ids = Vec::new();
        self.intern(plan, rows, &mut ids)?;
        Ok(Some(Arc::new(Int64Array::from_iter_values(ids.iter().map(|p| self.expiry.written(*p))))))
    }

    /// About how many bytes of memory they take.
    pub fn bytes(&self) -> usize {
        let lists = self.lists.capacity() * size_of::<Sorted>() + self.lists.iter().map(Sorted::bytes).sum::<usize>();
        self.keys.bytes() + self.order.bytes() + self.expiry.bytes() + lists + self.is_touched.capacity()
    }
}

/// The entries at a range of places, each with how many of the places it has.
fn at_places(list: &Sorted, (first, last): (u64, u64), times: impl Fn(u32) -> u32, into: &mut Vec<Entry>) {
    let mut place = 1u64;
    for entry in list.iter() {
        if place > last {
            break;
        }
        let next = place + u64::from(times(entry.row));
        let within = next.min(last.saturating_add(1)).saturating_sub(place.max(first));
        if within > 0 && next > first {
            into.push(Entry { times: within as u32, ..*entry });
        }
        place = next;
    }
}

/// The changes of a step, as numbers of rows.
#[derive(Default)]
pub(super) struct Changes {
    rows: Vec<u32>,
    kinds: Vec<RowKind>,
    /// The places; empty where they are not given.
    places: Vec<u64>,
    /// Whether a row may have taken the place of one that is equal in everything.
    doubtful: bool,
}

impl Changes {
    fn push(&mut self, entry: &Entry, kind: RowKind, times: u32) {
        for _ in 0..times {
            self.rows.push(entry.row);
            self.kinds.push(kind);
        }
    }

    /// All that stands at the places of a partition, as new.
    pub fn all(&mut self, list: &Sorted, plan: &TopN) {
        let mut entries = Vec::new();
        at_places(list, plan.range, |_| 1, &mut entries);
        match plan.ranked {
            true => self.ranked(plan.range.0, &[], &entries),
            false => entries.iter().for_each(|entry| self.push(entry, RowKind::Insert, 1)),
        }
    }

    /// What goes, then what comes.
    fn unranked(&mut self, order: &Order, before: &[Entry], after: &[Entry], plan: &TopN) {
        let update = plan.is_single() && !before.is_empty() && !after.is_empty();
        // Behind others that are left out, rows move up and down among their equals.
        self.doubtful |= plan.range.0 > 1 && !before.is_empty() && !after.is_empty();
        let (gone, come) = match update {
            true => (RowKind::UpdateBefore, RowKind::UpdateAfter),
            false => (RowKind::Delete, RowKind::Insert),
        };
        each_surplus(order, before, after, |entry, times| self.push(entry, gone, times));
        each_surplus(order, after, before, |entry, times| self.push(entry, come, times));
    }

    /// Each place that another row stands at.
    fn ranked(&mut self, first: u64, before: &[Entry], after: &[Entry]) {
        let (mut before, mut after) = (expanded(before), expanded(after));
        let mut place = first;
        loop {
            let (kinds, entries) = match (before.next(), after.next()) {
                (None, None) => return,
                (Some(old), Some(new)) if old.row == new.row => ([None, None], [old, new]),
                (Some(old), Some(new)) => {
                    self.doubtful |= old.head == new.head;
                    ([Some(RowKind::UpdateBefore), Some(RowKind::UpdateAfter)], [old, new])
                }
                (Some(old), None) => ([Some(RowKind::Delete), None], [old, old]),
                (None, Some(new)) => ([None, Some(RowKind::Insert)], [new, new]),
            };
            for (kind, entry) in kinds.into_iter().zip(entries) {
                if let Some(kind) = kind {
                    self.push(entry, kind, 1);
                    self.places.push(place);
                }
            }
            place += 1;
        }
    }

    /// Leaves out what goes and comes again as it was.
    fn settle(&mut self, plan: &TopN, store: &dyn RowStore, columns: &[usize]) -> Result<()> {
        let mut contents = Keys::try_new(Arc::new(plan.input.project(columns)?))?;
        let mut ids = Vec::new();
        contents.intern(&store.take_columns(columns, &self.rows)?, self.rows.len(), &mut ids)?;
        let change = |i: usize| (ids[i], self.places.get(i).copied());
        let mut left: HashMap<(u32, Option<u64>), (u32, u32)> = HashMap::new();
        for (i, kind) in self.kinds.iter().enumerate() {
            let (come, gone) = left.entry(change(i)).or_default();
            *(if kind.is_addition() { come } else { gone }) += 1;
        }
        left.values_mut().for_each(|(come, gone)| (*come, *gone) = (*come.min(gone), *come.min(gone)));
        let mut keep = |i: usize| {
            let Some((come, gone)) = left.get_mut(&change(i)) else { return true };
            let dropped = if self.kinds[i].is_addition() { come } else { gone };
            let keep = *dropped == 0;
            *dropped = dropped.saturating_sub(1);
            keep
        };
        let kept: Vec<usize> = (0..self.rows.len()).filter(|i| keep(*i)).collect();
        self.rows = kept.iter().map(|i| self.rows[*i]).collect();
        self.kinds = kept.iter().map(|i| self.kinds[*i]).collect();
        self.places = kept.iter().filter_map(|i| self.places.get(*i).copied()).collect();
        Ok(())
    }

    /// The changes as batches.
    pub fn emit(mut self, plan: &TopN, store: &dyn RowStore, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let columns: Vec<usize> = (0..plan.width()).collect();
        if self.doubtful {
            self.settle(plan, store, &columns)?;
        }
        for start in (0..self.rows.len()).step_by(BATCH_ROWS) {
            let end = self.rows.len().min(start + BATCH_ROWS);
            let mut taken = store.take_columns(&columns, &self.rows[start..end])?;
            if plan.ranked {
                let places: ArrayRef = Arc::new(UInt64Array::from_iter_values(self.places[start..end].iter().copied()));
                taken.push(cast(&places, plan.schema.field(plan.width()).data_type())?);
            }
            let kinds = &self.kinds[start..end];
            let kinds = kinds.iter().any(|k| *k != RowKind::Insert).then(|| kinds.into());
            let rows = RecordBatch::try_new(Arc::clone(&plan.schema), taken)?;
            out.push(ChangeBatch { rows, kinds, watermarks: None });
        }
        Ok(())
    }
}

fn expanded(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    entries.iter().flat_map(|entry| std::iter::repeat_n(entry, entry.times as usize))
}

/// Calls `f` for what is more often in `these` than in `those`, both in order, and how much more often.
fn each_surplus(order: &Order, these: &[Entry], those: &[Entry], mut f: impl FnMut(&Entry, u32)) {
    let mut those = those.iter().peekable();
    for entry in these {
        while those.next_if(|other| order.compare(other, entry) == Ordering::Less).is_some() {}
        let other = those.next_if(|other| other.row == entry.row).map_or(0, |o| o.times);
        if entry.times > other {
            f(entry, entry.times - other);
        }
    }
}
