//! What a node of one worker has on disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::row::Rows;
use hashbrown::HashTable;

use super::allocator::release_free_memory;
use super::bloom::mix;
use super::cold::{ColdRows, ColdTable};
use super::rows::{Codecs, Payload, TableCodec, write_row};
use super::segment::{BlockBuffer, Cursor, Segment, SegmentWriter};
use crate::state::StateTable;
use crate::{Error, Result};

/// When there are so many segments of one size they become one of the next.
const MERGED: usize = 8;
/// How many rows are decoded at a time.
const BATCH_ROWS: usize = 4096;

/// The state of keys that were put aside: segments, in which each key stands at most once.
#[derive(Debug)]
pub(super) struct ColdStore {
    dir: PathBuf,
    segments: Vec<Part>,
    /// Keys that some segment has and that are in memory again: it need not be asked for them.
    awake: HashTable<u64>,
}

/// A segment, and what of it is no longer there.
#[derive(Debug, Clone)]
struct Part {
    segment: Arc<Segment>,
    /// A bit an entry, for those that are in memory again.
    dead: Arc<Vec<u64>>,
    dead_entries: usize,
    dead_rows: u64,
    /// How often segments were merged to make it.
    level: u32,
    /// The processing time of the step behind which the last of it was put aside; `i64::MAX` where that is not known yet.
    written_by: i64,
    /// Another one whenever an entry dies; no other part of this process has it.
    version: u64,
}

fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Part {
    fn new(segment: Segment, level: u32, written_by: i64) -> Self {
        let dead = Arc::new(vec![0; segment.len().div_ceil(64)]);
        let segment = Arc::new(segment);
        Self { segment, dead, dead_entries: 0, dead_rows: 0, level, written_by, version: next_version() }
    }

    fn is_dead(&self, entry: u32) -> bool {
        self.dead.get(entry as usize / 64).is_some_and(|word| word >> (entry % 64) & 1 == 1)
    }

    fn bury(&mut self, entry: u32, rows: u32) {
        Arc::make_mut(&mut self.dead)[entry as usize / 64] |= 1 << (entry % 64);
        self.dead_entries += 1;
        self.dead_rows += u64::from(rows);
        self.version = next_version();
    }

    fn live(&self) -> usize {
        self.segment.len() - self.dead_entries
    }
}

