//! Where checkpoints are kept: a folder of a job in an object store.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::manifest::{MOST_BYTES, Manifest};
use super::spool::Spool;
use crate::{Error, Result};

const MANIFEST: &str = "manifest.json";
const PREFIX: &str = "chk-";
/// How much is in memory of what is copied.
const PIECE: u64 = 8 << 20;
/// Where orders to a running job stand, and what their names, and their answers' names, end in.
const ORDERS: &str = "orders/";
pub(super) const ORDER: &str = ".order.json";
pub(super) const ANSWER: &str = ".answer.json";

/// A job's folder in an object store.
#[derive(Debug, Clone)]
pub struct CheckpointStore {
    store: Arc<dyn ObjectStore>,
    /// The job's folder.
    root: Path,
    /// The same on the local disk: files are synced there.
    local: Option<PathBuf>,
    /// How the address was given, for messages.
    address: String,
    /// Where files are kept while a checkpoint is restored that is not to be in memory.
    scratch: Option<PathBuf>,
}

/// A checkpoint that has a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Its number.
    pub id: u64,
}

impl CheckpointStore {
    /// The folder `job` below an address: a path, or a URL such as `file:///…` or, with the feature `s3`, `s3://bucket/…`. What such a
    /// store has to be told stands in `options`, under Flink's names: `s3.access-key`, `s3.secret-key`, `s3.endpoint`,
    /// `s3.endpoint.region`, `s3.path.style.access`; or under those of `object_store`, such as `aws_session_token`.
    ///
    /// # Errors
    /// When the address is none.
    pub fn open(address: &str, job: &str, options: &BTreeMap<String, String>) -> Result<Self> {
        let wrong = |reason: String| Error::Option(format!("the checkpoint address '{address}': {reason}"));
        let local = match address.split_once("://") {
            None => Some(PathBuf::from(address.strip_prefix("file:").unwrap_or(address))),
            Some(("file", path)) => Some(PathBuf::from(path)),
            Some(_) => None,
        };
        if let Some(folder) = local {
            std::fs::create_dir_all(&folder).map_err(|e| Error::io(format!("creating '{}'", folder.display()), e))?;
            let folder = folder.canonicalize().map_err(|e| Error::io(format!("opening '{}'", folder.display()), e))?;
            let store = LocalFileSystem::new_with_prefix(&folder).map_err(|e| wrong(e.to_string()))?;
            let root = Path::from(job);
            return Ok(Self {
                store: Arc::new(store),
                root,
                local: Some(folder),
                address: address.into(),
                scratch: None,
            });
        }
        let url = url::Url::parse(address).map_err(|e| wrong(e.to_string()))?;
        let (store, path) =
            object_store::parse_url_opts(&url, store_options(options)).map_err(|e| wrong(e.to_string()))?;
        Ok(Self::new(store.into(), path.join(job), address))
    }

