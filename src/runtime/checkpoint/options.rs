//! How a job takes checkpoints.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::path::Path;

use super::read::{Checkpoint, load_newest};
use super::store::CheckpointStore;
use crate::{Error, Result};

/// How a job takes checkpoints, and where it goes on from.
#[derive(Debug, Clone)]
pub struct CheckpointOptions {
    /// `execution.checkpointing.dir`: the address below which the job's folder stands; without it there are no checkpoints.
    pub dir: Option<String>,
    /// `execution.checkpointing.interval`: how often; without it only on demand and at the end.
    pub interval: Option<Duration>,
    /// `execution.checkpointing.min-pause`: so long at least between the end of one and the beginning of the next.
    pub min_pause: Duration,
    /// `execution.checkpointing.timeout`: one that takes longer has failed.
    pub timeout: Duration,
    /// `execution.checkpointing.num-retained`: how many are kept.
    pub retained: usize,
    /// `execution.checkpointing.tolerable-failed-checkpoints`: so many in a row may fail before the job does.
    pub tolerable_failures: usize,
    /// `execution.state-recovery.path`: a checkpoint's or savepoint's folder to begin from where the job has no checkpoint of
    /// its own.
    pub restore_from: Option<String>,
    /// `pipeline.name`: names the job's folder.
    pub job: String,
    /// The job's statements, for the manifest.
    pub script: String,
    /// `s3.*` and `aws_*`: what the store at `dir` has to be told.
    pub store_options: BTreeMap<String, String>,
    /// A store of the embedder's, in which `dir` is a path; instead of the one that `dir` addresses.
    pub store: Option<Arc<dyn ObjectStore>>,
    /// `io.tmp.dirs`, where there is a `state.memory.limit`: what is restored stands there, and not in memory.
    pub scratch: Option<PathBuf>,
}

impl Default for CheckpointOptions {
    fn default() -> Self {
        Self {
            dir: None,
            interval: None,
            min_pause: Duration::ZERO,
            timeout: Duration::from_secs(600),
            retained: 3,
            tolerable_failures: 0,
            restore_from: None,
            job: "job".into(),
            script: String::new(),
            store_options: BTreeMap::new(),
            store: None,
            scratch: None,
        }
    }
}

impl CheckpointOptions {
    /// The job's folder below an address.
    ///
    /// # Errors
    /// When the address is none.
    pub fn open(&self, address: &str) -> Result<CheckpointStore> {
        let opened = match &self.store {
            Some(store) => {
                let root = Path::from(address).join(self.folder());
                CheckpointStore::new(Arc::clone(store), root, address)
            }
            None => CheckpointStore::open(address, &self.folder(), &self.store_options)?,
        };
        Ok(opened.with_scratch(self.scratch.clone()))
    }

    /// Loads the checkpoint in a folder `…/JOB/chk-N`, or the newest in a folder `…/JOB`.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn load(&self, path: &str) -> Result<Checkpoint> {
        let wrong =
            || Error::Option(format!("'{path}' is no checkpoint's folder: it should end in JOB/chk-NUMBER or in JOB"));
        // Opening would make the folder.
        if self.store.is_none() && !path.contains(':') && !std::path::Path::new(path).is_dir() {
            return Err(Error::Checkpoint { place: path.into(), reason: "there is no such folder".into() });
        }
        let (rest, last) = path.trim_end_matches('/').rsplit_once('/').ok_or_else(wrong)?;
        let folder = |address: &str, job: &str| Self { job: job.into(), ..self.clone() }.open(address);
        let Some(number) = last.strip_prefix("chk-") else {
            return load_newest(&folder(rest, last)?)
                .await?
                .ok_or_else(|| Error::Checkpoint { place: path.into(), reason: "there is no checkpoint".into() });
        };
        let id = number.parse().map_err(|_| wrong())?;
        let (address, job) = rest.rsplit_once('/').ok_or_else(wrong)?;
        Checkpoint::load(&folder(address, job)?, id).await
    }

    /// The job's name as the name of a folder: what is no letter, digit, `-` or `_` becomes `_`.
    pub fn folder(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let name: String = self.job.chars().take(120).map(plain).collect();
        if name.is_empty() { "job".into() } else { name }
    }
}
