//! One file on its way to being seen.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
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
    pub(super) fn publish(self) -> Result<()> {
        self.seal()?.into_iter().try_for_each(|sealed| show(&sealed).inspect_err(|_| remove(&sealed.hidden)))
    }

    /// Ends the file and makes it durable under its hidden name; `None` if it has been ended before.
    pub(super) fn seal(mut self) -> Result<Option<Sealed>> {
        let Some(writer) = self.writer.take() else { return Ok(None) };
        let sealed = Sealed { hidden: self.hidden.clone(), visible: self.visible.clone() };
        let finished = writer.finish().and_then(|file| file.sync_all().map_err(|e| io("syncing", &self.hidden, e)));
        let finished = finished.and_then(|()| sync_directory(&self.hidden));
        finished.inspect_err(|_| remove(&self.hidden)).map(|()| Some(sealed))
    }
}

/// A file that is whole and durable, and still hidden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sealed {
    pub(super) hidden: PathBuf,
    pub(super) visible: PathBuf,
}

/// Shows a file, if it is not shown already.
pub(super) fn show(sealed: &Sealed) -> Result<()> {
    let Sealed { hidden, visible } = sealed;
    match (hidden.exists(), visible.exists()) {
        (false, true) => return Ok(()),
        (true, false) => {}
        (true, true) => return Err(Error::internal(format!("the file '{}' is there already", visible.display()))),
        (false, false) => {
            let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(io("showing what was written as", visible, gone));
        }
    }
    std::fs::rename(hidden, visible).map_err(|e| io("renaming", hidden, e))?;
    sync_directory(visible)
}

fn sync_directory(file: &Path) -> Result<()> {
    let Some(directory) = file.parent() else { return Ok(()) };
    File::open(directory).and_then(|d| d.sync_all()).map_err(|e| io("syncing", directory, e))
}

pub(super) fn remove(hidden: &Path) {
    if let Err(e) = std::fs::remove_file(hidden) {
        log::warn!("removing '{}': {e}", hidden.display());
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            remove(&self.hidden);
        }
    }
}

fn io(doing: &str, path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("{doing} '{}'", path.display()), error)
}
