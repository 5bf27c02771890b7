//! Writing a journal, in a thread beside the steps.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::encode::{Encoder, Recorded};
use super::files::{new_run, segment_name};
use super::frame::{Kind, MAGIC, begin, seal};
use super::header::{CheckpointMark, FORMAT, Header, nodes_of};
use super::options::{JournalOptions, OnJournalError};
use super::retain::Retention;
use crate::runtime::checkpoint::Checkpoint;
use crate::runtime::circuit::Circuit;
use crate::runtime::executor::StepInput;
use crate::{Error, Result};

/// How many steps wait to be written at most; then the driver waits.
const QUEUED_STEPS: usize = 8;

/// The driver's side of a journal.
pub(in crate::runtime) struct Journal {
    options: JournalOptions,
    workers: usize,
    writing: Option<Writing>,
    /// The number of the last step.
    step: u64,
    /// Whether the state was frozen behind it.
    after_snapshot: bool,
    /// The step behind which the checkpoint was taken that is being written.
    frozen_at: u64,
}

struct Writing {
    queue: SyncSender<Entry>,
    thread: JoinHandle<Result<()>>,
}

enum Entry {
    Step(Box<Recorded>),
    Checkpoint(CheckpointMark),
}

impl Journal {
    /// A journal that has not begun; it never does without a folder.
    pub fn new(options: JournalOptions, workers: usize) -> Self {
        Self { options, workers, writing: None, step: 0, after_snapshot: false, frozen_at: 0 }
    }

    /// Begins the journal of a run, which goes on from a checkpoint or from nothing.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn begin(&mut self, circuit: &Arc<Circuit>, checkpoint: Option<&Checkpoint>, now: i64) -> Result<()> {
        if self.options.dir.is_none() {
            return Ok(());
        }
        let begun = self.try_begin(circuit, checkpoint, now);
        self.heed(begun)
    }

    fn try_begin(&mut self, circuit: &Circuit, checkpoint: Option<&Checkpoint>, now: i64) -> Result<()> {
        let job = self.options.dir.iter().collect::<PathBuf>().join(&self.options.folder);
        let (run, folder) = new_run(&job)?;
        let header = Header {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            job: self.options.job.clone(),
            run,
            first_step: 1,
            began_at: now,
            script: self.options.script.clone(),
            workers: self.workers,
            time_zone: self.options.time_zone.clone(),
            settings: self.options.settings.clone(),
            nodes: nodes_of(circuit),
            checkpoint: checkpoint.map(|c| CheckpointMark { step: 0, id: c.manifest.id, address: c.address() }),
        };
        let failed = |e| Error::io(format!("reading the journals in '{}'", job.display()), e);
        let retention =
            self.options.max_bytes.map(|most| Retention::new(most, &job, run)).transpose().map_err(failed)?;
        let writer = Writer::begin(header, folder, self.options.segment_bytes, retention)?;
        let (queue, entries) = sync_channel(QUEUED_STEPS);
        let thread =
            std::thread::Builder::new().name("millstream-journal".into()).spawn(move || writer.serve(&entries));
        let thread = thread.map_err(|e| Error::io("starting the journal's thread", e))?;
        self.writing = Some(Writing { queue, thread });
        Ok(())
    }

    /// Takes what a step is about to take in, waiting while the thread is behind.
    ///
    /// # Errors
    /// When the journal cannot be written, and that is to end the job.
    pub fn record(&mut self, input: &StepInput) -> Result<()> {
        if self.writing.is_none() {
            return Ok(());
        }
        self.step += 1;
        let after_snapshot = std::mem::take(&mut self.after_snapshot);
        self.send(Entry::Step(Box::new(Recorded { step: self.step, after_snapshot, input: input.clone() })))
    }

    /// Takes note that the state was frozen for a checkpoint.
    pub fn frozen(&mut self) {
        (self.after_snapshot, self.frozen_at) = (true, self.step);
    }

    /// Takes note that the checkpoint for which the state was frozen last has become durable.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub fn durable(&mut self, id: u64, address: String) -> Result<()> {
        match self.writing {
            Some(_) => self.send(Entry::Checkpoint(CheckpointMark { step: self.frozen_at, id, address })),
            None => Ok(()),
        }
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub fn close(&mut self) -> Result<()> {
        let closed = self.finish();
        self.heed(closed)
    }

    fn send(&mut self, entry: Entry) -> Result<()> {
        let Some(writing) = &self.writing else { return Ok(()) };
        if writing.queue.send(entry).is_ok() {
            return Ok(());
        }
        // The thread is gone, and says why.
        let gone = self.finish().and_then(|()| Err(Error::internal("the journal's thread ended early")));
        self.heed(gone)
    }

    /// Ends the thread; what became of it.
    fn finish(&mut self) -> Result<()> {
        let Some(Writing { queue, thread }) = self.writing.take() else { return Ok(()) };
        drop(queue);
        thread.join().unwrap_or_else(|panic| Err(Error::panic("the journal's thread", panic.as_ref())))
    }

    /// What an error means to the job.
    fn heed(&self, outcome: Result<()>) -> Result<()> {
        let Err(error) = outcome else { return Ok(()) };
        let place = self.options.dir.clone().unwrap_or_default();
        let error = super::damaged(place, format!("it cannot be written: {error}"));
        match self.options.on_error {
            OnJournalError::Fail => Err(error),
            OnJournalError::Continue => {
                log::warn!("{error}; job '{}' goes on without a journal", self.options.job);
                Ok(())
            }
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // What was handed over is written, also behind a failure: the step that failed is the last one in it.
        if let Err(e) = self.finish() {
            log::warn!("the journal of job '{}' is not complete: {e}", self.options.job);
        }
    }
}

