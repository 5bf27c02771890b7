//! Where batches come in: the driver's side of a source.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::paging::StateMemory;
use super::tasks::Tasks;
use crate::change::RowKind;
use crate::connector::{FromPartition, PositionListener, Source, SourceBatch, SourceProgress, SplitPosition};
use crate::{Error, Result};

/// How many batches wait for the driver at most; then the source is not asked for more.
const QUEUED_BATCHES: usize = 8;
/// How many bytes wait for the driver at most, unless the job has less; a batch that has more by itself waits alone.
const QUEUED_BYTES: usize = 64 << 20;
/// Bytes are counted in units of so many.
const UNIT: usize = 1 << 10;

/// What a port has for the driver.
#[expect(clippy::large_enum_variant, reason = "all but the last are batches, and a box for each would cost more")]
pub(super) enum Arrival {
    /// A batch, where it came from, and how far the source is.
    Batch(SourceBatch, Told),
    /// The source has ended.
    End,
}

/// What a source tells of itself after a batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub from: FromPartition,
    pub progress: SourceProgress,
    /// Where the source can be read again behind the batch.
    pub position: Option<SplitPosition>,
    /// Whether the batch came whole, or this is its last piece.
    pub whole: bool,
    /// How many rows behind the position were taken before the checkpoint that the job goes on from.
    pub taken: u64,
    /// About how many bytes of memory the batch takes.
    pub memory: usize,
}

impl Told {
    fn by(source: &dyn Source, batch: &SourceBatch) -> Self {
        Self {
            from: source.last_partition(),
            progress: source.progress(),
            position: source.position(),
            whole: true,
            taken: 0,
            memory: batch.changes.bytes(),
        }
    }
}

/// Where a source goes on.
#[derive(Debug, Clone, Default)]
pub(super) struct Resume {
    /// The positions that it gave.
    pub seek: Vec<SplitPosition>,
    /// How many rows of a split that come then have been taken already.
    pub skip: BTreeMap<String, u64>,
    /// Whether it had come to its end.
    pub ended: bool,
}

/// The driver's side of a source.
pub(super) struct Port {
    intake: Intake,
    /// What a step left over of a batch that was too large for it.
    rest: Option<(SourceBatch, Told)>,
    /// How many partitions the source reads.
    pub partitions: usize,
    /// Who is to hear of checkpoints.
    pub listener: Option<Arc<dyn PositionListener>>,
    /// How many rows of each split are still to be passed over.
    skip: BTreeMap<String, u64>,
    /// How many bytes may be queued.
    queued_bytes: usize,
    table: String,
    runtime: Tasks,
}

/// What is queued, and the room that it takes until the driver has it.
type Queued = (Result<Arrival>, Option<OwnedSemaphorePermit>);

/// Where batches come from.
enum Intake {
    /// Not begun yet.
    Waiting(Box<dyn Source>),
    /// The source reads in a task of its own.
    Task { queue: mpsc::Receiver<Queued>, task: JoinHandle<()> },
    /// The source only waits for another thread: the driver waits for it itself.
    Direct(Box<dyn Source>),
    /// There is nothing more to come.
    Closed,
}

impl Port {
    /// A port that has not begun to read; of a job whose state may take so much memory.
    pub fn new(source: Box<dyn Source>, table: &str, memory: Option<&StateMemory>, runtime: &Tasks) -> Self {
        let listener = source.listener();
        Port {
            intake: Intake::Waiting(source),
            rest: None,
            partitions: 1,
            listener,
            skip: BTreeMap::new(),
            queued_bytes: memory.map_or(QUEUED_BYTES, |m| m.under_way().min(QUEUED_BYTES)),
            table: table.to_string(),
            runtime: runtime.clone(),
        }
    }

    /// Begins to read, or goes on.
    ///
    /// # Errors
    /// When the source cannot be read again from there.
    pub fn begin(&mut self, resume: Resume) -> Result<()> {
        let Intake::Waiting(mut source) = std::mem::replace(&mut self.intake, Intake::Closed) else { return Ok(()) };
        if resume.ended {
            return Ok(());
        }
        self.skip = resume.skip;
        if !resume.seek.is_empty() {
            let seek = AssertUnwindSafe(source.seek(resume.seek)).catch_unwind();
            let sought = self.runtime.block_on(seek);
            sought.unwrap_or_else(|panic| Err(Error::panic(self.place(), panic.as_ref())))?;
        }
        self.partitions = source.partitions().max(1);
        if source.is_passive() {
            self.intake = Intake::Direct(source);
            return Ok(());
        }
        let (sender, queue) = mpsc::channel(QUEUED_BATCHES);
        let room = Room::new(self.queued_bytes);
        let task = self.runtime.spawn(read(source, self.place(), sender, room));
        self.intake = Intake::Task { queue, task };
        Ok(())
    }

    fn place(&self) -> String {
        format!("the source of table '{}'", self.table)
    }

    /// What has arrived, `rows` of it at most and not much more than `bytes`; wakes `context` when there is something later. The two rows of an update stay
    /// together, even where that makes one too many.
    pub fn poll(&mut self, context: &mut Context<'_>, rows: usize, bytes: usize) -> Poll<Result<Arrival>> {
        let arrival = match self.rest.take() {
            Some((batch, told)) => Ok(Arrival::Batch(batch, told)),
            None => std::task::ready!(self.poll_intake(context)),
        };
        Poll::Ready(arrival.map(|arrival| match arrival {
            Arrival::Batch(batch, mut told) => {
                let all = batch.changes.num_rows();
                let (batch, rest) = cut(batch, rows.min(share(all, bytes, told.memory)));
                self.rest = rest.map(|rest| {
                    let memory = share(told.memory, rest.changes.num_rows(), all).min(told.memory);
                    told.memory -= memory;
                    (rest, Told { memory, ..told.clone() })
                });
                // A partition ends with the last piece, and the position is behind it.
                told.whole = self.rest.is_none();
                told.from.ended &= told.whole;
                Arrival::Batch(batch, told)
            }
            Arrival::End => Arrival::End,
        }))
    }

