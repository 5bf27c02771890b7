//! Writing a checkpoint, beside the steps that follow it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use arrow::array::{Array, RecordBatch};

use super::chunks::encode;
use super::cold::{Encoded, encode_part};
use super::manifest::{ChunkEntry, FileEntry, InFlightEntry, Manifest, PreparedEntry, TableEntry};
use super::store::CheckpointStore;
use super::table::{changes_as_rows, plain};
use crate::change::ChangeBatch;
use crate::connector::Prepared;
use crate::runtime::paging::{ColdRows, ColdTable, NodeState};
use crate::state::StateTable;
use crate::{Error, Result};

/// So many rows are encoded sooner than they are handed to another thread.
const FEW_ROWS: usize = 512;

/// The state of a job between two steps, by reference.
#[derive(Debug, Clone)]
pub(super) struct Frozen {
    /// All but the rows.
    pub manifest: Manifest,
    /// The operators' state, by node; of all workers.
    pub tables: Vec<NodeState>,
    /// What look-ups had out.
    pub in_flight: Vec<FrozenLookup>,
}

/// What a look-up had out.
#[derive(Debug, Clone)]
pub(super) struct FrozenLookup {
    pub node: usize,
    /// The rows, each group with the watermark behind it.
    pub out: Vec<(ChangeBatch, i64)>,
    /// The watermark behind all.
    pub latest: i64,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::runtime) struct Written {
    /// Bytes of new files.
    pub bytes: u64,
    /// Bytes that the whole checkpoint has, those of earlier ones' files included.
    pub total_bytes: u64,
}

/// Writes the checkpoints of a job, and knows what the last one had.
#[derive(Debug)]
pub(super) struct Writer {
    store: CheckpointStore,
    /// Chunks that the last checkpoint had and that the state still held.
    known: HashMap<Identity, Known>,
    /// Where the rows are that the last checkpoint had and that were not in memory, by their identity.
    known_cold: HashMap<u64, ColdPlaces>,
}

/// The columns of rows that were not in memory, and where these are: files, row groups and how many rows each has.
#[derive(Debug, Clone, Default)]
struct ColdPlaces {
    columns: Vec<String>,
    groups: Vec<(FileEntry, usize, usize)>,
}

/// Where a chunk's columns are: equal for two chunks only if they have the same columns.
type Identity = Vec<usize>;

#[derive(Debug, Clone)]
struct Known {
    /// The columns; they may go, but their addresses become no other's as long as these are here.
    _columns: Vec<Weak<dyn Array>>,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    file: FileEntry,
    group: usize,
    /// How many rows the file has in all.
    file_rows: usize,
}

/// One file to be written.
struct Pending {
    path: String,
    chunks: Vec<RecordBatch>,
    identities: Vec<Option<Identity>>,
}

impl Writer {
    pub fn new(store: CheckpointStore) -> Self {
        Self { store, known: HashMap::new(), known_cold: HashMap::new() }
    }

    pub fn store(&self) -> &CheckpointStore {
        &self.store
    }

