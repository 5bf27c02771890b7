//! Batches to files.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tokio::time::Instant;

use super::discover::Location;
use super::layout::{escape, stored_schema};
use super::part::{Part, Sealed, remove, show};
use super::{PATH, ROLL_INTERVAL, ROLL_SIZE, default_partition, format_of, joined};
use crate::change::ChangeBatch;
use crate::connector::{Options, Prepared, Sink, SinkRecovery, TableDescriptor};
use crate::format::{FileFormat, value_to_text};
use crate::{Error, Result};

/// How many partitions have a file open at once; of more, the oldest file is ended.
const MAX_OPEN: usize = 128;

/// Writes a table's files. The writing blocks and so is done on a thread for that; a failure there ends the sink.
pub(super) struct FileSink {
    writer: Option<Writer>,
}

/// The part of the sink that blocks.
struct Writer {
    directory: PathBuf,
    format: &'static dyn FileFormat,
    options: Options,
    /// The columns that stand in files, and their indices in the rows.
    stored: SchemaRef,
    stored_columns: Vec<usize>,
    /// The partition columns: name and index in the rows.
    partition_keys: Vec<(String, usize)>,
    default_partition: String,
    roll_size: u64,
    roll_interval: Duration,
    /// The open file of each partition, by the partition's directory.
    open: BTreeMap<String, Part>,
    /// What tells this run's files from those of others.
    run: String,
    files: u64,
    /// With checkpoints: the files that wait for the next one.
    sealed: Option<Vec<Sealed>>,
}

impl FileSink {
    pub(super) fn open(table: &TableDescriptor) -> Result<Self> {
        if let Some(written) = table.metadata.iter().find(|m| !m.is_virtual) {
            let message = format!("metadata '{}' cannot be written; declare the column VIRTUAL", written.key);
            return Err(Error::Option(message));
        }
        let stored = stored_schema(table);
        let columns = 0..table.schema.fields().len() - table.metadata.len();
        let key = |i: &usize| Some((table.schema.fields().get(*i)?.name().clone(), *i));
        let options = &table.options;
        let writer = Writer {
            directory: Location::parse(options.require(PATH)?)?.directory()?,
            format: format_of(table)?,
            stored_columns: columns.filter(|i| !table.partition_keys.contains(i)).collect(),
            stored,
            partition_keys: table.partition_keys.iter().filter_map(key).collect(),
            default_partition: default_partition(options).to_owned(),
            roll_size: options.memory(ROLL_SIZE)?.unwrap_or(128 << 20),
            roll_interval: options.duration(ROLL_INTERVAL)?.unwrap_or(Duration::from_secs(30 * 60)),
            open: BTreeMap::new(),
            run: format!("{:016x}", RandomState::new().build_hasher().finish()),
            files: 0,
            sealed: None,
            options: options.clone(),
        };
        Ok(Self { writer: Some(writer) })
    }

    async fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Some(mut writer) = self.writer.take() else {
            return Err(Error::internal("a file sink was used after its failure or end"));
        };
        let task = tokio::task::spawn_blocking(move || work(&mut writer).map(|done| (writer, done)));
        let (writer, done) = joined(task.await)??;
        self.writer = Some(writer);
        Ok(done)
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn write(&mut self, changes: ChangeBatch) -> Result<()> {
        let now = Instant::now();
        self.blocking(move |w| w.write(&changes, now)).await
    }

    async fn flush(&mut self) -> Result<()> {
        let now = Instant::now();
        let is_due = self.writer.as_ref().is_some_and(|w| w.open.values().any(|p| w.is_due(p, now)));
        if is_due { self.blocking(move |w| w.roll(now)).await } else { Ok(()) }
    }

    async fn recover(&mut self, recovery: SinkRecovery) -> Result<()> {
        self.blocking(move |w| w.recover(&recovery)).await
    }

