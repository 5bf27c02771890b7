//! Windows over event time: where they begin and end, and the slices that they share.
//!
//! A *slice* is the longest span that no window cuts through: every window is a run of whole slices. Rows are gathered by
//! slice, once, however many windows overlap. The idea is Krishnamurthy et al., "On-the-fly sharing for streamed
//! aggregation" (SIGMOD 2006), there called paned and paired windows.

/// A window table function's windows. All times in milliseconds since the epoch, all spans in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WindowKind {
    /// `TUMBLE`: windows of one size, side by side.
    Tumble {
        /// How long a window is.
        size: i64,
    },
    /// `HOP`: windows of one size, one beginning every `slide`; with a size less than that, there are times between them.
    Hop {
        /// How long a window is.
        size: i64,
        /// How far apart windows begin.
        slide: i64,
    },
    /// `CUMULATE`: windows that begin together every `size` and end `step` apart; `size` is a multiple of `step`.
    Cumulate {
        /// How long the longest window is.
        size: i64,
        /// By how much a window is longer than the one before.
        step: i64,
    },
}

/// Windows and the offset that their beginnings are moved by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowSpec {
    /// The windows.
    pub kind: WindowKind,
    /// `OFFSET`: moves every window, in milliseconds; may be negative.
    pub offset: i64,
}

/// One window: from `start` (included) to `end` (excluded), in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    /// The first millisecond after it; first, so that windows order by when they close.
    pub end: i64,
    /// Its first millisecond.
    pub start: i64,
}

impl Window {
    /// Whether a watermark has closed it: its last millisecond is at or before the watermark.
    pub fn is_closed(&self, watermark: i64) -> bool {
        self.end - 1 <= watermark
    }
}

impl WindowSpec {
    /// The spec, unless a span is not positive or not the multiple that it must be.
    pub fn is_valid(&self) -> bool {
        let multiple = |whole: i64, part: i64| part > 0 && whole > 0 && whole % part == 0;
        match self.kind {
            WindowKind::Tumble { size } => size > 0,
            WindowKind::Hop { size, slide } => size > 0 && slide > 0,
            WindowKind::Cumulate { size, step } => multiple(size, step),
        }
    }

    /// How long the longest window is.
    pub fn size(&self) -> i64 {
        match self.kind {
            WindowKind::Tumble { size } | WindowKind::Hop { size, .. } | WindowKind::Cumulate { size, .. } => size,
        }
    }

    /// How long a slice is.
    pub fn slice(&self) -> i64 {
        match self.kind {
            WindowKind::Hop { size, slide } => divisor(size, slide),
            _ => self.step(),
        }
    }

    /// By how much windows that follow each other end apart.
    pub(super) fn step(&self) -> i64 {
        match self.kind {
            WindowKind::Tumble { size } => size,
            WindowKind::Hop { slide, .. } => slide,
            WindowKind::Cumulate { step, .. } => step,
        }
    }

    /// Where the slice that holds `time` begins.
    pub fn slice_start(&self, time: i64) -> i64 {
        align(time, self.slice(), self.offset)
    }

    /// The windows that hold a slice, by their end.
    pub fn windows(&self, slice_start: i64) -> impl Iterator<Item = Window> + use<> {
        let step = self.step();
        let (first, fixed) = match self.kind {
            WindowKind::Tumble { size } => {
                (Window { start: slice_start, end: slice_start.saturating_add(size) }, false)
            }
            WindowKind::Hop { size, slide } => {
                let earliest = slice_start.saturating_add(self.slice() - size);
                let start = align(earliest.saturating_add(slide - 1), slide, self.offset);
                (Window { start, end: start.saturating_add(size) }, false)
            }
            WindowKind::Cumulate { size, step } => {
                let start = align(slice_start, size, self.offset);
                (Window { start, end: slice_start.saturating_add(step) }, true)
            }
        };
        let last = self.last_end(slice_start).unwrap_or(i64::MIN);
        let count = if last < first.end { 0 } else { (last - first.end) / step + 1 };
        (0..count).map(move |i| Window {
            start: if fixed { first.start } else { first.start.saturating_add(i * step) },
            end: first.end + i * step,
        })
    }

