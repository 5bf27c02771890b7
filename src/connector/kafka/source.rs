//! Topics as a source.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use rdkafka::Offset;
use rdkafka::consumer::{CommitMode, Consumer};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::columns::Layout;
use super::offsets::{self, Place};
use super::options::Settings;
use super::reader::{self, Piece, Plan, Shared};
use crate::connector::{
    FromPartition, PositionListener, Source, SourceBatch, SourceProgress, SplitPosition, TableDescriptor,
};
use crate::{Error, Result};

/// How many batches wait for the driver at most.
const QUEUED_BATCHES: usize = 8;

/// Reads topics, in a thread that starts when the first batch is asked for.
pub(super) struct KafkaSource {
    plan: Plan,
    restored: Option<Vec<SplitPosition>>,
    queue: Option<mpsc::Receiver<Result<Piece>>>,
    shared: Arc<Shared>,
    last: FromPartition,
    position: Option<(Arc<str>, Place)>,
    /// Where formats that must ask somebody do so.
    runtime: Option<Handle>,
}

impl KafkaSource {
    /// Opens nothing yet.
    ///
    /// # Errors
    /// When the options are wrong.
    pub fn try_new(table: &TableDescriptor, settings: Settings, projection: SchemaRef) -> Result<Self> {
        let layout = Layout::of(table, &settings)?;
        let plan = Plan { table: table.name.clone(), settings: Arc::new(settings), layout, projection };
        Ok(Self {
            plan,
            restored: None,
            queue: None,
            shared: Arc::default(),
            last: FromPartition::default(),
            position: None,
            runtime: Handle::try_current().ok(),
        })
    }

    fn start(&mut self) -> Result<mpsc::Receiver<Result<Piece>>> {
        let (out, queue) = mpsc::channel(QUEUED_BATCHES);
        let runtime = self.runtime.clone().or_else(|| Handle::try_current().ok());
        let runtime = runtime.ok_or_else(|| Error::internal("a source outside of a runtime"))?;
        let (plan, restored, shared) = (self.plan.clone(), self.restored.take(), Arc::clone(&self.shared));
        let read = move || {
            let read = AssertUnwindSafe(|| reader::run(&plan, restored.as_deref(), shared, &out, runtime));
            if let Err(panic) = catch_unwind(read) {
                let place = format!("the source of table '{}'", plan.table);
                let _ = out.blocking_send(Err(Error::panic(place, panic.as_ref())));
            }
        };
        let thread = std::thread::Builder::new().name("millstream-kafka".into()).spawn(read);
        thread.map_err(|e| Error::io("starting a thread that reads from Kafka", e))?;
        Ok(queue)
    }
}

#[async_trait]
impl Source for KafkaSource {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        if self.queue.is_none() {
            self.queue = Some(self.start()?);
        }
        let Some(queue) = &mut self.queue else { return Ok(None) };
        let Some(piece) = queue.recv().await.transpose()? else { return Ok(None) };
        self.last = piece.from;
        self.position = Some((piece.split, piece.place));
        Ok(Some(piece.batch))
    }

    fn is_passive(&self) -> bool {
        true
    }

    fn last_partition(&self) -> FromPartition {
        self.last
    }

    fn progress(&self) -> SourceProgress {
        SourceProgress { fraction: None, skipped_records: self.shared.skipped.load(Ordering::Relaxed) }
    }

    fn position(&self) -> Option<SplitPosition> {
        let (split, place) = self.position.as_ref()?;
        offsets::position(split, *place).ok()
    }

    async fn seek(&mut self, positions: Vec<SplitPosition>) -> Result<()> {
        positions.iter().try_for_each(|position| offsets::restored(position).map(|_| ()))?;
        self.restored = Some(positions);
        Ok(())
    }

    fn listener(&self) -> Option<Arc<dyn PositionListener>> {
        self.plan.settings.commits().then(|| Arc::clone(&self.shared) as Arc<dyn PositionListener>)
    }
}

impl PositionListener for Shared {
    /// Commits offsets to the group, in the background: nothing of ours reads them, but whoever watches the group's lag does.
    fn on_durable(&self, positions: &[SplitPosition]) {
        let consumer = self.consumer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(consumer) = consumer else { return };
        let places = positions.iter().map(offsets::restored).collect::<Result<Vec<_>>>();
        let committed = places.and_then(|places| {
            let (of, places): (Vec<_>, Vec<Place>) = places.into_iter().unzip();
            offsets::list(&of, |i| Offset::Offset(places[i].next))
        });
        let committed = committed.and_then(|list| {
            consumer.commit(&list, CommitMode::Async).map_err(|e| super::failed("committing offsets", &e))
        });
        if let Err(e) = committed {
            log::warn!("{e}");
        }
    }
}