    /// Writes all rows that are not there yet, and then the manifest.
    ///
    /// # Errors
    /// When the store or Parquet refuses; nothing is published then.
    pub async fn write(&mut self, frozen: Frozen, prepared: Vec<Vec<(u64, Prepared)>>) -> Result<Written> {
        let Frozen { mut manifest, tables, in_flight } = frozen;
        let mut book = Book { id: manifest.id, ..Book::default() };
        let live = self.live_rows(&tables);
        let mut next = HashMap::new();
        let mut next_cold = HashMap::new();
        for (node, state) in tables.into_iter().enumerate() {
            let operator = label(&manifest.operators[node].name);
            for table in state.tables {
                let name = format!("{node:02}-{operator}-{}", label(&table.name));
                let entry = self.table(table, &name, &live, &mut book, &mut next).await?;
                manifest.operators[node].tables.push(entry);
            }
            for table in state.cold {
                let name = format!("{node:02}-{operator}-{}-cold", label(&table.name));
                let entry = self.cold_table(table, &name, &mut book, &mut next_cold).await?;
                manifest.operators[node].tables.push(entry);
            }
        }
        for FrozenLookup { node, out, latest } in in_flight {
            let behind = out.iter().map(|(_, behind)| *behind).collect();
            let rows = out.iter().map(|(rows, _)| changes_as_rows(rows)).collect::<Result<Vec<_>>>()?;
            let name = format!("{node:02}-in-flight");
            let rows = self.rows(rows, &name, &live, &mut book, &mut next).await?;
            manifest.operators[node].in_flight = Some(InFlightEntry { latest, behind, rows });
        }
        for (sink, prepared) in prepared.into_iter().enumerate() {
            for (checkpoint, Prepared { note, rows }) in prepared {
                let name = format!("sink-{sink:02}-{checkpoint:08}");
                let rows = rows.iter().map(changes_as_rows).collect::<Result<Vec<_>>>()?;
                let rows = self.rows(rows, &name, &live, &mut book, &mut next).await?;
                manifest.sinks[sink].prepared.push(PreparedEntry { checkpoint, note, rows });
            }
        }
        let total_bytes = book.files.iter().map(|f| f.bytes).sum();
        manifest.files = book.files;
        self.store.publish(&mut manifest).await?;
        (self.known, self.known_cold) = (next, next_cold);
        Ok(Written { bytes: book.written, total_bytes })
    }

    /// How many rows of each file the state still has: a file most of whose rows are gone is not worth keeping.
    fn live_rows(&self, tables: &[NodeState]) -> HashMap<String, usize> {
        let mut live = HashMap::new();
        for chunk in tables.iter().flat_map(|node| &node.tables).flat_map(|t| &t.rows) {
            if let Some(known) = self.known.get(&identity(chunk)) {
                *live.entry(known.place.file.path.clone()).or_default() += chunk.num_rows();
            }
        }
        live
    }

    async fn rows(
        &self,
        rows: Vec<RecordBatch>,
        name: &str,
        live: &HashMap<String, usize>,
        book: &mut Book,
        next: &mut HashMap<Identity, Known>,
    ) -> Result<Option<TableEntry>> {
        if rows.is_empty() {
            return Ok(None);
        }
        self.table(plain("rows", rows), name, live, book, next).await.map(Some)
    }

    async fn table(
        &self,
        table: StateTable,
        name: &str,
        live: &HashMap<String, usize>,
        book: &mut Book,
        next: &mut HashMap<Identity, Known>,
    ) -> Result<TableEntry> {
        let schema = table.rows.first().map(RecordBatch::schema);
        let columns = schema.iter().flat_map(|s| s.fields().iter().map(|f| f.name().clone())).collect();
        let mut pending = Pending { path: book.path(name), chunks: Vec::new(), identities: Vec::new() };
        // For each chunk its file's number, or none for those of the new file.
        let mut places: Vec<(Option<usize>, usize, usize)> = Vec::with_capacity(table.rows.len());
        for chunk in table.rows.into_iter().filter(|c| c.num_rows() > 0) {
            let identity = identity(&chunk);
            let known = self.known.get(&identity).filter(|k| {
                live.get(&k.place.file.path).is_some_and(|live| live.saturating_mul(2) >= k.place.file_rows)
            });
            match known {
                Some(known) => {
                    places.push((Some(book.number(&known.place.file)), known.place.group, chunk.num_rows()));
                    next.insert(identity, known.clone());
                }
                None => {
                    places.push((None, pending.chunks.len(), chunk.num_rows()));
                    pending.identities.push(is_shared(&chunk).then_some(identity));
                    pending.chunks.push(chunk);
                }
            }
        }
        let own = if pending.chunks.is_empty() { None } else { Some(self.put(pending, book, next).await?) };
        let chunk = |(file, group, rows): (Option<usize>, usize, usize)| {
            let file = file.or(own).ok_or_else(|| Error::internal("a chunk without a file"))?;
            Ok(ChunkEntry { file, group, rows })
        };
        let chunks = places.into_iter().map(chunk).collect::<Result<_>>()?;
        Ok(TableEntry { name: table.name.to_string(), placement: (&table.placement).into(), columns, chunks })
    }

