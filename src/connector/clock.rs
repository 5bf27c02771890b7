//! The wall clock, for connectors that hand out times: read in one place, and replaceable.

use std::sync::Arc;

/// Gives the present time in milliseconds since the epoch.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The operating system's clock.
pub fn system() -> Clock {
    Arc::new(system_millis)
}

#[allow(clippy::disallowed_methods, reason = "the one place where connectors read the wall clock")]
fn system_millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