/// The thread's side: one segment after another.
struct Writer {
    header: Header,
    folder: PathBuf,
    segment_bytes: u64,
    retention: Option<Retention>,
    encoder: Encoder,
    segment: Segment,
    last_step: u64,
}

/// The segment that is being written.
struct Segment {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Writer {
    fn begin(header: Header, folder: PathBuf, segment_bytes: u64, retention: Option<Retention>) -> Result<Self> {
        let segment = Segment::begin(&folder, &header)?;
        Ok(Self { header, folder, segment_bytes, retention, encoder: Encoder::try_new()?, segment, last_step: 0 })
    }

    fn serve(mut self, entries: &Receiver<Entry>) -> Result<()> {
        while let Ok(entry) = entries.recv() {
            match entry {
                Entry::Step(recorded) => self.step(&recorded)?,
                Entry::Checkpoint(mark) => self.mark(&mark)?,
            }
        }
        self.segment.sync()
    }

    fn step(&mut self, recorded: &Recorded) -> Result<()> {
        if self.last_step > 0 && (self.segment.bytes >= self.segment_bytes || self.encoder.is_full()) {
            self.next_segment(recorded.step)?;
        }
        let segment = &mut self.segment;
        self.encoder.step(recorded, |frame| segment.write(frame))?;
        self.last_step = recorded.step;
        Ok(())
    }

    fn next_segment(&mut self, first_step: u64) -> Result<()> {
        self.segment.sync()?;
        self.header.first_step = first_step;
        let full = std::mem::replace(&mut self.segment, Segment::begin(&self.folder, &self.header)?);
        self.encoder.restart();
        if let Some(retention) = &mut self.retention {
            retention.completed(full.path, full.bytes, self.last_step);
        }
        self.retain()
    }

    fn mark(&mut self, mark: &CheckpointMark) -> Result<()> {
        let mut frame = Vec::new();
        begin(&mut frame, Kind::Checkpoint);
        put_json(&mut frame, mark)?;
        self.segment.write(&frame)?;
        if let Some(retention) = &mut self.retention {
            // Behind the mark, so that it is known where a replay can begin before it has to.
            retention.checkpointed(mark.step);
        }
        self.retain()
    }

    fn retain(&mut self) -> Result<()> {
        let Some(retention) = &mut self.retention else { return Ok(()) };
        let failed = |e| Error::io("removing an old segment of a journal", e);
        retention.apply(self.segment.bytes).map_err(failed)
    }
}

impl Segment {
    fn begin(folder: &std::path::Path, header: &Header) -> Result<Self> {
        let path = folder.join(segment_name(header.first_step));
        let file = File::create_new(&path).map_err(|e| Error::io(format!("creating '{}'", path.display()), e))?;
        let mut segment = Self { path, file, bytes: 0 };
        let mut frame = Vec::new();
        begin(&mut frame, Kind::Header);
        put_json(&mut frame, header)?;
        segment.write(&MAGIC)?;
        segment.write(&frame)?;
        Ok(segment)
    }

    /// Writes at once: what the system has taken outlasts the process.
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|e| Error::io(format!("writing '{}'", self.path.display()), e))
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io(format!("writing '{}'", self.path.display()), e))
    }
}

fn put_json(frame: &mut Vec<u8>, value: &impl serde::Serialize) -> Result<()> {
    serde_json::to_writer(&mut *frame, value)
        .map_err(|e| Error::internal(format!("writing a journal's frame: {e}")))?;
    seal(frame)
}
