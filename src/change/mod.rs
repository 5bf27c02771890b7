//! The vocabulary that all rooms share: changes, row kinds, watermarks, time.

mod batch;
mod clock;
mod folded;
mod time;

pub use batch::{ChangeBatch, RowKind, RowKinds, array_bytes, take_rows};
pub use clock::{Clock, ManualClock, Sleeper, StepClock, SystemClock};
pub use folded::Folded;
pub use time::{TimeSpan, WallClock, Watermark, rowtime_millis};
