//! Files to batches.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use super::discover::{Found, Location};
use super::layout::Layout;
use super::{MONITOR_INTERVAL, PATH, format_of, joined};
use crate::change::ChangeBatch;
use crate::connector::{Options, Source, SourceBatch, SourceProgress, SplitPosition, TableDescriptor};
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
    /// Where to go on behind the last batch.
    position: Option<SplitPosition>,
    /// Of files that were read in part before a checkpoint: how far.
    begun: HashMap<PathBuf, Reached>,
}

/// How far a file was read, as it stands in a position: `ROWS/BYTES`, the file's length; or `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Rows { rows: u64, size: u64 },
    End,
}

impl Reached {
    fn of(offset: &str) -> Option<Self> {
        if offset == "end" {
            return Some(Reached::End);
        }
        let (rows, size) = offset.split_once('/')?;
        Some(Reached::Rows { rows: rows.parse().ok()?, size: size.parse().ok()? })
    }

    fn at(self, path: &std::path::Path) -> SplitPosition {
        let offset = match self {
            Reached::Rows { rows, size } => format!("{rows}/{size}"),
            Reached::End => "end".into(),
        };
        SplitPosition { split: path.to_string_lossy().into_owned(), offset }
    }
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
    /// Rows that were given.
    rows: u64,
    /// Rows that are to be passed over first.
    skip: u64,
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
            position: None,
            begun: HashMap::new(),
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
            self.position = Some(Reached::End.at(&open.found.path));
            return Ok(None);
        };
        let reached = Reached::Rows { rows: open.rows, size: open.found.size };
        self.position = Some(reached.at(&open.found.path));
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
                // The end of a file is told of by a batch without rows.
                let nothing = || {
                    let rows = RecordBatch::new_empty(Arc::clone(&self.plan.layout.projection));
                    SourceBatch { changes: ChangeBatch::append(rows), bytes: 0 }
                };
                let nothing = nothing();
                return Ok(Some(self.read(open).await?.unwrap_or(nothing)));
            } else if let Some(found) = self.waiting.pop_front() {
                let plan = Arc::clone(&self.plan);
                let reached = self.begun.remove(&found.path);
                let blocking = tokio::task::spawn_blocking(move || OpenFile::open(found, plan, reached));
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

    fn position(&self) -> Option<SplitPosition> {
        self.position.clone()
    }

    async fn seek(&mut self, positions: Vec<SplitPosition>) -> Result<()> {
        for SplitPosition { split, offset } in positions {
            let wrong = || Error::Option(format!("file '{split}': '{offset}' is no position"));
            self.begun.insert(PathBuf::from(&split), Reached::of(&offset).ok_or_else(wrong)?);
        }
        let begun = |found: &Found| self.begun.get(&found.path);
        let (ended, left): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(|f| begun(f) == Some(&Reached::End));
        self.done += ended.iter().map(|f| f.size).sum::<u64>();
        // The file that was open goes on first.
        let (first, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(|f| self.begun.contains_key(&f.path));
        self.waiting = first.into_iter().chain(rest).collect();
        self.begun.retain(|_, reached| *reached != Reached::End);
        let gone = self.begun.keys().find(|path| !self.waiting.iter().any(|f| f.path == **path));
        gone.map_or(Ok(()), |path| {
            let message = format!("file '{}' was read in part, and is no longer there", path.display());
            Err(Error::Option(message))
        })
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
    fn open(found: Found, plan: Arc<Plan>, reached: Option<Reached>) -> Result<Self> {
        let skip = match reached {
            Some(Reached::Rows { rows, size }) if size == found.size => rows,
            Some(Reached::Rows { size, .. }) => {
                let reason = format!("it had {size} bytes when it was read in part, and has {} now", found.size);
                return Err(Error::record(found.path.display().to_string(), reason));
            }
            Some(Reached::End) | None => 0,
        };
        let file = File::open(&found.path).map_err(|e| Error::io(format!("opening '{}'", found.path.display()), e))?;
        let Layout { stored, read, .. } = &plan.layout;
        let reader = plan.format.reader(file, stored, Arc::clone(read), &plan.options);
        let constants = plan.layout.constants(&found)?;
        Ok(Self { reader: reader.map_err(|e| in_file(&found, e))?, constants, plan, found, rows: 0, skip })
    }

    fn next(&mut self) -> Result<Option<ChangeBatch>> {
        loop {
            let Some(read) = self.reader.next().map_err(|e| in_file(&self.found, e))? else { return Ok(None) };
            let passed = usize::try_from(self.skip).unwrap_or(usize::MAX).min(read.num_rows());
            self.skip -= passed as u64;
            self.rows += read.num_rows() as u64;
            if passed == read.num_rows() && passed > 0 {
                continue;
            }
            let read = read.slice(passed, read.num_rows() - passed);
            let rows = self.plan.layout.assemble(read.rows.clone(), &self.constants)?;
            return Ok(Some(read.with_rows(rows)));
        }
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
