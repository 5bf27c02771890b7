//! Where the tasks of sources, sinks and checkpoints run, and how the driver waits for them.

use std::sync::Arc;

use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What runs a job's tasks.
#[derive(Debug, Clone)]
pub(super) struct Tasks {
    handle: Handle,
    /// A runtime without threads, whose tasks go on only while somebody waits in it.
    own: Option<Arc<Runtime>>,
}

impl Tasks {
    /// Tasks run in a runtime's threads.
    pub fn beside(handle: &Handle) -> Self {
        Self { handle: handle.clone(), own: None }
    }

    /// Tasks run in the driver's thread, while it waits.
    pub fn within(runtime: Arc<Runtime>) -> Self {
        Self { handle: runtime.handle().clone(), own: Some(runtime) }
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        #[allow(clippy::disallowed_methods, reason = "tasks belong to this room")]
        self.handle.spawn(task)
    }

    /// Waits, outside of asynchronous code.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        match &self.own {
            Some(runtime) => runtime.block_on(future),
            None => self.handle.block_on(future),
        }
    }

    /// Puts something into a queue, waiting for room; false when nobody takes it any more.
    pub fn send<T>(&self, queue: &mpsc::Sender<T>, value: T) -> bool {
        match queue.try_send(value) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(value)) => self.block_on(queue.send(value)).is_ok(),
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

/// A task that ends with its owner.
#[derive(Debug)]
pub(super) struct AbortOnDrop(pub JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