impl ColdStore {
    /// An empty one that writes below a folder.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), segments: Vec::new(), awake: HashTable::new() }
    }

    /// Whether nothing is on disk.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// How many rows are on disk.
    pub fn rows(&self) -> u64 {
        self.segments.iter().map(|s| s.segment.rows() - s.dead_rows).sum()
    }

    /// How many bytes the files have.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.segment.bytes()).sum()
    }

    /// What it takes in memory.
    pub fn memory(&self) -> usize {
        let segments = self.segments.iter().map(|s| s.segment.memory() + s.dead.len() * 8).sum::<usize>();
        segments + self.awake.capacity() * 9
    }

    /// A walk over keys, in the order of their hashes.
    pub fn walk(&mut self) -> Walk<'_> {
        let buffers = self.segments.iter().map(|_| BlockBuffer::default()).collect();
        Walk { store: self, buffers }
    }

    /// Puts keys aside, none of which is there, behind a step of a processing time. `keeps` says which keys stay in memory.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn put(&mut self, aside: Aside, now: Option<i64>, keeps: impl Fn(u64) -> bool) -> Result<()> {
        self.awake.retain(|hash| keeps(*hash));
        if aside.index.is_empty() {
            return Ok(());
        }
        self.segments.push(Part::new(aside.write(&self.dir)?, 0, now.unwrap_or(i64::MAX)));
        release_free_memory();
        self.tidy()
    }

    /// Lets go of what has not been touched for so long, in milliseconds of processing time: whole segments.
    pub fn expire(&mut self, now: i64, ttl: i64) {
        self.segments.iter_mut().filter(|s| s.written_by == i64::MAX).for_each(|s| s.written_by = now);
        self.segments.retain(|s| s.written_by.saturating_add(ttl) > now);
    }

    /// Lets segments go of which nothing is left, and merges those of one size where they have become many, or mostly dead.
    fn tidy(&mut self) -> Result<()> {
        self.segments.retain(|s| s.live() > 0);
        let dead = self.segments.iter().position(|s| s.dead_entries > s.live());
        if let Some(at) = dead {
            let part = self.segments.remove(at);
            let merged = self.merge(std::slice::from_ref(&part), part.level)?;
            self.segments.insert(at, merged);
        }
        while let Some(level) = self.crowded() {
            let (parts, rest) = std::mem::take(&mut self.segments).into_iter().partition(|s| s.level == level);
            self.segments = rest;
            let parts: Vec<Part> = parts;
            let merged = self.merge(&parts, level + 1)?;
            self.segments.push(merged);
        }
        Ok(())
    }

    fn crowded(&self) -> Option<u32> {
        let of = |level: u32| self.segments.iter().filter(|s| s.level == level).count();
        self.segments.iter().map(|s| s.level).find(|level| of(*level) >= MERGED)
    }

    fn merge(&self, parts: &[Part], level: u32) -> Result<Part> {
        let mut writer = SegmentWriter::create(&self.dir, parts.iter().map(Part::live).sum())?;
        let mut cursors: Vec<(&Part, Cursor<'_>)> = parts.iter().map(|p| (p, Cursor::new(&p.segment))).collect();
        let mut next = Vec::with_capacity(cursors.len());
        for (part, cursor) in &mut cursors {
            next.push(next_live(part, cursor)?);
        }
        // Few segments are merged at a time: a heap would not pay.
        while let Some((at, _)) = next.iter().enumerate().filter_map(|(i, h)| h.map(|h| (i, h))).min_by_key(|(_, h)| *h)
        {
            let (part, cursor) = &mut cursors[at];
            let entry = cursor.entry()?.ok_or_else(|| Error::internal("an entry that was there"))?;
            let payload = entry.payload.len();
            writer.push(entry.hash, entry.rows, entry.payload)?;
            cursor.pass(payload);
            next[at] = next_live(part, cursor)?;
        }
        let written_by = parts.iter().map(|p| p.written_by).max().unwrap_or(i64::MAX);
        Ok(Part::new(writer.finish()?, level, written_by))
    }

    /// What is there, as it is now.
    pub fn freeze(&self, codecs: &Codecs) -> Vec<ColdTable> {
        let table = |(number, codec): (usize, &Arc<TableCodec>)| {
            let part = |part: &Part| {
                let codec = Arc::clone(codec);
                Arc::new(FrozenPart { part: part.clone(), number, codec }) as Arc<dyn ColdRows>
            };
            let parts = self.segments.iter().filter(|s| s.live() > 0).map(part).collect();
            ColdTable { name: codec.name().clone(), placement: codec.placement(), parts }
        };
        if self.is_empty() { Vec::new() } else { codecs.iter().map(table).collect() }
    }
}

/// Stands at the next entry that is there; gives its hash.
fn next_live(part: &Part, cursor: &mut Cursor<'_>) -> Result<Option<u64>> {
    loop {
        let Some(entry) = cursor.entry()? else { return Ok(None) };
        if !part.is_dead(entry.number) {
            return Ok(Some(entry.hash));
        }
        let payload = entry.payload.len();
        cursor.pass(payload);
    }
}

/// See [`ColdStore::walk`].
pub(super) struct Walk<'a> {
    store: &'a mut ColdStore,
    buffers: Vec<BlockBuffer>,
}

impl Walk<'_> {
    /// Takes a key's rows from disk, if they are there; gives how many bytes they had.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn wake(&mut self, hash: u64, woken: &mut Woken) -> Result<usize> {
        let ColdStore { segments, awake, .. } = &mut *self.store;
        if awake.find(mix(hash), |h| *h == hash).is_some() {
            return Ok(0);
        }
        for (part, buffer) in segments.iter_mut().zip(&mut self.buffers) {
            let Some(entry) = part.segment.find(hash, buffer)? else { continue };
            if part.is_dead(entry.number) {
                continue;
            }
            woken.add(entry.payload, |_| true)?;
            let bytes = entry.payload.len();
            let (number, rows) = (entry.number, entry.rows);
            part.bury(number, rows);
            awake.insert_unique(mix(hash), hash, |h| mix(*h));
            return Ok(bytes);
        }
        Ok(0)
    }
}