    async fn prepare(&mut self, _checkpoint: u64) -> Result<Option<Prepared>> {
        self.blocking(Writer::prepare).await
    }

    async fn commit(&mut self, prepared: Prepared) -> Result<()> {
        self.blocking(move |w| w.show(&prepared)).await
    }

    async fn close(&mut self) -> Result<()> {
        self.blocking(Writer::end_all).await
    }
}

impl Writer {
    fn write(&mut self, changes: &ChangeBatch, now: Instant) -> Result<()> {
        if self.partition_keys.is_empty() {
            self.write_partition(String::new(), changes, now)?;
        } else {
            for (partition, rows) in self.split(changes)? {
                self.write_partition(partition, &changes.take(&rows.into())?, now)?;
            }
        }
        self.roll(now)
    }

    /// The rows of each partition, by its directory.
    fn split(&self, changes: &ChangeBatch) -> Result<BTreeMap<String, Vec<u32>>> {
        let mut partitions = BTreeMap::<String, Vec<u32>>::new();
        let mut path = String::new();
        for row in 0..changes.num_rows() {
            path.clear();
            for (name, column) in &self.partition_keys {
                escape(name, &mut path);
                path.push('=');
                let value = value_to_text(changes.rows.column(*column), row)?.filter(|v| !v.is_empty());
                escape(value.as_deref().unwrap_or(&self.default_partition), &mut path);
                path.push('/');
            }
            match partitions.get_mut(&path) {
                Some(rows) => rows.push(row as u32),
                None => drop(partitions.insert(path.clone(), vec![row as u32])),
            }
        }
        Ok(partitions)
    }

    fn write_partition(&mut self, partition: String, changes: &ChangeBatch, now: Instant) -> Result<()> {
        if changes.num_rows() == 0 {
            return Ok(());
        }
        let changes = changes.with_rows(changes.rows.project(&self.stored_columns)?);
        if let Some(part) = self.open.get_mut(&partition) {
            return part.write(&changes);
        }
        if self.open.len() >= MAX_OPEN {
            self.end_oldest()?;
        }
        let name = format!("part-{}-{}.{}", self.run, self.files, self.format.name());
        self.files += 1;
        let directory = self.directory.join(&partition);
        let mut part = Part::create(&directory, &name, self.format, &self.stored, &self.options, now)?;
        part.write(&changes)?;
        self.open.insert(partition, part);
        Ok(())
    }

    fn end_oldest(&mut self) -> Result<()> {
        let oldest = self.open.iter().min_by_key(|(_, p)| p.opened).map(|(k, _)| k.clone());
        oldest.and_then(|k| self.open.remove(&k)).map_or(Ok(()), |part| self.end(part))
    }

    /// Ends a file: it is shown at once, or with checkpoints once one covers it.
    fn end(&mut self, part: Part) -> Result<()> {
        match &mut self.sealed {
            None => part.publish(),
            Some(sealed) => {
                sealed.extend(part.seal()?);
                Ok(())
            }
        }
    }

    fn end_all(&mut self) -> Result<()> {
        std::mem::take(&mut self.open).into_values().try_for_each(|part| self.end(part))
    }

    /// Shows what an earlier run had prepared, and removes what else it left.
    fn recover(&mut self, recovery: &SinkRecovery) -> Result<()> {
        self.sealed = Some(Vec::new());
        let prepared = recovery.prepared.iter().map(|prepared| self.sealed_of(prepared));
        for sealed in prepared.collect::<Result<Vec<_>>>()?.concat() {
            match show(&sealed) {
                // Shown by the earlier run, and moved on by whoever takes the files.
                Err(Error::Io { context, source }) if source.kind() == std::io::ErrorKind::NotFound => {
                    log::warn!("{context}: {source}; it is taken to have been shown, and moved since");
                }
                shown => shown?,
            }
        }
        let own = format!(".part-{}-", recovery.id);
        self.run = format!("{}-{}", recovery.id, self.run);
        remove_hidden(&self.directory, &own)
    }

