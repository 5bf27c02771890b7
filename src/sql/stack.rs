//! Planning on a stack of known size.

use crate::{Error, Result};

/// Enough for expressions as deep as [`super::refuse::MAX_DEPTH`], with room for unoptimized builds.
const STACK_BYTES: usize = 64 << 20;

/// Runs a computation on a thread of its own with a large stack, and waits for it. A panic in it becomes an error.
///
/// # Errors
/// The computation's own; [`Error::Panic`]; [`Error::Io`] when no thread can be had.
pub(crate) fn with_large_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("millstream-planning".into())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|e| Error::io("starting a thread for planning", e))?;
        thread.join().unwrap_or_else(|panic| Err(Error::panic("planning", panic.as_ref())))
    })
}