    /// A folder of a store of the caller's.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path, address: impl Into<String>) -> Self {
        Self { store, root, local: None, address: address.into(), scratch: None }
    }

    /// The same folder, whose checkpoints' files are kept in a folder of the local disk, without names, while they are restored, and not
    /// in memory.
    pub fn with_scratch(self, scratch: Option<PathBuf>) -> Self {
        Self { scratch, ..self }
    }

    pub(super) fn scratch(&self) -> Option<&std::path::Path> {
        self.scratch.as_deref()
    }

    /// The folders below an address that hold checkpoints, sorted: the jobs' names.
    ///
    /// # Errors
    /// When the address is none, or the store does not answer.
    pub async fn jobs(address: &str, options: &BTreeMap<String, String>) -> Result<Vec<String>> {
        let top = Self::open(address, "", options)?;
        let objects = top.objects().await?;
        let mut jobs: Vec<String> = Vec::new();
        for path in objects.keys() {
            let mut parts = path.split('/');
            if let (Some(job), Some(second)) = (parts.next(), parts.next())
                && second.starts_with(PREFIX)
                && jobs.last().is_none_or(|last| last != job)
            {
                jobs.push(job.to_string());
            }
        }
        Ok(jobs)
    }

    /// How it was addressed, with the job's folder.
    pub fn address(&self) -> String {
        format!("{}/{}", self.address.trim_end_matches('/'), self.root.filename().unwrap_or_default())
    }

    /// The name of a checkpoint's folder.
    pub fn folder(id: u64) -> String {
        format!("{PREFIX}{id:08}")
    }

    /// Which checkpoints there are, the newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(&self) -> Result<Vec<Found>> {
        let objects = self.objects().await?;
        let manifests = objects.keys().filter(|path| path.ends_with(&format!("/{MANIFEST}")));
        let mut found: Vec<Found> = manifests.filter_map(|path| Some(Found { id: id_of(path)? })).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// The highest number that any object bears, 0 where there is none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn highest(&self) -> Result<u64> {
        Ok(self.objects().await?.keys().filter_map(|path| id_of(path)).max().unwrap_or(0))
    }

    /// The paths below the job's folder, and their lengths.
    async fn objects(&self) -> Result<BTreeMap<String, u64>> {
        self.objects_in(&self.root).await
    }

    async fn objects_in(&self, folder: &Path) -> Result<BTreeMap<String, u64>> {
        let listed: Vec<_> =
            self.store.list(Some(folder)).try_collect().await.map_err(|e| self.failed("listing", e))?;
        let below = |object: object_store::ObjectMeta| {
            let mut parts = object.location.prefix_match(&self.root)?.map(|p| p.as_ref().to_string());
            let first = parts.next()?;
            Some((parts.fold(first, |path, part| path + "/" + &part), object.size))
        };
        Ok(listed.into_iter().filter_map(below).collect())
    }

    /// What stands in the job's folder for a running job to do, by name.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(super) async fn orders(&self) -> Result<Vec<String>> {
        let objects = self.objects_in(&self.root.clone().join(ORDERS.trim_end_matches('/'))).await?;
        let name = |path: &String| Some(path.strip_prefix(ORDERS)?.strip_suffix(ORDER)?.to_string());
        Ok(objects.keys().filter_map(name).collect())
    }

    /// Reads an order, or the answer to it.
    ///
    /// # Errors
    /// When it is not there.
    pub(super) async fn order(&self, name: &str, ending: &str) -> Result<Bytes> {
        self.read_most(&format!("{ORDERS}{name}{ending}"), 1 << 16).await
    }

    /// Writes an order, or the answer to it.
    ///
    /// # Errors
    /// As [`CheckpointStore::write`].
    pub(super) async fn put_order(&self, name: &str, ending: &str, bytes: Vec<u8>) -> Result<()> {
        self.write(&format!("{ORDERS}{name}{ending}"), bytes).await
    }

    /// Removes an order, or the answer to it.
    ///
    /// # Errors
    /// When the store refuses.
    pub(super) async fn remove_order(&self, name: &str, ending: &str) -> Result<()> {
        self.remove(&format!("{ORDERS}{name}{ending}")).await
    }

    /// Whether it is on the local disk.
    pub(super) fn is_local(&self) -> bool {
        self.local.is_some()
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// When there is none or it is damaged.
    pub async fn manifest(&self, id: u64) -> Result<Manifest> {
        let path = format!("{}/{MANIFEST}", Self::folder(id));
        let bytes = self.read_most(&path, MOST_BYTES).await?;
        let manifest = Manifest::from_json(&bytes).map_err(|reason| self.damaged(&path, reason))?;
        if manifest.id != id {
            return Err(self.damaged(&path, format!("it is the manifest of checkpoint {}", manifest.id)));
        }
        Ok(manifest)
    }

    /// Reads an object whose length is known.
    ///
    /// # Errors
    /// When it is not there or has another length.
    pub async fn read(&self, path: &str, bytes: u64) -> Result<Bytes> {
        let read = self.read_most(path, bytes).await?;
        if read.len() as u64 != bytes {
            return Err(self.damaged(path, format!("it has {} bytes, and should have {bytes}", read.len())));
        }
        Ok(read)
    }

    /// Copies an object whose length is known to the local disk, a piece at a time; gives its checksum.
    ///
    /// # Errors
    /// As [`CheckpointStore::read`], and when the disk does not take it.
    pub(super) async fn copy(&self, path: &str, bytes: u64, to: &mut Spool) -> Result<u32> {
        let whole = self.path(path)?;
        let failed = |e| self.failed(&format!("reading '{path}'"), e);
        let found = self.store.head(&whole).await.map_err(failed)?.size;
        if found != bytes {
            return Err(self.damaged(path, format!("it has {found} bytes, and should have {bytes}")));
        }
        let mut sum = crc32fast::Hasher::new();
        let mut at = 0;
        while at < bytes {
            let piece = self.store.get_range(&whole, at..bytes.min(at + PIECE)).await.map_err(failed)?;
            if piece.is_empty() {
                return Err(self.damaged(path, format!("it ends after {at} bytes, and should have {bytes}")));
            }
            sum.update(&piece);
            to.add(&piece)?;
            at += piece.len() as u64;
        }
        Ok(sum.finalize())
    }

    async fn read_most(&self, path: &str, most: u64) -> Result<Bytes> {
        let whole = self.path(path)?;
        let got = self.store.get(&whole).await.map_err(|e| self.failed(&format!("reading '{path}'"), e))?;
        if got.meta.size > most {
            return Err(self.damaged(path, format!("it has {} bytes, and should have {most} at most", got.meta.size)));
        }
        got.bytes().await.map_err(|e| self.failed(&format!("reading '{path}'"), e))
    }

    /// Writes an object that is not there yet; it is durable then, and never there in part.
    ///
    /// # Errors
    /// When it is there, or cannot be written.
    pub async fn write(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let whole = self.path(path)?;
        let written = match &self.local {
            Some(folder) => write_local(folder.clone(), &whole, bytes).await?,
            None => {
                let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
                match self.store.put_opts(&whole, PutPayload::from(bytes), options).await {
                    Ok(_) => true,
                    Err(object_store::Error::AlreadyExists { .. }) => false,
                    Err(e) => return Err(self.failed(&format!("writing '{path}'"), e)),
                }
            }
        };
        if written {
            return Ok(());
        }
        Err(Error::Checkpoint {
            place: format!("{}/{path}", self.address()),
            reason: "it is there already: another run of this job takes checkpoints in the same place".into(),
        })
    }

    /// Publishes a manifest: with this, and not before, the checkpoint is there.
    ///
    /// # Errors
    /// As [`CheckpointStore::write`].
    pub async fn publish(&self, manifest: &mut Manifest) -> Result<()> {
        let bytes = manifest.to_json()?;
        self.write(&format!("{}/{MANIFEST}", Self::folder(manifest.id)), bytes).await
    }

    /// Keeps the newest `retained` checkpoints and what they need; removes older ones, and what unfinished ones left. What is
    /// newer than `newest` is let alone: it may be on its way.
    ///
    /// # Errors
    /// When the store does not answer, or a manifest that is to be kept cannot be read: then nothing is removed.
    pub async fn prune(&self, newest: u64, retained: usize) -> Result<()> {
        let objects = self.objects().await?;
        let manifests = objects.keys().filter(|path| path.ends_with(&format!("/{MANIFEST}")));
        let mut ids: Vec<u64> = manifests.filter_map(|path| id_of(path)).filter(|id| *id <= newest).collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        let (kept, dropped) = ids.split_at(retained.max(1).min(ids.len()));
        let mut needed = std::collections::BTreeSet::new();
        for id in kept {
            let manifest = self.manifest(*id).await?;
            needed.extend(manifest.files.into_iter().map(|file| file.path));
            needed.insert(format!("{}/{MANIFEST}", Self::folder(*id)));
        }
        // A manifest goes before what it names, so that a checkpoint is there whole or not at all.
        for id in dropped {
            self.remove(&format!("{}/{MANIFEST}", Self::folder(*id))).await?;
        }
        let old = |path: &&String| id_of(path).is_some_and(|id| id <= newest) && !path.ends_with(MANIFEST);
        for path in objects.keys().filter(old).filter(|path| !needed.contains(*path)) {
            self.remove(path).await?;
        }
        Ok(())
    }

    async fn remove(&self, path: &str) -> Result<()> {
        match self.store.delete(&self.path(path)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(self.failed(&format!("removing '{path}'"), e)),
        }
    }

    /// A path below the job's folder, which must not lead out of it.
    fn path(&self, below: &str) -> Result<Path> {
        let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        if !below.split('/').all(plain) {
            return Err(self.damaged(below, "it is no path of a checkpoint's file".into()));
        }
        Ok(below.split('/').fold(self.root.clone(), |path, part| path.join(part)))
    }

    fn failed(&self, doing: &str, error: object_store::Error) -> Error {
        let kind = match &error {
            object_store::Error::NotFound { .. } => std::io::ErrorKind::NotFound,
            _ => std::io::ErrorKind::Other,
        };
        Error::io(format!("{doing} in '{}'", self.address()), std::io::Error::new(kind, error.to_string()))
    }

    pub(super) fn damaged(&self, path: &str, reason: String) -> Error {
        Error::Checkpoint { place: format!("{}/{path}", self.address()), reason }
    }
}

