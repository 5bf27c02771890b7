//! Reading a checkpoint: the newest that is whole.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::chunks::{ChunkFile, Place};
use super::manifest::{ChunkEntry, Manifest, TableEntry};
use super::spool::Spool;
use super::store::CheckpointStore;
use super::table::rows_as_changes;
use crate::change::ChangeBatch;
use crate::runtime::paging::{ColdRows, ColdTable, NodeState};
use crate::state::{Placement, StateTable};
use crate::{Error, Result};

/// A checkpoint whose files are all there and undamaged.
pub struct Checkpoint {
    /// What it holds.
    pub manifest: Manifest,
    /// Newer checkpoints that were passed over because they are damaged: what is wrong with each.
    pub passed_over: Vec<String>,
    files: Arc<Vec<ChunkFile>>,
    store: CheckpointStore,
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

/// Loads the newest checkpoint that is whole, passing over damaged ones with a warning; `None` where there is none at all.
///
/// # Errors
/// When there are checkpoints and none is whole: a job does not begin anew unasked. And when the store does not answer.
pub async fn load_newest(store: &CheckpointStore) -> Result<Option<Checkpoint>> {
    let mut passed_over = Vec::new();
    for found in store.list().await? {
        match Checkpoint::load(store, found.id).await {
            Ok(checkpoint) => return Ok(Some(Checkpoint { passed_over, ..checkpoint })),
            // What cannot be read now may be whole: from an earlier one, what sinks have committed would be written again.
            Err(e) if !is_damage(&e) => return Err(e),
            Err(e) => {
                log::warn!("{e}; an earlier checkpoint is tried");
                passed_over.push(e.to_string());
            }
        }
    }
    match passed_over.first() {
        None => Ok(None),
        Some(e) => {
            let reason = format!("no checkpoint there can be restored; of the newest: {e}");
            Err(Error::Checkpoint { place: store.address(), reason })
        }
    }
}

/// Whether an error says that something is not there, or is not what was written; not that the store does not answer.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Checkpoint { .. } => true,
        Error::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

impl Checkpoint {
    /// Loads a checkpoint and all its files.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] with what is damaged.
    pub async fn load(store: &CheckpointStore, id: u64) -> Result<Self> {
        let manifest = store.manifest(id).await?;
        let mut files = Vec::with_capacity(manifest.files.len());
        for file in &manifest.files {
            let gone = |e: Error| match e {
                gone if is_damage(&gone) => store.damaged(&file.path, gone.to_string()),
                other => other,
            };
            let (checksum, place) = match store.scratch() {
                Some(dir) => {
                    let mut spool = Spool::create(dir)?;
                    let checksum = store.copy(&file.path, file.bytes, &mut spool).await.map_err(gone)?;
                    (checksum, Place::Disk(spool))
                }
                None => {
                    let bytes = store.read(&file.path, file.bytes).await.map_err(gone)?;
                    (crc32fast::hash(&bytes), Place::Memory(bytes))
                }
            };
            if checksum != file.checksum {
                return Err(store.damaged(&file.path, "it is damaged: its checksum does not fit".into()));
            }
            files.push(ChunkFile::open(place).map_err(|reason| store.damaged(&file.path, reason))?);
        }
        Ok(Self { manifest, passed_over: Vec::new(), files: Arc::new(files), store: store.clone() })
    }

    /// Its folder.
    pub fn address(&self) -> String {
        format!("{}/{}", self.store.address(), CheckpointStore::folder(self.manifest.id))
    }

    /// The rows of a table.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the files hold something else than the manifest says.
    pub fn table(&self, entry: &TableEntry) -> Result<StateTable> {
        let stored = self.stored(entry)?;
        let rows = stored.chunks.iter().map(|chunk| stored.chunk(chunk)).collect::<Result<_>>()?;
        Ok(StateTable { name: entry.name.clone().into(), placement: (&entry.placement).into(), rows })
    }

    /// The state of a node: where the files are on disk, what belongs to keys stays there.
    ///
    /// # Errors
    /// As [`Checkpoint::table`].
    pub(super) fn state(&self, entries: &[TableEntry]) -> Result<NodeState> {
        let mut state = NodeState::default();
        for entry in entries {
            match (self.store.scratch(), Placement::from(&entry.placement)) {
                (Some(_), placement @ Placement::Key(_)) => {
                    let parts = vec![Arc::new(self.stored(entry)?) as Arc<dyn ColdRows>];
                    state.cold.push(ColdTable { name: entry.name.clone().into(), placement, parts });
                }
                _ => state.tables.push(self.table(entry)?),
            }
        }
        Ok(state)
    }

    fn stored(&self, entry: &TableEntry) -> Result<StoredRows> {
        let listed = |chunk: &ChunkEntry| chunk.file < self.manifest.files.len().min(self.files.len());
        if !entry.chunks.iter().all(listed) {
            return Err(self.wrong(format!("table '{}' names a file that is not listed", entry.name)));
        }
        if let Placement::Key(columns) = Placement::from(&entry.placement)
            && columns.iter().any(|c| *c >= entry.columns.len() && !entry.chunks.is_empty())
        {
            return Err(self.wrong(format!("table '{}' has key columns that it does not have", entry.name)));
        }
        Ok(StoredRows {
            files: Arc::clone(&self.files),
            paths: self.manifest.files.iter().map(|f| f.path.clone()).collect(),
            store: self.store.clone(),
            columns: entry.columns.clone(),
            chunks: entry.chunks.clone(),
        })
    }

    /// Changes, chunk by chunk.
    ///
    /// # Errors
    /// As [`Checkpoint::table`].
    pub fn changes(&self, entry: &TableEntry) -> Result<Vec<ChangeBatch>> {
        let table = self.table(entry)?;
        let changes = table.rows.iter().map(rows_as_changes);
        changes.collect::<Result<_, String>>().map_err(|reason| self.wrong(format!("table '{}': {reason}", entry.name)))
    }

