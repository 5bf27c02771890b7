//! Frames that end with the current row.

/// Which rows a function sees: those before the current one as far as the frame reaches back, and the current one; under
/// RANGE also the rows of the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// `ROWS BETWEEN n PRECEDING AND CURRENT ROW`; `None` for UNBOUNDED PRECEDING.
    Rows(Option<u64>),
    /// `RANGE BETWEEN INTERVAL … PRECEDING AND CURRENT ROW`, in milliseconds; `None` for UNBOUNDED PRECEDING.
    Range(Option<i64>),
    /// The rows of the last so many milliseconds of processing time that came before the current one, and that one.
    Recent(i64),
}

impl Frame {
    /// Whether it begins with the first row there ever was.
    pub fn is_unbounded(self) -> bool {
        matches!(self, Frame::Rows(None) | Frame::Range(None))
    }

    /// Whether rows of one time see each other.
    pub fn has_peers(self) -> bool {
        matches!(self, Frame::Range(_))
    }
}

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Frame::Rows(None) => f.write_str("ROWS UNBOUNDED PRECEDING"),
            Frame::Rows(Some(n)) => write!(f, "ROWS {n} PRECEDING"),
            Frame::Range(None) => f.write_str("RANGE UNBOUNDED PRECEDING"),
            Frame::Recent(ms) | Frame::Range(Some(ms)) => write!(f, "RANGE {ms} ms PRECEDING"),
        }
    }
}