/// Writes a file that outlasts a loss of power, and is there whole or not at all; false when there is one already.
async fn write_local(top: PathBuf, path: &Path, bytes: Vec<u8>) -> Result<bool> {
    let file = path.parts().fold(top.clone(), |file, part| file.join(part.as_ref()));
    let write = move || {
        let folder = file.parent().unwrap_or(&top);
        std::fs::create_dir_all(folder)?;
        // Not listed, as are the store's own files on their way.
        let mut aside = file.clone().into_os_string();
        aside.push("#1");
        let mut written = std::fs::File::create(&aside)?;
        written.write_all(&bytes)?;
        written.sync_all()?;
        let linked = std::fs::hard_link(&aside, &file);
        std::fs::remove_file(&aside)?;
        match linked {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Ok(false),
            linked => linked?,
        }
        for folder in folder.ancestors().take_while(|f| f.starts_with(&top)) {
            std::fs::File::open(folder)?.sync_all()?;
        }
        Ok(true)
    };
    let written = tokio::task::spawn_blocking(write).await;
    let written = written.map_err(|e| Error::internal(format!("writing a checkpoint: {e}")))?;
    written.map_err(|e| Error::io(format!("writing '{path}'"), e))
}

/// The options under the names that `object_store` knows.
fn store_options(options: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (key, value) in options {
        let (key, value) = match key.as_str() {
            "s3.access-key" => ("aws_access_key_id", value.as_str()),
            "s3.secret-key" => ("aws_secret_access_key", value.as_str()),
            "s3.endpoint" => {
                all.push(("aws_allow_http".into(), value.starts_with("http://").to_string()));
                ("aws_endpoint", value.as_str())
            }
            "s3.endpoint.region" => ("aws_region", value.as_str()),
            "s3.path.style.access" if value == "true" => ("aws_virtual_hosted_style_request", "false"),
            "s3.path.style.access" => ("aws_virtual_hosted_style_request", "true"),
            other => (other, value.as_str()),
        };
        all.push((key.to_string(), value.to_string()));
    }
    all
}

/// The checkpoint that an object belongs to, by its path.
fn id_of(path: &str) -> Option<u64> {
    path.split('/').next()?.strip_prefix(PREFIX)?.parse().ok()
}
