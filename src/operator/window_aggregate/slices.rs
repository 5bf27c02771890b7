//! The slices of a windowed aggregate: partial aggregates by slice, and the windows that they make up.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};

use super::{int64, slice_schema};
use crate::Result;
use crate::operator::grouped::{Grouped, Grouping};
use crate::operator::window::{Window, WindowKind, WindowSpec};

/// How many frozen parts a slice may have.
const FROZEN_PARTS: usize = 4;

/// Partial aggregates by slice. Without a window specification each slice is a window of its own.
pub(super) struct Slices {
    grouping: Arc<Grouping>,
    spec: Option<WindowSpec>,
    slices: BTreeMap<Window, Slice>,
    /// The watermark up to which windows have gone out.
    fired: i64,
}

/// One slice: partial aggregates that are still added to, and frozen ones that are shared by windows and snapshots.
#[derive(Default)]
struct Slice {
    live: Option<Grouped>,
    frozen: Vec<RecordBatch>,
}

impl Slice {
    fn freeze(&mut self, grouping: &Arc<Grouping>) -> Result<()> {
        if let Some(live) = self.live.take() {
            self.frozen.push(live.freeze()?);
        }
        // A key stands in each part that it was frozen in: many snapshots of one slice must not make its state grow.
        if self.frozen.len() > FROZEN_PARTS {
            let mut merged = Grouped::try_new(grouping)?;
            self.merge_into(&mut merged)?;
            self.frozen = vec![merged.freeze()?];
        }
        Ok(())
    }

    fn merge_into(&self, target: &mut Grouped) -> Result<()> {
        self.frozen.iter().try_for_each(|partial| target.merge(partial))
    }
}

impl Slices {
    pub fn new(grouping: Arc<Grouping>, spec: Option<WindowSpec>) -> Self {
        Self { grouping, spec, slices: BTreeMap::new(), fired: i64::MIN }
    }

    pub fn grouping(&self) -> &Arc<Grouping> {
        &self.grouping
    }

    pub fn fired(&self) -> i64 {
        self.fired
    }

    pub fn set_fired(&mut self, watermark: i64) {
        self.fired = watermark;
    }

    /// The running aggregates of a slice.
    pub fn live(&mut self, slice: Window) -> Result<&mut Grouped> {
        let slot = &mut self.slices.entry(slice).or_default().live;
        match slot {
            Some(grouped) => Ok(grouped),
            None => Ok(slot.insert(Grouped::try_new(&self.grouping)?)),
        }
    }

    /// Whether all windows of a slice have gone out.
    pub fn is_closed(&self, slice: Window) -> bool {
        self.is_late(slice, i64::MIN)
    }

    /// Whether all windows of a slice are closed for a row that comes when the watermark stands at `watermark`.
    pub fn is_late(&self, slice: Window, watermark: i64) -> bool {
        let last = self.spec.map_or(Some(slice.end), |s| s.last_end(slice.start));
        last.is_some_and(|end| Window { start: slice.start, end }.is_closed(watermark.max(self.fired)))
    }

    /// Whether a row of this slice closes some of its windows but not all, by its watermark, that have not gone out yet.
    pub fn must_fire_before(&self, slice: Window, watermark: i64) -> bool {
        let Some(spec) = self.spec else { return false };
        if watermark <= self.fired || self.is_late(slice, watermark) {
            return false;
        }
        spec.next_open(slice.start, self.fired).is_some_and(|w| w.is_closed(watermark))
    }

    /// Takes the next window that `watermark` closes, with its groups.
    pub fn next_closed(&mut self, watermark: i64) -> Result<Option<(Window, Grouped)>> {
        while let Some((first, _)) = self.slices.first_key_value() {
            let first = *first;
            let window = match self.spec {
                None => Some(first),
                Some(spec) => spec.next_open(first.start, self.fired),
            };
            match window {
                // Its windows have all gone out already, or it lies between two.
                None => drop(self.slices.remove(&first)),
                Some(window) if window.is_closed(watermark) => {
                    let grouped = self.close(window)?;
                    return Ok(Some((window, grouped)));
                }
                Some(_) => break,
            }
        }
        self.fired = self.fired.max(watermark);
        Ok(None)
    }

    /// When the first of the open windows ends that have rows.
    pub fn next_end(&self) -> Option<i64> {
        let mut slices = self.slices.keys();
        match self.spec {
            None => slices.next().map(|slice| slice.end),
            Some(spec) => slices.find_map(|slice| spec.next_open(slice.start, self.fired)).map(|window| window.end),
        }
    }

    fn close(&mut self, window: Window) -> Result<Grouped> {
        match self.spec.map(|s| s.kind) {
            None | Some(WindowKind::Tumble { .. }) => self.close_single(window),
            Some(WindowKind::Hop { slide, .. }) => {
                self.fired = window.end - 1;
                self.close_hop(window, window.start.saturating_add(slide))
            }
            Some(WindowKind::Cumulate { .. }) => {
                self.fired = window.end - 1;
                self.close_cumulate(window)
            }
        }
    }