    /// The window that holds a slice and ends first after `watermark`, if not all of them are closed.
    pub fn next_open(&self, slice_start: i64, watermark: i64) -> Option<Window> {
        let step = self.step();
        let first = self.windows(slice_start).next()?;
        if !first.is_closed(watermark) {
            return Some(first);
        }
        // Windows end a step apart: how many are closed follows from the first.
        let closed = watermark.saturating_add(1).saturating_sub(first.end) / step;
        let moved = closed.checked_add(1)?.checked_mul(step)?;
        let end = first.end.checked_add(moved)?;
        if end > self.last_end(slice_start)? {
            return None;
        }
        let start = if matches!(self.kind, WindowKind::Cumulate { .. }) { first.start } else { first.start + moved };
        Some(Window { start, end })
    }

    /// The end of the last window that holds a slice; `None` where none does.
    pub fn last_end(&self, slice_start: i64) -> Option<i64> {
        match self.kind {
            WindowKind::Tumble { size } => Some(slice_start.saturating_add(size)),
            WindowKind::Hop { size, slide } => {
                let end = align(slice_start, slide, self.offset).saturating_add(size);
                (slice_start < end).then_some(end)
            }
            WindowKind::Cumulate { size, .. } => Some(align(slice_start, size, self.offset).saturating_add(size)),
        }
    }
}

/// The greatest common divisor of two spans.
fn divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// The last multiple of `span`, moved by `offset`, at or before `time`.
fn align(time: i64, span: i64, offset: i64) -> i64 {
    time.saturating_sub(time.saturating_sub(offset).rem_euclid(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(kind: WindowKind, offset: i64, time: i64) -> Vec<(i64, i64)> {
        let spec = WindowSpec { kind, offset };
        spec.windows(spec.slice_start(time)).map(|w| (w.start, w.end)).collect()
    }

    #[test]
    fn windows_that_hold_a_time() {
        assert_eq!(all(WindowKind::Tumble { size: 10 }, 0, -1), [(-10, 0)]);
        assert_eq!(all(WindowKind::Tumble { size: 10 }, 3, 2), [(-7, 3)]);
        assert_eq!(all(WindowKind::Hop { size: 10, slide: 5 }, 0, 12), [(5, 15), (10, 20)]);
        assert_eq!(all(WindowKind::Hop { size: 10, slide: 5 }, -1, 4), [(-1, 9), (4, 14)]);
        assert_eq!(all(WindowKind::Hop { size: 10, slide: 4 }, 0, 12), [(4, 14), (8, 18), (12, 22)]);
        assert_eq!(all(WindowKind::Hop { size: 4, slide: 10 }, 0, 13), [(10, 14)]);
        assert_eq!(all(WindowKind::Hop { size: 4, slide: 10 }, 0, 14), []);
        assert_eq!(all(WindowKind::Cumulate { size: 15, step: 5 }, 0, 7), [(0, 10), (0, 15)]);
        assert_eq!(all(WindowKind::Cumulate { size: 15, step: 5 }, 0, 14), [(0, 15)]);
    }

    #[test]
    fn next_open_agrees_with_a_search() {
        for kind in [
            WindowKind::Tumble { size: 6 },
            WindowKind::Hop { size: 12, slide: 3 },
            WindowKind::Hop { size: 9, slide: 6 },
            WindowKind::Hop { size: 3, slide: 5 },
            WindowKind::Cumulate { size: 12, step: 4 },
        ] {
            for offset in [-5, 0, 2] {
                let spec = WindowSpec { kind, offset };
                for time in -20..20 {
                    let slice = spec.slice_start(time);
                    assert!(slice <= time && time < slice + spec.slice());
                    assert_eq!(spec.last_end(slice), spec.windows(slice).last().map(|w| w.end));
                    assert!(spec.windows(slice).all(|w| w.start <= time && time < w.end));
                    for watermark in -40..60 {
                        let searched = spec.windows(slice).find(|w| !w.is_closed(watermark));
                        assert_eq!(spec.next_open(slice, watermark), searched, "{spec:?} {slice} {watermark}");
                    }
                }
            }
        }
    }
}
