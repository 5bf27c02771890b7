//! Files to batches.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use super::discover::{Found, Location};
use super::layout::Layout;
use super::{MONITOR_INTERVAL, PATH, format_of, joined};
use crate::change::ChangeBatch;
use crate::connector::{Options, Source, SourceBatch, SourceProgress, TableDescriptor};
use crate::format::{FileFormat, FileReader};
use crate::{Error, Result};

/// Reads files one after another.
pub(super) struct FileSource {
    plan: Arc<Plan>,
    waiting: VecDeque<Found>,
    open: Option<OpenFile>,
    watch: Option<Watch>,
    /// Bytes of the files that have been read, and of all.
    done: u64,
    total: u64,
    skipped: u64,
    /// Of the file that is open: bytes read and records skipped.
    current: (u64, u64),
}

/// What all files have in common.
struct Plan {
    format: &'static dyn FileFormat,
    layout: Layout,
    options: Options,
}

struct OpenFile {
    found: Found,
    reader: Box<dyn FileReader>,
    constants: Vec<Option<ArrayRef>>,
    plan: Arc<Plan>,
}

/// The search for new files.
struct Watch {
    location: Location,
    interval: Duration,
    /// Files that were taken, as long as they are there.
    seen: HashSet<PathBuf>,
}

impl FileSource {
    pub(super) fn open(table: &TableDescriptor, projection: SchemaRef) -> Result<Self> {
        let location = Location::parse(table.options.require(PATH)?)?;
        let interval = table.options.duration(MONITOR_INTERVAL)?;
        let files = location.files().map_err(|e| match e {
            Error::Io { context, source } => {
                Error::Io { context: format!("table '{}': {context}", table.name), source }
            }
            other => other,
        })?;
        if files.is_empty() && interval.is_none() && matches!(location, Location::Pattern(_)) {
            let message = format!("table '{}': no file matches '{}'", table.name, table.options.require(PATH)?);
            return Err(Error::Option(message));
        }
        let layout = Layout::new(table, projection)?;
        let seen = files.iter().map(|f| f.path.clone()).collect();
        Ok(Self {
            plan: Arc::new(Plan { format: format_of(table)?, layout, options: table.options.clone() }),
            total: files.iter().map(|f| f.size).sum(),
            waiting: files.into(),
            open: None,
            watch: interval.map(|interval| Watch { location, interval, seen }),
            done: 0,
            skipped: 0,
            current: (0, 0),
        })
    }

    /// The next batch of the open file; `None` at its end.
    async fn read(&mut self, mut open: OpenFile) -> Result<Option<SourceBatch>> {
        let blocking = tokio::task::spawn_blocking(move || {
            let batch = open.next();
            (open, batch)
        });
        let (open, batch) = joined(blocking.await)?;
        let Some(changes) = batch? else {
            self.done += open.found.size;
            self.skipped += open.reader.skipped();
            self.current = (0, 0);
            return Ok(None);
        };
        let position = open.reader.position();
        let bytes = position.saturating_sub(self.current.0);
        self.current = (position, open.reader.skipped());
        self.open = Some(open);
        Ok(Some(SourceBatch { changes, bytes }))
    }
}

#[async_trait]
impl Source for FileSource {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        loop {
            if let Some(open) = self.open.take() {
                if let Some(batch) = self.read(open).await? {
                    return Ok(Some(batch));
                }
            } else if let Some(found) = self.waiting.pop_front() {
                let plan = Arc::clone(&self.plan);
                let blocking = tokio::task::spawn_blocking(move || OpenFile::open(found, plan));
                self.open = Some(joined(blocking.await)??);
            } else if let Some(watch) = self.watch.take() {
                tokio::time::sleep(watch.interval).await;
                let (watch, found) = joined(tokio::task::spawn_blocking(move || watch.look()).await)?;
                self.watch = Some(watch);
                self.waiting = found?.into();
            } else {
                return Ok(None);
            }
        }
    }

    fn progress(&self) -> SourceProgress {
        let fraction = match self.total {
            _ if self.watch.is_some() => None,
            0 => Some(1.0),
            total => Some(((self.done + self.current.0) as f64 / total as f64).min(1.0)),
        };
        SourceProgress { fraction, skipped_records: self.skipped + self.current.1 }
    }
}

impl Watch {
    fn look(mut self) -> (Self, Result<Vec<Found>>) {
        let files = self.location.files().map(|files| {
            let there: HashSet<PathBuf> = files.iter().map(|f| f.path.clone()).collect();
            let fresh = files.into_iter().filter(|f| !self.seen.contains(&f.path)).collect();
            self.seen = there;
            fresh
        });
        (self, files)
    }
}

impl OpenFile {
    fn open(found: Found, plan: Arc<Plan>) -> Result<Self> {
        let file = File::open(&found.path).map_err(|e| Error::io(format!("opening '{}'", found.path.display()), e))?;
        let Layout { stored, read, .. } = &plan.layout;
        let reader = plan.format.reader(file, stored, Arc::clone(read), &plan.options);
        let constants = plan.layout.constants(&found)?;
        Ok(Self { reader: reader.map_err(|e| in_file(&found, e))?, constants, plan, found })
    }

    fn next(&mut self) -> Result<Option<ChangeBatch>> {
        let Some(read) = self.reader.next().map_err(|e| in_file(&self.found, e))? else { return Ok(None) };
        let rows = self.plan.layout.assemble(read.rows.clone(), &self.constants)?;
        Ok(Some(read.with_rows(rows)))
    }
}

/// The error with the file's path.
fn in_file(file: &Found, error: Error) -> Error {
    let path = file.path.display();
    match error {
        Error::Record { place, reason } => Error::Record { place: format!("{path} {place}"), reason },
        Error::Io { context, source } => Error::Io { context: format!("{path}: {context}"), source },
        Error::Execution(reason) => Error::Record { place: path.to_string(), reason },
        other => other,
    }
}
