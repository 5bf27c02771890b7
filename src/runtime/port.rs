//! Where batches come in: the driver's side of a source.

use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::change::RowKind;
use crate::connector::{FromPartition, Source, SourceBatch, SourceProgress};
use crate::{Error, Result};

/// How many batches wait for the driver at most; then the source is not asked for more.
const QUEUED_BATCHES: usize = 8;

/// What a port has for the driver.
pub(super) enum Arrival {
    /// A batch, where it came from, and how far the source is.
    Batch(SourceBatch, Told),
    /// The source has ended.
    End,
}

/// What a source tells of itself after a batch.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    pub from: FromPartition,
    pub progress: SourceProgress,
}

impl Told {
    fn by(source: &dyn Source) -> Self {
        Self { from: source.last_partition(), progress: source.progress() }
    }
}

/// The driver's side of a source.
pub(super) struct Port {
    intake: Intake,
    /// What a step left over of a batch that was too large for it.
    rest: Option<(SourceBatch, Told)>,
    /// How many partitions the source reads.
    pub partitions: usize,
}

/// Where batches come from.
enum Intake {
    /// The source reads in a task of its own.
    Task { queue: mpsc::Receiver<Result<Arrival>>, task: JoinHandle<()> },
    /// The source only waits for another thread: the driver waits for it itself.
    Direct(Box<dyn Source>),
    /// There is nothing more to come.
    Closed,
}

impl Port {
    pub fn open(source: Box<dyn Source>, table: &str, runtime: &Handle) -> Self {
        let partitions = source.partitions().max(1);
        if source.is_passive() {
            return Port { intake: Intake::Direct(source), rest: None, partitions };
        }
        let (sender, queue) = mpsc::channel(QUEUED_BATCHES);
        #[allow(clippy::disallowed_methods, reason = "tasks belong to this room")]
        let task = runtime.spawn(read(source, table.to_string(), sender));
        Port { intake: Intake::Task { queue, task }, rest: None, partitions }
    }

    /// What has arrived, `rows` of it at most; wakes `context` when there is something later. The two rows of an update stay
    /// together, even where that makes one too many.
    pub fn poll(&mut self, context: &mut Context<'_>, rows: usize) -> Poll<Result<Arrival>> {
        let arrival = match self.rest.take() {
            Some((batch, told)) => Ok(Arrival::Batch(batch, told)),
            None => std::task::ready!(self.poll_intake(context)),
        };
        Poll::Ready(arrival.map(|arrival| match arrival {
            Arrival::Batch(batch, mut told) => {
                let (batch, rest) = cut(batch, rows);
                self.rest = rest.map(|rest| (rest, told));
                // A partition ends with the last piece.
                told.from.ended &= self.rest.is_none();
                Arrival::Batch(batch, told)
            }
            Arrival::End => Arrival::End,
        }))
    }

    fn poll_intake(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival>> {
        let arrival = match &mut self.intake {
            Intake::Closed => return Poll::Pending,
            Intake::Task { queue, .. } => match std::task::ready!(queue.poll_recv(context)) {
                Some(arrival) => arrival,
                None => Err(Error::internal("a source's task is gone; has its runtime been shut down?")),
            },
            Intake::Direct(source) => {
                let next = source.next().poll_unpin(context);
                match std::task::ready!(next) {
                    Ok(Some(batch)) => Ok(Arrival::Batch(batch, Told::by(source.as_ref()))),
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
        match &self.intake {
            Intake::Task { task, .. } => task.abort(),
            Intake::Direct(_) | Intake::Closed => {}
        }
    }

    /// What is still queued after [`Port::stop_reading`].
    pub fn drain(&mut self) -> Vec<(SourceBatch, Told)> {
        let mut left = Vec::from_iter(self.rest.take());
        if let Intake::Task { queue, .. } = &mut self.intake {
            while let Ok(Ok(Arrival::Batch(batch, told))) = queue.try_recv() {
                left.push((batch, told));
            }
        }
        if let Intake::Direct(source) = &mut self.intake {
            let mut context = Context::from_waker(std::task::Waker::noop());
            loop {
                let next = source.next().poll_unpin(&mut context);
                let Poll::Ready(Ok(Some(batch))) = next else { break };
                left.push((batch, Told::by(source.as_ref())));
            }
        }
        self.close();
        left
    }

    pub fn is_closed(&self) -> bool {
        self.rest.is_none() && matches!(self.intake, Intake::Closed)
    }

    fn close(&mut self) {
        self.stop_reading();
        self.intake = Intake::Closed;
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop_reading();
    }
}

/// The first `rows` rows of a batch, and what is left of it. The two rows of an update are not parted.
fn cut(batch: SourceBatch, rows: usize) -> (SourceBatch, Option<SourceBatch>) {
    let SourceBatch { changes, bytes } = batch;
    let total = changes.num_rows();
    let mut first = rows.max(1);
    let parts_update =
        |at: usize| changes.kind(at - 1) == RowKind::UpdateBefore && changes.kind(at) == RowKind::UpdateAfter;
    if first < total && parts_update(first) {
        first += 1;
    }
    if first >= total {
        return (SourceBatch { changes, bytes }, None);
    }
    let rest = SourceBatch { changes: changes.slice(first, total - first), bytes: 0 };
    (SourceBatch { changes: changes.slice(0, first), bytes }, Some(rest))
}

async fn read(mut source: Box<dyn Source>, table: String, queue: mpsc::Sender<Result<Arrival>>) {
    loop {
        let next = AssertUnwindSafe(source.next()).catch_unwind().await;
        let arrival = match next {
            Ok(Ok(Some(batch))) => Ok(Arrival::Batch(batch, Told::by(source.as_ref()))),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, RecordBatch};

    use super::*;
    use crate::change::{ChangeBatch, RowKind::*};

    #[test]
    fn batches_are_cut_but_updates_stay_whole() {
        let column: ArrayRef = Arc::new(Int32Array::from_iter_values(0..6));
        let rows = RecordBatch::try_from_iter([("a", column)]).unwrap();
        let kinds = [Insert, UpdateBefore, UpdateAfter, Insert, UpdateAfter, Delete];
        for (most, lengths) in
            [(1, vec![1, 2, 1, 1, 1]), (2, vec![3, 2, 1]), (3, vec![3, 3]), (5, vec![5, 1]), (9, vec![6])]
        {
            let changes = ChangeBatch { kinds: Some(kinds.as_slice().into()), ..ChangeBatch::append(rows.clone()) };
            let mut left = Some(SourceBatch { changes, bytes: 7 });
            let mut pieces = Vec::new();
            while let Some(batch) = left {
                let (first, rest) = cut(batch, most);
                pieces.push(first);
                left = rest;
            }
            assert_eq!(pieces.iter().map(|p| p.changes.num_rows()).collect::<Vec<_>>(), lengths, "{most} rows");
            assert_eq!(pieces.iter().map(|p| p.bytes).sum::<u64>(), 7);
            let ours = pieces.iter().flat_map(|p| p.changes.kinds.as_ref().unwrap().to_vec());
            assert_eq!(ours.collect::<Vec<_>>(), kinds);
        }
    }
}