    /// An error met while restoring, with the checkpoint's name.
    pub(in crate::runtime) fn unusable(&self, error: Error) -> Error {
        match error {
            Error::Checkpoint { .. } => error,
            other => self.wrong(format!("it cannot be restored: {other}")),
        }
    }

    pub(super) fn wrong(&self, reason: String) -> Error {
        self.store.damaged(&CheckpointStore::folder(self.manifest.id), reason)
    }
}

/// The rows of a table, in the files of a checkpoint.
struct StoredRows {
    files: Arc<Vec<ChunkFile>>,
    /// By file.
    paths: Vec<String>,
    store: CheckpointStore,
    columns: Vec<String>,
    chunks: Vec<ChunkEntry>,
}

impl StoredRows {
    fn chunk(&self, chunk: &ChunkEntry) -> Result<RecordBatch> {
        let read = self.files[chunk.file].chunk(chunk.group, chunk.rows, &self.columns);
        read.map_err(|reason| self.damaged(chunk, reason))
    }

    fn damaged(&self, chunk: &ChunkEntry, reason: String) -> Error {
        self.store.damaged(&self.paths[chunk.file], reason)
    }
}

impl std::fmt::Debug for StoredRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredRows").field("chunks", &self.chunks).finish_non_exhaustive()
    }
}

impl ColdRows for StoredRows {
    fn identity(&self) -> Option<u64> {
        None
    }

    fn read(&self, each: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        for chunk in &self.chunks {
            let damaged = |reason| self.damaged(chunk, reason);
            let batches = self.files[chunk.file].batches(chunk.group, chunk.rows, &self.columns);
            for batch in batches.map_err(damaged)? {
                each(batch.map_err(damaged)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use object_store::memory::InMemory;

    use super::super::chunks::encode;
    use super::super::manifest::{FileEntry, PlacementEntry};
    use super::*;

    const ROWS: i64 = 20_000;

    /// A checkpoint of one file of two row groups, and the table in it.
    async fn saved() -> (CheckpointStore, TableEntry) {
        let store = CheckpointStore::new(Arc::new(InMemory::new()), "job".into(), "memory");
        let chunk = |from: i64| {
            let column: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + ROWS));
            RecordBatch::try_from_iter([("a", column)]).unwrap()
        };
        let chunks = vec![chunk(0), chunk(ROWS)];
        let bytes = encode(&chunks).unwrap();
        let path = format!("{}/a.parquet", CheckpointStore::folder(1));
        let file = FileEntry { path: path.clone(), bytes: bytes.len() as u64, checksum: crc32fast::hash(&bytes) };
        store.write(&path, bytes).await.unwrap();
        let mut manifest = Manifest { files: vec![file], ..Manifest::empty(1) };
        store.publish(&mut manifest).await.unwrap();
        let group = |group: usize| ChunkEntry { file: 0, group, rows: ROWS as usize };
        let table = TableEntry {
            name: "left".into(),
            placement: PlacementEntry::Key(vec![0]),
            columns: vec!["b".into()],
            chunks: vec![group(0), group(1)],
        };
        (store, table)
    }

    #[tokio::test]
    async fn rows_on_disk_come_a_few_at_a_time_to_all_who_read() {
        let (store, table) = saved().await;
        let folder = tempfile::tempdir().unwrap();
        let store = store.with_scratch(Some(folder.path().to_path_buf()));
        let state = Checkpoint::load(&store, 1).await.unwrap().state(&[table]).unwrap();
        let part = &state.cold[0].parts[0];
        let read = || {
            let mut sum = 0;
            part.read(&mut |rows| {
                assert!(rows.num_rows() <= 8192 && rows.schema().field(0).name() == "b");
                sum += rows.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().iter().sum::<i64>();
                Ok(())
            })
            .unwrap();
            sum
        };
        let expected: i64 = (0..2 * ROWS).sum();
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..4).map(|_| scope.spawn(read)).collect();
            readers.into_iter().for_each(|reader| assert_eq!(reader.join().unwrap(), expected));
        });
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    /// An earlier checkpoint would not help, and what sinks have committed since would be written again.
    #[tokio::test]
    async fn a_disk_that_takes_nothing_is_no_damage() {
        let (store, _) = saved().await;
        let store = store.with_scratch(Some("/no/such/folder".into()));
        let error = load_newest(&store).await.unwrap_err();
        assert!(matches!(&error, Error::Io { .. }) && error.to_string().contains("/no/such/folder"), "{error}");
    }

    #[tokio::test]
    async fn damage_is_found_on_the_way_to_disk() {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("{}/a.parquet", CheckpointStore::folder(1));
        let spoil: [fn(&mut Vec<u8>); 3] = [|bytes| bytes[100] ^= 1, |bytes| bytes.truncate(200), Vec::clear];
        for spoil in spoil {
            let (store, _) = saved().await;
            let mut manifest = store.manifest(1).await.unwrap();
            let mut bytes = store.read(&name, manifest.files[0].bytes).await.unwrap().to_vec();
            spoil(&mut bytes);
            let objects = InMemory::new();
            let spoiled = CheckpointStore::new(Arc::new(objects), "job".into(), "memory");
            spoiled.write(&name, bytes).await.unwrap();
            spoiled.publish(&mut manifest).await.unwrap();
            let store = spoiled.with_scratch(Some(folder.path().to_path_buf()));
            let error = load_newest(&store).await.unwrap_err();
            assert!(matches!(&error, Error::Checkpoint { .. }), "{error}");
        }
    }
}
