//! Windows over event time: where they begin and end.

/// A window table function's windows. All times in milliseconds since the epoch, all spans in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WindowKind {
    /// `TUMBLE`: windows of one size, side by side.
    Tumble {
        /// How long a window is.
        size: i64,
    },
    /// `HOP`: windows of one size, one beginning every `slide`; `size` is a multiple of `slide`.
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