/// Rows on their way back into memory.
#[derive(Debug, Default)]
pub(super) struct Woken {
    bytes: Vec<u8>,
    /// Of each row its table, and where it stands in `bytes`.
    rows: Vec<(usize, std::ops::Range<usize>)>,
}

impl Woken {
    fn add(&mut self, payload: &[u8], wanted: impl Fn(usize) -> bool) -> Result<()> {
        for row in Payload(payload) {
            let (table, row) = row?;
            if !wanted(table) {
                continue;
            }
            let from = self.bytes.len();
            self.bytes.extend_from_slice(row);
            self.rows.push((table, from..self.bytes.len()));
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows as state; nothing is left.
    ///
    /// # Errors
    /// When they are not those that were put aside.
    pub fn take(&mut self, codecs: &Codecs) -> Result<Vec<StateTable>> {
        let Self { bytes, rows } = std::mem::take(self);
        let table = |(number, codec): (usize, &Arc<TableCodec>)| {
            let own: Vec<&[u8]> = rows.iter().filter(|(t, _)| *t == number).map(|(_, at)| &bytes[at.clone()]).collect();
            let batches = own.chunks(BATCH_ROWS).map(|rows| codec.decode(rows.iter().copied()));
            let rows = batches.collect::<Result<Vec<_>>>()?;
            Ok(StateTable { name: codec.name().clone(), placement: codec.placement(), rows })
        };
        codecs.iter().map(table).collect()
    }
}

/// Rows on their way to disk.
#[derive(Debug, Default)]
pub(super) struct Aside {
    pieces: Vec<Rows>,
    index: Vec<Place>,
}

/// Where a row stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u64,
    table: u32,
    piece: u32,
    row: u32,
}

impl Aside {
    /// Adds some rows of a table.
    ///
    /// # Errors
    /// When the rows are not the table's.
    pub fn add(&mut self, table: usize, codec: &TableCodec, rows: &RecordBatch, hashes: &[u64]) -> Result<()> {
        let (table, piece) = (table as u32, self.pieces.len() as u32);
        self.pieces.push(codec.encode(rows)?);
        self.index.extend((0..).zip(hashes).map(|(row, hash)| Place { hash: *hash, table, piece, row }));
        Ok(())
    }

    fn write(mut self, dir: &Path) -> Result<Segment> {
        // By key, and within a key as they came.
        self.index.sort_unstable_by_key(|at| (at.hash, at.piece, at.row));
        let keys = self.index.chunk_by(|a, b| a.hash == b.hash).count();
        let mut writer = SegmentWriter::create(dir, keys)?;
        let mut payload = Vec::new();
        for rows in self.index.chunk_by(|a, b| a.hash == b.hash) {
            payload.clear();
            for at in rows {
                let row = self.pieces[at.piece as usize].row(at.row as usize);
                write_row(&mut payload, at.table as usize, row.data());
            }
            writer.push(rows[0].hash, rows.len() as u32, &payload)?;
        }
        writer.finish()
    }
}

/// The rows of one table in one segment.
#[derive(Debug)]
struct FrozenPart {
    part: Part,
    number: usize,
    codec: Arc<TableCodec>,
}

impl ColdRows for FrozenPart {
    fn identity(&self) -> Option<u64> {
        Some(self.part.version << 8 | self.number as u64)
    }