    fn prepare(&mut self) -> Result<Option<Prepared>> {
        if self.sealed.is_none() {
            return Ok(None);
        }
        self.end_all()?;
        let sealed = self.sealed.as_mut().map(std::mem::take).unwrap_or_default();
        if sealed.is_empty() {
            return Ok(None);
        }
        let note = serde_json::to_string(&sealed).map_err(|e| Error::internal(format!("naming files: {e}")))?;
        Ok(Some(Prepared { note, rows: Vec::new() }))
    }

    fn show(&self, prepared: &Prepared) -> Result<()> {
        self.sealed_of(prepared)?.iter().try_for_each(show)
    }

    /// The files that were prepared.
    fn sealed_of(&self, prepared: &Prepared) -> Result<Vec<Sealed>> {
        let wrong = |e: serde_json::Error| Error::internal(format!("what a file sink prepared cannot be read: {e}"));
        let sealed: Vec<Sealed> = serde_json::from_str(&prepared.note).map_err(wrong)?;
        let inside = |path: &Path| {
            path.starts_with(&self.directory) && !path.components().any(|c| c == std::path::Component::ParentDir)
        };
        if let Some(outside) = sealed.iter().find(|s| !inside(&s.hidden) || !inside(&s.visible)) {
            let message = format!("'{}' is no file of the table", outside.visible.display());
            return Err(Error::Option(message));
        }
        Ok(sealed)
    }

    fn is_due(&self, part: &Part, now: Instant) -> bool {
        part.size() >= self.roll_size || now.saturating_duration_since(part.opened) >= self.roll_interval
    }

    /// Ends the files that are large or old enough.
    fn roll(&mut self, now: Instant) -> Result<()> {
        let due: Vec<String> = self.open.iter().filter(|(_, p)| self.is_due(p, now)).map(|(k, _)| k.clone()).collect();
        let due: Vec<Part> = due.iter().filter_map(|k| self.open.remove(k)).collect();
        due.into_iter().try_for_each(|part| self.end(part))
    }
}

/// Removes the files, in a folder and below, whose names begin so and say that they are in progress.
fn remove_hidden(directory: &Path, prefix: &str) -> Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|e| Error::io(format!("listing '{}'", directory.display()), e))?,
    };
    for entry in entries {
        let entry = entry.map_err(|e| Error::io(format!("listing '{}'", directory.display()), e))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_hidden(&entry.path(), prefix)?;
        } else if name.starts_with(prefix) && name.ends_with(".inprogress") {
            remove(&entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::{Options, TableDescriptor};
    use arrow::array::{ArrayRef, Int32Array, RecordBatch};
    use std::sync::Arc;

    #[test]
    fn files_roll_when_they_are_old() {
        let dir = tempfile::tempdir().unwrap();
        let column: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let rows = RecordBatch::try_from_iter([("a", column)]).unwrap();
        let mut options = Options::default();
        for (key, value) in [("path", dir.path().to_str().unwrap()), ("format", "csv"), (ROLL_INTERVAL, "1 min")] {
            options.set(key, value);
        }
        let (metadata, partition_keys, primary_key) = (Vec::new(), Vec::new(), Vec::new());
        let table =
            TableDescriptor { name: "t".into(), schema: rows.schema(), metadata, options, partition_keys, primary_key };
        let mut writer = FileSink::open(&table).unwrap().writer.unwrap();
        let shown = || glob::glob(&format!("{}/part-*", dir.path().display())).unwrap().count();
        let start = Instant::now();
        writer.write(&ChangeBatch::append(rows), start).unwrap();
        writer.roll(start + Duration::from_secs(59)).unwrap();
        assert_eq!((shown(), writer.open.len()), (0, 1));
        writer.roll(start + Duration::from_secs(60)).unwrap();
        assert_eq!((shown(), writer.open.len()), (1, 0));
    }
}
