//! One file on its way to being seen.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use tokio::time::Instant;

use crate::change::ChangeBatch;
use crate::connector::Options;
use crate::format::{FileFormat, FileWriter};
use crate::{Error, Result};

/// A file that is being written under a hidden name; dropped before [`Part::publish`], it is removed.
pub(super) struct Part {
    writer: Option<Box<dyn FileWriter>>,
    hidden: PathBuf,
    visible: PathBuf,
    pub(super) opened: Instant,
}

impl Part {
    /// Begins a file `name` in `directory`, which is made where it is missing.
    pub(super) fn create(
        directory: &Path,
        name: &str,
        format: &dyn FileFormat,
        schema: &SchemaRef,
        options: &Options,
        now: Instant,
    ) -> Result<Self> {
        let hidden = directory.join(format!(".{name}.inprogress"));
        std::fs::create_dir_all(directory).map_err(|e| io("creating", directory, e))?;
        let file = File::create_new(&hidden).map_err(|e| io("creating", &hidden, e))?;
        let mut part = Self { writer: None, hidden, visible: directory.join(name), opened: now };
        part.writer = Some(format.writer(file, schema, options)?);
        Ok(part)
    }

    pub(super) fn write(&mut self, changes: &ChangeBatch) -> Result<()> {
        match &mut self.writer {
            Some(writer) => writer.write(changes),
            None => Err(Error::internal("a file was written to after its end")),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.writer.as_ref().map_or(0, |w| w.size())
    }

    /// Ends the file and shows it: durable first, visible then.
    pub(super) fn publish(mut self) -> Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let published = self.rename(writer);
        if published.is_err() {
            self.remove();
        }
        published
    }

    fn rename(&self, writer: Box<dyn FileWriter>) -> Result<()> {
        let file = writer.finish()?;
        file.sync_all().map_err(|e| io("syncing", &self.hidden, e))?;
        if self.visible.exists() {
            return Err(Error::internal(format!("the file '{}' is there already", self.visible.display())));
        }
        std::fs::rename(&self.hidden, &self.visible).map_err(|e| io("renaming", &self.hidden, e))?;
        let Some(directory) = self.visible.parent() else { return Ok(()) };
        File::open(directory).and_then(|d| d.sync_all()).map_err(|e| io("syncing", directory, e))
    }

    fn remove(&self) {
        if let Err(e) = std::fs::remove_file(&self.hidden) {
            log::warn!("removing '{}': {e}", self.hidden.display());
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            self.remove();
        }
    }
}

fn io(doing: &str, path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("{doing} '{}'", path.display()), error)
}
