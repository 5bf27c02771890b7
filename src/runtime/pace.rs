//! Sources that keep pace with each other: which of them waits because it is ahead.

use super::circuit::{Circuit, SourceSpec};
use super::executor::SourceState;
use crate::Result;
use crate::change::Watermark;
use crate::table::{Alignment, WatermarkOptions};

/// How many rows of a source that keeps pace go into one step at most: it can be ahead by so many more.
pub(super) const PACED_ROWS: usize = 4096;

/// By source: the group that it keeps pace with, if any.
#[derive(Debug, Default)]
pub(super) struct Pace(Vec<Option<Alignment>>);

impl Pace {
    /// What the tables' options say. A source without a watermark keeps no pace.
    pub fn of(circuit: &Circuit) -> Result<Self> {
        let alignment = |spec: &SourceSpec| {
            let alignment = WatermarkOptions::read(&spec.table.options)?.alignment;
            Ok(alignment.filter(|_| spec.watermark.is_some()))
        };
        circuit.sources.iter().map(alignment).collect::<Result<_>>().map(Self)
    }

    /// Whether a source has others to keep pace with.
    pub fn is_paced(&self, source: usize) -> bool {
        let group = |i: usize| self.0.get(i).and_then(|a| a.as_ref()).map(|a| &a.group);
        group(source).is_some_and(|own| (0..self.0.len()).any(|i| i != source && group(i) == Some(own)))
    }

    /// Whether a source must wait: its watermark is ahead of the least in its group by more than it may. Sources that are idle
    /// or have ended hold nobody back; the one that is furthest behind never waits.
    pub fn waits(&self, source: usize, states: &[SourceState], watermark: impl Fn(usize) -> Watermark) -> bool {
        let Some(Alignment { group, max_drift }) = self.0.get(source).and_then(|a| a.as_ref()) else { return false };
        let own = watermark(source);
        let others = self.0.iter().enumerate().filter(|(i, a)| {
            *i != source && states[*i] == SourceState::Active && a.as_ref().is_some_and(|a| a.group == *group)
        });
        let least = others.map(|(i, _)| watermark(i)).min();
        least.is_some_and(|least| own.0 > least.0.saturating_add(*max_drift))
    }
}

#[cfg(test)]
mod tests {
    use super::SourceState::{Active, Ended, Idle};
    use super::*;

    #[test]
    fn who_is_ahead_waits_for_those_who_bring_rows() {
        let of = |group: &str, max_drift| Some(Alignment { group: group.into(), max_drift });
        let pace = Pace(vec![of("a", 10), of("a", 50), None, of("b", 10)]);
        let waits = |states: [SourceState; 4], marks: [i64; 4]| -> Vec<bool> {
            (0..4).map(|source| pace.waits(source, &states, |i| Watermark(marks[i]))).collect()
        };
        assert_eq!(waits([Active; 4], [111, 100, 900, 900]), [true, false, false, false]);
        assert_eq!(waits([Active; 4], [110, 100, 900, 900]), [false; 4]);
        assert_eq!(waits([Active; 4], [100, 151, 0, 0]), [false, true, false, false]);
        // Nothing has come of the other yet.
        assert_eq!(waits([Active; 4], [1, i64::MIN, 0, 0]), [true, false, false, false]);
        for gone in [Idle, Ended] {
            assert_eq!(waits([Active, gone, Active, Active], [900, 100, 0, 0]), [false; 4]);
        }
        assert_eq!((0..4).map(|s| pace.is_paced(s)).collect::<Vec<_>>(), [true, true, false, false]);
    }

    /// Whatever the watermarks are, one of those that bring rows goes on.
    #[test]
    fn somebody_goes_on() {
        let of = |max_drift| Some(Alignment { group: "a".into(), max_drift });
        let marks = [i64::MIN, -5, 0, 5, i64::MAX];
        let pace = Pace(vec![of(0), of(1), of(7)]);
        for (a, b, c) in triples(&marks) {
            let all = [a, b, c];
            let waiting = (0..3).filter(|s| pace.waits(*s, &[Active; 3], |i| Watermark(all[i]))).count();
            assert!(waiting < 3, "{all:?}");
        }
    }

    fn triples(marks: &[i64]) -> Vec<(i64, i64, i64)> {
        let pairs = marks.iter().flat_map(|a| marks.iter().map(move |b| (*a, *b)));
        pairs.flat_map(|(a, b)| marks.iter().map(move |c| (a, b, *c))).collect()
    }
}