    fn read(&self, each: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let mut woken = Woken::default();
        let mut give = |woken: &mut Woken| {
            let Woken { bytes, rows } = std::mem::take(woken);
            each(self.codec.decode(rows.iter().map(|(_, at)| &bytes[at.clone()]))?)
        };
        self.part.segment.scan(&mut |entry| {
            if self.part.is_dead(entry.number) {
                return Ok(());
            }
            woken.add(entry.payload, |table| table == self.number)?;
            if woken.rows.len() >= BATCH_ROWS { give(&mut woken) } else { Ok(()) }
        })?;
        if woken.is_empty() { Ok(()) } else { give(&mut woken) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::collections::btree_map::Entry;

    use arrow::array::{Int64Array, StringArray};
    use rand::{Rng, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;
    use crate::state::Placement;

    fn rows(rows: &[(i64, String)]) -> RecordBatch {
        let keys = Int64Array::from_iter_values(rows.iter().map(|(k, _)| *k));
        let texts = StringArray::from_iter_values(rows.iter().map(|(_, t)| t));
        RecordBatch::try_from_iter([("k", Arc::new(keys) as _), ("t", Arc::new(texts) as _)]).unwrap()
    }

    fn texts(batches: &[RecordBatch]) -> Vec<(i64, String)> {
        let of = |batch: &RecordBatch| {
            let keys = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().clone();
            let texts = batch.column(1).as_any().downcast_ref::<StringArray>().unwrap().clone();
            (0..batch.num_rows()).map(|i| (keys.value(i), texts.value(i).to_string())).collect::<Vec<_>>()
        };
        batches.iter().flat_map(of).collect()
    }

    /// What is put aside comes back as it was, once, whatever was merged in between.
    #[test]
    fn keys_come_back_as_they_went() {
        let dir = tempfile::tempdir().unwrap();
        let empty = StateTable { name: "rows".into(), placement: Placement::Key(vec![0]), rows: Vec::new() };
        for seed in 0..8 {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut store = ColdStore::new(dir.path());
            let mut codecs = Codecs::default();
            let number = codecs.number(&empty, &[0], rows(&[]).schema_ref()).unwrap();
            let mut aside: BTreeMap<u64, Vec<(i64, String)>> = BTreeMap::new();
            for _ in 0..40 {
                let mut going = Aside::default();
                for _ in 0..rng.random_range(0..200) {
                    let hash = rng.random_range(0..2000u64) << 40;
                    let Entry::Vacant(place) = aside.entry(hash) else { continue };
                    let of_key = (0..rng.random_range(1..4)).map(|i| (i, "x".repeat(rng.random_range(0..3000))));
                    let of_key: Vec<_> = of_key.collect();
                    let hashes = vec![hash; of_key.len()];
                    going.add(number, codecs.named("rows").unwrap().1, &rows(&of_key), &hashes).unwrap();
                    place.insert(of_key);
                }
                store.put(going, Some(0), |_| false).unwrap();
                let mut asked: Vec<u64> =
                    (0..rng.random_range(0..300)).map(|_| rng.random_range(0..2000) << 40).collect();
                asked.sort_unstable();
                asked.dedup();
                let mut walk = store.walk();
                for hash in asked {
                    let mut woken = Woken::default();
                    walk.wake(hash, &mut woken).unwrap();
                    let found =
                        if woken.is_empty() { None } else { Some(texts(&woken.take(&codecs).unwrap()[0].rows)) };
                    assert_eq!(found, aside.remove(&hash), "seed {seed}, key {hash}");
                }
                assert_eq!(store.rows(), aside.values().map(|v| v.len() as u64).sum::<u64>(), "seed {seed}");
            }
            let mut frozen = Vec::new();
            for part in store.freeze(&codecs).iter().flat_map(|t| &t.parts) {
                part.read(&mut |batch| {
                    frozen.extend(texts(&[batch]));
                    Ok(())
                })
                .unwrap();
            }
            let mut expected: Vec<_> = aside.into_values().flatten().collect();
            frozen.sort();
            expected.sort();
            assert_eq!(frozen, expected, "seed {seed}");
        }
    }

    #[test]
    fn what_has_expired_goes_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = ColdStore::new(dir.path());
        let mut codecs = Codecs::default();
        let empty = StateTable { name: "rows".into(), placement: Placement::Key(vec![0]), rows: Vec::new() };
        let number = codecs.number(&empty, &[0], rows(&[]).schema_ref()).unwrap();
        for (hash, now) in [(1, None), (2, Some(100))] {
            let mut going = Aside::default();
            going.add(number, codecs.named("rows").unwrap().1, &rows(&[(1, "a".into())]), &[hash]).unwrap();
            store.put(going, now, |_| false).unwrap();
        }
        // What came of a checkpoint counts from the first step on.
        store.expire(50, 60);
        assert_eq!(store.rows(), 2);
        store.expire(110, 60);
        assert_eq!(store.rows(), 1);
        store.expire(160, 60);
        assert!(store.is_empty());
    }
}
