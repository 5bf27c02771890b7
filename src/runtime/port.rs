//! Where batches come in: the driver's side of a source.

use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::connector::{Source, SourceBatch, SourceProgress};
use crate::{Error, Result};

/// How many batches wait for the driver at most; then the source is not asked for more.
const QUEUED_BATCHES: usize = 8;

/// What a port has for the driver.
pub(super) enum Arrival {
    /// A batch, and how far the source is.
    Batch(SourceBatch, SourceProgress),
    /// The source has ended.
    End,
}

/// The driver's side of a source.
pub(super) enum Port {
    /// The source reads in a task of its own.
    Task { queue: mpsc::Receiver<Result<Arrival>>, task: JoinHandle<()> },
    /// The source only waits for another thread: the driver waits for it itself.
    Direct(Box<dyn Source>),
    /// There is nothing more to come.
    Closed,
}

impl Port {
    pub fn open(source: Box<dyn Source>, table: &str, runtime: &Handle) -> Self {
        if source.is_passive() {
            return Port::Direct(source);
        }
        let (sender, queue) = mpsc::channel(QUEUED_BATCHES);
        #[allow(clippy::disallowed_methods, reason = "tasks belong to this room")]
        let task = runtime.spawn(read(source, table.to_string(), sender));
        Port::Task { queue, task }
    }

    /// What has arrived; wakes `context` when there is something later.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival>> {
        let arrival = match self {
            Port::Closed => return Poll::Pending,
            Port::Task { queue, .. } => match std::task::ready!(queue.poll_recv(context)) {
                Some(arrival) => arrival,
                None => Err(Error::internal("a source's task is gone; has its runtime been shut down?")),
            },
            Port::Direct(source) => {
                let next = source.next().poll_unpin(context);
                match std::task::ready!(next) {
                    Ok(Some(batch)) => Ok(Arrival::Batch(batch, source.progress())),
                    Ok(None) => Ok(Arrival::End),
                    Err(e) => Err(e),
                }
            }
        };
        if !matches!(arrival, Ok(Arrival::Batch(..))) {
            self.close();
        }
        Poll::Ready(arrival)
    }

    /// Stops reading; what is queued is still to be had.
    pub fn stop_reading(&mut self) {
        match self {
            Port::Task { task, .. } => task.abort(),
            Port::Direct(_) | Port::Closed => {}
        }
    }

    /// What is still queued after [`Port::stop_reading`].
    pub fn drain(&mut self) -> Vec<(SourceBatch, SourceProgress)> {
        let mut left = Vec::new();
        if let Port::Task { queue, .. } = self {
            while let Ok(Ok(Arrival::Batch(batch, progress))) = queue.try_recv() {
                left.push((batch, progress));
            }
        }
        if let Port::Direct(source) = self {
            let mut context = Context::from_waker(std::task::Waker::noop());
            while let Poll::Ready(Ok(Some(batch))) = source.next().poll_unpin(&mut context) {
                left.push((batch, SourceProgress::default()));
            }
        }
        self.close();
        left
    }

    pub fn is_closed(&self) -> bool {
        matches!(self, Port::Closed)
    }

    fn close(&mut self) {
        self.stop_reading();
        *self = Port::Closed;
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop_reading();
    }
}

async fn read(mut source: Box<dyn Source>, table: String, queue: mpsc::Sender<Result<Arrival>>) {
    loop {
        let next = AssertUnwindSafe(source.next()).catch_unwind().await;
        let arrival = match next {
            Ok(Ok(Some(batch))) => Ok(Arrival::Batch(batch, source.progress())),
            Ok(Ok(None)) => Ok(Arrival::End),
            Ok(Err(e)) => Err(e),
            Err(panic) => Err(Error::panic(format!("the source of table '{table}'"), panic.as_ref())),
        };
        let more = matches!(arrival, Ok(Arrival::Batch(..)));
        if queue.send(arrival).await.is_err() || !more {
            return;
        }
    }
}