    fn poll_intake(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival>> {
        let arrival = match &mut self.intake {
            Intake::Closed | Intake::Waiting(_) => return Poll::Pending,
            Intake::Task { queue, .. } => match std::task::ready!(queue.poll_recv(context)) {
                Some((arrival, _)) => arrival,
                None => Err(Error::internal("a source's task is gone; has its runtime been shut down?")),
            },
            Intake::Direct(source) => {
                let next = source.next().poll_unpin(context);
                match std::task::ready!(next) {
                    Ok(Some(batch)) => {
                        let told = Told::by(source.as_ref(), &batch);
                        Ok(Arrival::Batch(batch, told))
                    }
                    Ok(None) => Ok(Arrival::End),
                    Err(e) => Err(e),
                }
            }
        };
        if !matches!(arrival, Ok(Arrival::Batch(..))) {
            self.close();
        }
        Poll::Ready(arrival.map(|arrival| self.pass_over(arrival)))
    }

    /// Drops the rows that were taken before the checkpoint that the job goes on from.
    fn pass_over(&mut self, arrival: Arrival) -> Arrival {
        let Arrival::Batch(batch, mut told) = arrival else { return arrival };
        let split = told.position.as_ref().map(|p| &p.split);
        let Some(left) = split.and_then(|split| self.skip.get_mut(split)) else { return Arrival::Batch(batch, told) };
        let rows = batch.changes.num_rows();
        let passed = usize::try_from(*left).unwrap_or(usize::MAX).min(rows);
        *left -= passed as u64;
        let taken = *left;
        if let (0, Some(split)) = (*left, split) {
            self.skip.remove(split);
        }
        told.taken = taken;
        Arrival::Batch(SourceBatch { changes: batch.changes.slice(passed, rows - passed), ..batch }, told)
    }

    /// Stops reading; what is queued is still to be had.
    pub fn stop_reading(&mut self) {
        match &self.intake {
            Intake::Task { task, .. } => task.abort(),
            Intake::Direct(_) | Intake::Closed | Intake::Waiting(_) => {}
        }
    }

    /// What is still queued after [`Port::stop_reading`].
    pub fn drain(&mut self) -> Vec<(SourceBatch, Told)> {
        let mut left = Vec::from_iter(self.rest.take());
        if let Intake::Task { queue, .. } = &mut self.intake {
            while let Ok((Ok(Arrival::Batch(batch, told)), _)) = queue.try_recv() {
                left.push((batch, told));
            }
        }
        if let Intake::Direct(source) = &mut self.intake {
            let mut context = Context::from_waker(std::task::Waker::noop());
            loop {
                let next = source.next().poll_unpin(&mut context);
                let Poll::Ready(Ok(Some(batch))) = next else { break };
                let told = Told::by(source.as_ref(), &batch);
                left.push((batch, told));
            }
        }
        self.close();
        let passed = left.into_iter().filter_map(|(batch, told)| match self.pass_over(Arrival::Batch(batch, told)) {
            Arrival::Batch(batch, told) => Some((batch, told)),
            Arrival::End => None,
        });
        passed.collect()
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

/// The part of `all` that `part` is of `whole`.
fn share(all: usize, part: usize, whole: usize) -> usize {
    usize::try_from(all as u128 * part as u128 / whole.max(1) as u128).unwrap_or(usize::MAX)
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

/// The bytes that may be queued.
struct Room {
    units: u32,
    free: Arc<Semaphore>,
}

impl Room {
    fn new(bytes: usize) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        Self { units, free: Arc::new(Semaphore::new(units as usize)) }
    }

    /// Waits until there is room for a batch.
    async fn take(&self, arrival: &Result<Arrival>) -> Option<OwnedSemaphorePermit> {
        let Ok(Arrival::Batch(_, told)) = arrival else { return None };
        let units = u32::try_from(told.memory / UNIT).unwrap_or(u32::MAX).min(self.units);
        Arc::clone(&self.free).acquire_many_owned(units).await.ok()
    }
}

async fn read(mut source: Box<dyn Source>, place: String, queue: mpsc::Sender<Queued>, room: Room) {
    loop {
        let next = AssertUnwindSafe(source.next()).catch_unwind().await;
        let arrival = match next {
            Ok(Ok(Some(batch))) => {
                let told = Told::by(source.as_ref(), &batch);
                Ok(Arrival::Batch(batch, told))
            }
            Ok(Ok(None)) => Ok(Arrival::End),
            Ok(Err(e)) => Err(e),
            Err(panic) => Err(Error::panic(place.as_str(), panic.as_ref())),
        };
        let more = matches!(arrival, Ok(Arrival::Batch(..)));
        let taken = room.take(&arrival).await;
        if queue.send((arrival, taken)).await.is_err() || !more {
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
    fn a_batch_is_cut_by_what_it_takes_in_memory() {
        // Rows by the bytes that are left, and bytes by the rows that are.
        assert_eq!((share(100, 500, 1000), share(100, 5, 1000), share(100, usize::MAX, 1)), (50, 0, usize::MAX));
        assert_eq!(share(7, 3, 0), 21);
    }

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