    /// A window of one slice, which no other window needs.
    fn close_single(&mut self, window: Window) -> Result<Grouped> {
        let slice = self.slices.remove(&window).unwrap_or_default();
        let mut grouped = match slice.live {
            Some(live) => live,
            None => Grouped::try_new(&self.grouping)?,
        };
        slice.frozen.iter().try_for_each(|partial| grouped.merge(partial))?;
        Ok(grouped)
    }

    /// A window of several slices, of which those before the next window are needed no more.
    fn close_hop(&mut self, window: Window, next: i64) -> Result<Grouped> {
        let mut grouped = Grouped::try_new(&self.grouping)?;
        for slice in self.within(window) {
            if let Some(s) = self.slices.get_mut(&slice) {
                s.freeze(&self.grouping)?;
                s.merge_into(&mut grouped)?;
            }
            if slice.start < next {
                self.slices.remove(&slice);
            }
        }
        Ok(grouped)
    }

    /// A window that begins where its longer successors begin: its slices become one, so that each row is merged twice
    /// and not once for each successor.
    fn close_cumulate(&mut self, window: Window) -> Result<Grouped> {
        let mut grouped = Grouped::try_new(&self.grouping)?;
        for slice in self.within(window) {
            if let Some(mut s) = self.slices.remove(&slice) {
                s.freeze(&self.grouping)?;
                s.merge_into(&mut grouped)?;
            }
        }
        let is_last = self.spec.is_none_or(|s| s.last_end(window.start) == Some(window.end));
        if is_last {
            return Ok(grouped);
        }
        let partial = grouped.freeze()?;
        let mut again = Grouped::try_new(&self.grouping)?;
        again.merge(&partial)?;
        let first = self.spec.map_or(window.end, |s| window.start.saturating_add(s.slice()));
        let key = Window { start: window.start, end: first };
        self.slices.entry(key).or_default().frozen.push(partial);
        Ok(again)
    }

    /// The slices that a window is made of.
    fn within(&self, window: Window) -> Vec<Window> {
        let after = Window { end: window.start, start: i64::MAX };
        let last = Window { end: window.end, start: i64::MAX };
        self.slices
            .range((std::ops::Bound::Excluded(after), std::ops::Bound::Included(last)))
            .map(|(w, _)| *w)
            .collect()
    }

    /// All state as rows, a chunk for each frozen part; what was live goes on as frozen.
    pub fn freeze(&mut self) -> Result<Vec<RecordBatch>> {
        let schema = slice_schema(&self.grouping.partial);
        let mut chunks = Vec::new();
        for (window, slice) in &mut self.slices {
            slice.freeze(&self.grouping)?;
            for partial in &slice.frozen {
                let rows = partial.num_rows();
                let bound = |v: i64| Arc::new(Int64Array::from(vec![v; rows])) as ArrayRef;
                let columns = [bound(window.start), bound(window.end)].into_iter();
                let columns = columns.chain(partial.columns().iter().cloned()).collect();
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                chunks.push(RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?);
            }
        }
        Ok(chunks)
    }

    /// Takes over rows of [`Slices::freeze`].
    pub fn thaw(&mut self, rows: &RecordBatch) -> Result<()> {
        let (starts, ends) = (int64(rows.column(0))?, int64(rows.column(1))?);
        let partial = rows.project(&(2..rows.num_columns()).collect::<Vec<_>>())?;
        let mut from = 0;
        for row in 0..rows.num_rows() {
            let last = row + 1 == rows.num_rows();
            if last || starts.value(row + 1) != starts.value(from) || ends.value(row + 1) != ends.value(from) {
                let slice = Window { start: starts.value(from), end: ends.value(from) };
                let chunk = partial.slice(from, row + 1 - from);
                let chunk = RecordBatch::try_new_with_options(
                    Arc::clone(&self.grouping.partial),
                    chunk.columns().to_vec(),
                    &RecordBatchOptions::new().with_row_count(Some(chunk.num_rows())),
                )?;
                self.slices.entry(slice).or_default().frozen.push(chunk);
                from = row + 1;
            }
        }
        Ok(())
    }

    /// Rows and bytes of state.
    pub fn size(&self) -> (u64, u64) {
        self.slices.values().fold((0, 0), |(rows, bytes), slice| {
            let live = slice.live.as_ref().map_or((0, 0), |g| (g.len(), g.bytes()));
            let frozen = slice.frozen.iter().map(|b| (b.num_rows(), b.get_array_memory_size()));
            let (r, b) = frozen.fold(live, |(r, b), (fr, fb)| (r + fr, b + fb));
            (rows + r as u64, bytes + b as u64)
        })
    }
}
