//! Letting partitions go.

use super::aggregate::{COMPACT_FROM, Over, OverTime};
use crate::Result;

impl Over {
    /// Lets go of what no row has touched for the time to live; rows that wait go on waiting.
    pub(super) fn expire(&mut self) {
        for key in self.expiry.expired(self.now) {
            self.clear(key);
        }
    }

    fn clear(&mut self, key: u32) {
        if let Some(partition) = self.partitions.get_mut(key as usize) {
            partition.clear().for_each(|id| self.evaluator.history().remove(id));
        }
    }

    /// Notes when partitions had their last row, where that bounds how long they matter.
    pub(super) fn note_idle(&mut self, keys: &[u32], times: &[i64]) {
        if self.reach.is_none() {
            return;
        }
        for (key, time) in keys.iter().zip(times) {
            if self.partitions[*key as usize].last == Some(*time) {
                self.idle.entry(*time).or_default().push(*key);
            }
        }
    }

    /// Lets a partition go whose last row no frame of a row behind `mark` can reach, as Flink's does: a late row of it finds
    /// nothing then.
    pub(super) fn forget_idle(&mut self, key: u32, mark: i64) {
        let Some(reach) = self.reach else { return };
        if self.partitions[key as usize].last.is_some_and(|last| is_past(last, reach, mark)) {
            self.clear(key);
        }
    }

    /// Lets all such partitions go, at the end of a step.
    pub(super) fn forget_all_idle(&mut self) {
        let Some(reach) = self.reach else { return };
        let mark = if self.plan.time == OverTime::Arrival { self.now } else { self.fired };
        while let Some(entry) = self.idle.first_entry()
            && is_past(*entry.key(), reach, mark)
        {
            let (time, keys) = entry.remove_entry();
            for key in keys {
                if self.partitions[key as usize].last == Some(time) {
                    self.clear(key);
                }
            }
        }
    }

    /// Gives up the numbers of dead partitions, when most are.
    pub(super) fn drop_dead(&mut self) -> Result<()> {
        if self.partitions.len() < self.look_from {
            return Ok(());
        }
        let live = self.partitions.iter().filter(|p| p.is_live()).count();
        self.look_from = COMPACT_FROM.max(self.partitions.len() * 2);
        if live * 2 > self.partitions.len() {
            return Ok(());
        }
        let remap = self.keys.retain(|key| self.partitions[key as usize].is_live())?;
        remap.apply(&mut self.partitions);
        self.queue.remap_keys(&remap);
        self.expiry.remap(&remap);
        for keys in self.idle.values_mut() {
            *keys = keys.iter().filter_map(|key| remap.get(*key)).collect();
        }
        self.look_from = COMPACT_FROM.max(live * 2);
        Ok(())
    }
}

/// Whether a watermark has passed all rows whose frames reach a time.
fn is_past(last: i64, reach: i64, mark: i64) -> bool {
    last.saturating_add(reach) < mark
}