    /// Writes rows that are not in memory, a file after the other; parts that the last checkpoint had are there.
    async fn cold_table(
        &self,
        table: ColdTable,
        name: &str,
        book: &mut Book,
        next: &mut HashMap<u64, ColdPlaces>,
    ) -> Result<TableEntry> {
        let (mut columns, mut chunks) = (Vec::new(), Vec::new());
        for part in table.parts {
            let identity = part.identity();
            let known = identity.and_then(|id| self.known_cold.get(&id)).cloned();
            let places = match known {
                Some(places) => places,
                None => self.put_part(part, name, book).await?,
            };
            for (file, group, rows) in &places.groups {
                chunks.push(ChunkEntry { file: book.number(file), group: *group, rows: *rows });
            }
            if !places.columns.is_empty() {
                columns.clone_from(&places.columns);
            }
            identity.into_iter().for_each(|id| drop(next.insert(id, places.clone())));
        }
        Ok(TableEntry { name: table.name.to_string(), placement: (&table.placement).into(), columns, chunks })
    }

    async fn put_part(&self, part: Arc<dyn ColdRows>, name: &str, book: &mut Book) -> Result<ColdPlaces> {
        let mut files = encode_part(part);
        let mut places = ColdPlaces::default();
        loop {
            let next = files.recv().await.ok_or_else(|| Error::internal("state on disk was not read to its end"))?;
            let Some(Encoded { bytes, checksum, groups, columns }) = next? else { return Ok(places) };
            let file = FileEntry { path: book.path(name), bytes: bytes.len() as u64, checksum };
            book.written += file.bytes;
            self.store.write(&file.path, bytes).await?;
            places.groups.extend(groups.into_iter().enumerate().map(|(group, rows)| (file.clone(), group, rows)));
            places.columns = columns;
        }
    }

    /// Writes a file; gives its number.
    async fn put(&self, file: Pending, book: &mut Book, next: &mut HashMap<Identity, Known>) -> Result<usize> {
        let Pending { path, chunks, identities } = file;
        let rows: usize = chunks.iter().map(RecordBatch::num_rows).sum();
        let encoded = move || {
            let bytes = encode(&chunks)?;
            let checksum = crc32fast::hash(&bytes);
            Ok((bytes, checksum, chunks))
        };
        let encoded: Result<_> = match rows {
            ..FEW_ROWS => encoded(),
            _ => {
                let encoded = tokio::task::spawn_blocking(encoded).await;
                encoded.map_err(|e| Error::internal(format!("encoding state: {e}")))?
            }
        };
        let (bytes, checksum, chunks) = encoded?;
        let file = FileEntry { path, bytes: bytes.len() as u64, checksum };
        book.written += file.bytes;
        self.store.write(&file.path, bytes).await?;
        let file_rows = chunks.iter().map(RecordBatch::num_rows).sum();
        for (group, (chunk, identity)) in chunks.into_iter().zip(identities).enumerate() {
            if let Some(identity) = identity {
                let columns = chunk.columns().iter().map(Arc::downgrade).collect();
                next.insert(
                    identity,
                    Known { _columns: columns, place: Place { file: file.clone(), group, file_rows } },
                );
            }
        }
        Ok(book.number(&file))
    }
}

/// The files of a checkpoint that is being written.
#[derive(Default)]
struct Book {
    id: u64,
    files: Vec<FileEntry>,
    numbers: HashMap<String, usize>,
    made: usize,
    written: u64,
}

impl Book {
    /// A path for a new file: told apart by a number, as several workers have tables of one name.
    fn path(&mut self, name: &str) -> String {
        self.made += 1;
        format!("{}/{name}.{}.parquet", CheckpointStore::folder(self.id), self.made)
    }

    fn number(&mut self, file: &FileEntry) -> usize {
        if let Some(number) = self.numbers.get(&file.path) {
            return *number;
        }
        self.files.push(file.clone());
        self.numbers.insert(file.path.clone(), self.files.len() - 1);
        self.files.len() - 1
    }
}

