//! The partitions of sources: which of them the watermark waits for. A source may find more of them while it reads.

use std::time::Duration;

use super::executor::StepPartitions;
use crate::connector::FromPartition;

/// By source how each of its partitions stands.
#[derive(Debug, Default)]
pub(super) struct Partitions(Vec<Vec<Part>>);

#[derive(Debug, Clone, Copy)]
struct Part {
    /// When it last brought rows, by the clock.
    last_rows: i64,
    is_idle: bool,
    ended: bool,
}

impl Part {
    fn at(now: i64) -> Self {
        Self { last_rows: now, is_idle: false, ended: false }
    }
}

impl Partitions {
    /// Of sources that read so many each, at the time `now`.
    pub fn new(counts: impl Iterator<Item = usize>, now: i64) -> Self {
        Self(counts.map(|count| vec![Part::at(now); count]).collect())
    }

    /// Notes that a batch came; true when its partition ends with it.
    pub fn note(&mut self, source: usize, from: FromPartition, rows: usize, now: i64) -> bool {
        let Some(parts) = self.0.get_mut(source) else { return false };
        if parts.len() <= from.partition {
            parts.resize(from.partition + 1, Part::at(now));
        }
        let several = parts.len() > 1;
        let part = &mut parts[from.partition];
        if rows > 0 {
            (part.last_rows, part.is_idle) = (now, false);
        }
        let ends = from.ended && !part.ended;
        part.ended |= from.ended;
        ends && several
    }

    /// Takes note that a source was not asked for rows.
    pub fn wait(&mut self, source: usize, now: i64) {
        self.0.get_mut(source).into_iter().flatten().for_each(|part| part.last_rows = now);
    }

    /// Marks the partitions of a source idle that have brought nothing for that long; true when there is a new one.
    pub fn fall_idle(&mut self, source: usize, timeout: Option<Duration>, now: i64) -> bool {
        let Some(timeout) = timeout else { return false };
        let mut fell = false;
        // Where there is one, it falls idle with its source.
        let several = self.0.get_mut(source).filter(|parts| parts.len() > 1);
        for part in several.into_iter().flatten().filter(|p| !p.ended && !p.is_idle) {
            part.is_idle = now.saturating_sub(part.last_rows) as u128 >= timeout.as_millis();
            fell |= part.is_idle;
        }
        fell
    }

    /// What a step is told of a source whose batches came from these partitions.
    pub fn of_step(&self, source: usize, of_batches: Vec<usize>) -> StepPartitions {
        let parts = self.0.get(source).filter(|parts| parts.len() > 1).map(Vec::as_slice).unwrap_or_default();
        StepPartitions { of_batches, holds: parts.iter().map(|p| !p.ended && !p.is_idle).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_that_end_or_fall_idle_are_not_waited_for() {
        let mut partitions = Partitions::new([1, 3].into_iter(), 100);
        let timeout = Some(Duration::from_millis(10));
        assert!(partitions.of_step(0, vec![0]).holds.is_empty());
        assert!(!partitions.note(1, FromPartition { partition: 2, ended: false }, 5, 105));
        assert!(!partitions.fall_idle(1, timeout, 109));
        assert!(partitions.fall_idle(1, timeout, 112) && !partitions.fall_idle(1, timeout, 112));
        assert_eq!(
            partitions.of_step(1, vec![2]),
            StepPartitions { of_batches: vec![2], holds: vec![false, false, true] }
        );
        assert!(!partitions.note(1, FromPartition { partition: 0, ended: false }, 1, 113));
        assert!(partitions.note(1, FromPartition { partition: 2, ended: true }, 0, 113));
        assert_eq!(partitions.of_step(1, vec![]).holds, [true, false, false]);
        partitions.wait(1, 500);
        assert!(!partitions.fall_idle(1, timeout, 505) && !partitions.fall_idle(1, None, 900));
    }

    #[test]
    fn a_source_may_find_more_of_them() {
        let mut partitions = Partitions::new([1].into_iter(), 100);
        assert!(!partitions.note(0, FromPartition { partition: 0, ended: true }, 0, 101));
        assert!(partitions.of_step(0, vec![0]).holds.is_empty());
        assert!(!partitions.note(0, FromPartition { partition: 2, ended: false }, 0, 102));
        assert_eq!(partitions.of_step(0, vec![]).holds, [false, true, true]);
    }
}