/// A name as part of a file's name.
fn label(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.chars().take(48).map(plain).collect::<String>().trim_matches('-').to_string()
}

fn identity(chunk: &RecordBatch) -> Identity {
    chunk.columns().iter().map(|column| Arc::as_ptr(column).cast::<()>() as usize).collect()
}

/// Whether the state holds a chunk's columns, too: what was copied for this checkpoint will not come again.
fn is_shared(chunk: &RecordBatch) -> bool {
    chunk.num_columns() > 0 && chunk.columns().iter().all(|column| Arc::strong_count(column) > 1)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::DataType;
    use object_store::memory::InMemory;

    use super::*;
    use crate::runtime::checkpoint::load_newest;
    use crate::runtime::checkpoint::manifest::OperatorEntry;
    use crate::state::Placement;

    fn rows(from: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 1000));
        RecordBatch::try_from_iter([("a", column)]).unwrap()
    }

    fn frozen(id: u64, chunks: &[RecordBatch]) -> Frozen {
        let operator = OperatorEntry {
            id: "a".into(),
            loose: "a".into(),
            name: "Join".into(),
            detail: String::new(),
            watermark: 0,
            tables: Vec::new(),
            in_flight: None,
        };
        let manifest = Manifest { operators: vec![operator], ..Manifest::empty(id) };
        let table = StateTable { name: "left".into(), placement: Placement::First, rows: chunks.to_vec() };
        Frozen { manifest, tables: vec![vec![table].into()], in_flight: Vec::new() }
    }

    #[tokio::test]
    async fn chunks_that_did_not_change_are_not_written_again() {
        let store = CheckpointStore::new(Arc::new(InMemory::new()), "job".into(), "memory");
        let mut writer = Writer::new(store.clone());
        let mut state = vec![rows(0), rows(1000), rows(2000)];
        let first = writer.write(frozen(1, &state), Vec::new()).await.unwrap();
        assert_eq!(first.bytes, first.total_bytes);
        // Nothing changed, then one chunk came: only that is written.
        let second = writer.write(frozen(2, &state), Vec::new()).await.unwrap();
        assert_eq!((second.bytes, second.total_bytes), (0, first.bytes));
        state.push(rows(3000));
        let third = writer.write(frozen(3, &state), Vec::new()).await.unwrap();
        assert!(third.bytes > 0 && third.bytes < first.bytes, "{third:?}");
        // What equals a chunk and is another one's memory is written.
        state[3] = rows(3000);
        let fourth = writer.write(frozen(4, &state), Vec::new()).await.unwrap();
        assert_eq!(fourth.bytes, third.bytes);
        store.prune(4, 1).await.unwrap();
        let checkpoint = load_newest(&store).await.unwrap().unwrap();
        let restored = checkpoint.table(&checkpoint.manifest.operators[0].tables[0]).unwrap();
        assert_eq!(restored.rows, state);
        // Most of the first file's rows are gone: the rest is written anew, and the file is let go.
        state.drain(..2);
        writer.write(frozen(5, &state), Vec::new()).await.unwrap();
        store.prune(5, 1).await.unwrap();
        let checkpoint = load_newest(&store).await.unwrap().unwrap();
        assert!(checkpoint.manifest.files.iter().all(|file| !file.path.contains("chk-00000001")));
        assert_eq!(checkpoint.table(&checkpoint.manifest.operators[0].tables[0]).unwrap().rows, state);
    }

    /// Rows that are not in memory, and how often they were read.
    #[derive(Debug)]
    struct Elsewhere {
        identity: Option<u64>,
        chunks: Vec<RecordBatch>,
        read: AtomicUsize,
    }

    impl ColdRows for Elsewhere {
        fn identity(&self) -> Option<u64> {
            self.identity
        }

        fn read(&self, each: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
            self.read.fetch_add(1, Relaxed);
            self.chunks.iter().cloned().try_for_each(each)
        }
    }

    fn elsewhere(identity: u64, chunks: Vec<RecordBatch>) -> Arc<Elsewhere> {
        Arc::new(Elsewhere { identity: Some(identity), chunks, read: AtomicUsize::new(0) })
    }

    #[tokio::test]
    async fn rows_on_disk_are_read_once_for_all_checkpoints() {
        let store = CheckpointStore::new(Arc::new(InMemory::new()), "job".into(), "memory");
        let mut writer = Writer::new(store.clone());
        let parts = [elsewhere(1, vec![rows(0), rows(1000)]), elsewhere(2, vec![rows(2000)])];
        let frozen = |id: u64, parts: &[Arc<Elsewhere>]| {
            let mut frozen = frozen(id, &[rows(5000)]);
            let parts = parts.iter().map(|p| Arc::clone(p) as Arc<dyn ColdRows>).collect();
            let table = ColdTable { name: "left".into(), placement: Placement::Key(vec![0]), parts };
            frozen.tables[0].cold.push(table);
            frozen
        };
        writer.write(frozen(1, &parts), Vec::new()).await.unwrap();
        writer.write(frozen(2, &parts), Vec::new()).await.unwrap();
        let reads = parts.each_ref().map(|p| p.read.load(Relaxed));
        assert_eq!(reads, [1, 1]);
        // A part that has changed has another identity.
        writer.write(frozen(3, &[Arc::clone(&parts[0]), elsewhere(3, vec![rows(9000)])]), Vec::new()).await.unwrap();
        store.prune(3, 1).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        for scratch in [None, Some(folder.path().to_path_buf())] {
            let checkpoint = load_newest(&store.clone().with_scratch(scratch)).await.unwrap().unwrap();
            let state = checkpoint.state(&checkpoint.manifest.operators[0].tables).unwrap();
            let restored: Vec<RecordBatch> = state.into_tables().unwrap().into_iter().flat_map(|t| t.rows).collect();
            let restored = arrow::compute::concat_batches(restored[0].schema_ref(), &restored).unwrap();
            let expected = [rows(5000), rows(0), rows(1000), rows(9000)];
            assert_eq!(restored, arrow::compute::concat_batches(expected[0].schema_ref(), &expected).unwrap());
        }
    }

    /// A part that cannot be read to its end makes no checkpoint.
    #[tokio::test]
    async fn rows_that_cannot_be_read_are_no_checkpoint() {
        #[derive(Debug)]
        struct Broken(bool);
        impl ColdRows for Broken {
            fn identity(&self) -> Option<u64> {
                None
            }
            fn read(&self, each: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
                each(rows(0))?;
                assert!(!self.0, "as code may panic");
                Err(Error::internal("as a disk may fail"))
            }
        }
        for panics in [false, true] {
            let store = CheckpointStore::new(Arc::new(InMemory::new()), "job".into(), "memory");
            let mut frozen = frozen(1, &[rows(5000)]);
            let parts: Vec<Arc<dyn ColdRows>> = vec![Arc::new(Broken(panics))];
            frozen.tables[0].cold.push(ColdTable { name: "left".into(), placement: Placement::Key(vec![0]), parts });
            Writer::new(store.clone()).write(frozen, Vec::new()).await.unwrap_err();
            assert!(load_newest(&store).await.unwrap().is_none());
        }
    }

    /// The same memory as columns of another type is another chunk.
    #[tokio::test]
    async fn a_cast_is_another_chunk() {
        let store = CheckpointStore::new(Arc::new(InMemory::new()), "job".into(), "memory");
        let mut writer = Writer::new(store.clone());
        let state = [rows(0)];
        writer.write(frozen(1, &state), Vec::new()).await.unwrap();
        let times = DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None);
        let cast = arrow::compute::cast(state[0].column(0), &times).unwrap();
        let cast = [RecordBatch::try_from_iter([("a", cast)]).unwrap()];
        writer.write(frozen(2, &cast), Vec::new()).await.unwrap();
        let checkpoint = load_newest(&store).await.unwrap().unwrap();
        assert_eq!(checkpoint.table(&checkpoint.manifest.operators[0].tables[0]).unwrap().rows, cast);
    }
}
