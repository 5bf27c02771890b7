//! Rows by number, in columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, make_comparator};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{SortOptions, concat_batches, filter_record_batch, interleave, take};
use arrow::datatypes::SchemaRef;

use super::Remap;
use crate::change::array_bytes;
use crate::{Error, Result};

/// Batches of at least so many rows are kept as they are; smaller ones are joined with their neighbours.
const WHOLE_ROWS: usize = 2048;
/// Small batches are joined into chunks of at most so many rows.
const JOINED_ROWS: usize = 8192;
/// With fewer dead rows compaction is not worth its while.
const COMPACT_FROM: usize = 4096;

/// Rows by number, in columns: the narrow trait that state is kept behind, wherever it lives.
///
/// Rows get consecutive numbers when they come and never change. They are dropped in two stages: [`remove`](RowStore::remove)
/// marks a row, and [`compact`](RowStore::compact) gives its place away, and the others new numbers.
pub trait RowStore: Send {
    /// The rows' columns.
    fn schema(&self) -> &SchemaRef;

    /// Adds rows and gives the number of the first; the others follow. Large batches are shared, not copied.
    ///
    /// # Errors
    /// When the columns are not the schema's, or numbers run out after four billion.
    fn append(&mut self, rows: &RecordBatch) -> Result<u32>;

    /// Marks a row as dead.
    fn remove(&mut self, id: u32);

    /// Whether a row is there.
    fn is_live(&self, id: u32) -> bool;

    /// How many numbers were given: those from 0 up to this.
    fn ids(&self) -> u32;

    /// How many rows are there.
    fn len(&self) -> usize;

    /// Whether no row is there.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some columns of some rows, in any order, repeats allowed. Dead rows can be read until compaction.
    ///
    /// # Errors
    /// When there is no such row or column.
    fn take_columns(&self, columns: &[usize], ids: &[u32]) -> Result<Vec<ArrayRef>>;

    /// For each pair whether the row of that number equals, column by column, the row of `rows` at that place. NULL equals
    /// NULL, and NaN equals NaN.
    ///
    /// # Errors
    /// When there is no such row, or types cannot be compared.
    fn equal(&self, ids: &[u32], rows: &RecordBatch, at: &[u32]) -> Result<Vec<bool>>;

    /// Whether most rows are dead.
    fn wants_compaction(&self) -> bool;

    /// Drops dead rows and numbers the others anew, in their order.
    ///
    /// # Errors
    /// When rows cannot be copied.
    fn compact(&mut self) -> Result<Remap>;

    /// The rows that are there, in the order of their numbers.
    ///
    /// # Errors
    /// When rows cannot be copied.
    fn freeze(&self) -> Result<Vec<RecordBatch>>;

    /// About how many bytes of memory they take.
    fn bytes(&self) -> usize;

    /// One column of some rows.
    ///
    /// # Errors
    /// As [`RowStore::take_columns`].
    fn take_column(&self, column: usize, ids: &[u32]) -> Result<ArrayRef> {
        let taken = self.take_columns(&[column], ids)?;
        taken.into_iter().next().ok_or_else(|| Error::internal("a column that was not taken"))
    }

    /// Some rows.
    ///
    /// # Errors
    /// As [`RowStore::take_columns`].
    fn take(&self, ids: &[u32]) -> Result<RecordBatch> {
        let columns: Vec<usize> = (0..self.schema().fields().len()).collect();
        let taken = self.take_columns(&columns, ids)?;
        let options = RecordBatchOptions::new().with_row_count(Some(ids.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(self.schema()), taken, &options)?)
    }
}

/// A store in memory for rows of a schema.
pub fn row_store(schema: SchemaRef) -> Box<dyn RowStore> {
    Box::new(MemoryRows { schema, chunks: Vec::new(), next: 0, dead: Vec::new(), dead_rows: 0 })
}

struct Chunk {
    /// The number of its first row.
    start: u32,
    rows: RecordBatch,
    bytes: usize,
}

impl Chunk {
    fn new(start: u32, rows: RecordBatch) -> Self {
        Self { start, bytes: rows.columns().iter().map(array_bytes).sum(), rows }
    }

    fn len(&self) -> usize {
        self.rows.num_rows()
    }
}

struct MemoryRows {
    schema: SchemaRef,
    /// In the order of their rows' numbers, without gaps.
    chunks: Vec<Chunk>,
    next: u32,
    /// A bit a row, as far as rows are dead.
    dead: Vec<u64>,
    dead_rows: usize,
}

/// Where rows are: chunks, and for each row its place among these and in its chunk.
struct Located {
    chunks: Vec<usize>,
    places: Vec<(usize, usize)>,
}

/// For each chunk its place among those that are looked at, `usize::MAX` for the others. A look at a few rows must not cost as
/// much as there are chunks.
enum Slots {
    All(Vec<usize>),
    Few(HashMap<usize, usize>),
}

impl Slots {
    fn new(rows: usize, chunks: usize) -> Self {
        if rows.saturating_mul(64) < chunks { Slots::Few(HashMap::new()) } else { Slots::All(vec![usize::MAX; chunks]) }
    }

    fn of(&mut self, chunk: usize) -> &mut usize {
        match self {
            Slots::All(slots) => &mut slots[chunk],
            Slots::Few(slots) => slots.entry(chunk).or_insert(usize::MAX),
        }
    }
}

impl MemoryRows {
    fn locate(&self, ids: &[u32]) -> Result<Located> {
        let mut slots = Slots::new(ids.len(), self.chunks.len());
        let mut located = Located { chunks: Vec::new(), places: Vec::with_capacity(ids.len()) };
        let mut range = 0..0;
        let mut slot = 0;
        for id in ids {
            if !range.contains(id) {
                let chunk = self.chunks.partition_point(|c| c.start <= *id).wrapping_sub(1);
                let found = self.chunks.get(chunk).filter(|_| *id < self.next);
                let found = found.ok_or_else(|| Error::internal("a row that is not in state"))?;
                range = found.start..found.start + found.len() as u32;
                slot = *slots.of(chunk);
                if slot == usize::MAX {
                    slot = located.chunks.len();
                    *slots.of(chunk) = slot;
                    located.chunks.push(chunk);
                }
            }
            located.places.push((slot, (id - range.start) as usize));
        }
        Ok(located)
    }

    fn push(&mut self, rows: RecordBatch) -> Result<()> {
        let start = self.next;
        let end = u32::try_from(rows.num_rows()).ok().and_then(|n| start.checked_add(n)).filter(|e| *e < u32::MAX);
        self.next =
            end.ok_or_else(|| Error::Execution("an operator's state has more than four billion rows".into()))?;
        if rows.num_rows() > 0 {
            self.chunks.push(Chunk::new(start, rows));
            self.join_small()?;
        }
        Ok(())
    }

    /// Joins the last chunks while they are small and about of one size: each row is copied a few times at most.
    fn join_small(&mut self) -> Result<()> {
        while let [.., before, last] = self.chunks.as_slice() {
            let joined = before.len() + last.len();
            if last.len() >= WHOLE_ROWS || joined > JOINED_ROWS || before.len() > last.len() * 2 {
                return Ok(());
            }
            let start = before.start;
            let rows = concat_batches(&self.schema, [&before.rows, &last.rows])?;
            self.chunks.truncate(self.chunks.len() - 2);
            self.chunks.push(Chunk::new(start, rows));
        }
        Ok(())
    }

    /// Which rows of a chunk are there; `None` when all are.
    fn live_of(&self, chunk: &Chunk) -> Option<BooleanArray> {
        let end = chunk.start + chunk.len() as u32;
        let alive = (chunk.start..end).filter(|id| self.is_live(*id)).count();
        if alive == chunk.len() {
            return None;
        }
        let live = BooleanBuffer::collect_bool(chunk.len(), |i| self.is_live(chunk.start + i as u32));
        Some(BooleanArray::new(live, None))
    }

    fn live_rows(&self, chunk: &Chunk) -> Result<RecordBatch> {
        match self.live_of(chunk) {
            None => Ok(chunk.rows.clone()),
            Some(live) => Ok(filter_record_batch(&chunk.rows, &live)?),
        }
    }
}

impl RowStore for MemoryRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn append(&mut self, rows: &RecordBatch) -> Result<u32> {
        let first = self.next;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), rows.columns().to_vec(), &options)?;
        self.push(rows)?;
        Ok(first)
    }

    fn remove(&mut self, id: u32) {
        if id >= self.next || !self.is_live(id) {
            return;
        }
        let word = (id / 64) as usize;
        if self.dead.len() <= word {
            self.dead.resize(word + 1, 0);
        }
        self.dead[word] |= 1 << (id % 64);
        self.dead_rows += 1;
    }

    fn is_live(&self, id: u32) -> bool {
        id < self.next && self.dead.get((id / 64) as usize).is_none_or(|word| word & (1 << (id % 64)) == 0)
    }

    fn ids(&self) -> u32 {
        self.next
    }

    fn len(&self) -> usize {
        self.next as usize - self.dead_rows
    }

    fn take_columns(&self, columns: &[usize], ids: &[u32]) -> Result<Vec<ArrayRef>> {
        let located = self.locate(ids)?;
        if let [only] = located.chunks.as_slice() {
            let at = UInt32Array::from_iter_values(located.places.iter().map(|(_, row)| *row as u32));
            let chunk = &self.chunks[*only].rows;
            return columns.iter().map(|c| Ok(take(chunk.column(*c), &at, None)?)).collect();
        }
        let gather = |column: &usize| {
            let field = self.schema.field(*column);
            let parts: Vec<&dyn Array> =
                located.chunks.iter().map(|c| self.chunks[*c].rows.column(*column).as_ref()).collect();
            match parts.is_empty() {
                true => Ok(arrow::array::new_empty_array(field.data_type())),
                false => Ok(interleave(&parts, &located.places)?),
            }
        };
        columns.iter().map(gather).collect()
    }

    fn equal(&self, ids: &[u32], rows: &RecordBatch, at: &[u32]) -> Result<Vec<bool>> {
        let located = self.locate(ids)?;
        let mut comparators = Vec::with_capacity(located.chunks.len());
        for chunk in &located.chunks {
            let own = self.chunks[*chunk].rows.columns().iter();
            let pairs = own.zip(rows.columns());
            let columns = pairs.map(|(a, b)| make_comparator(a, b, SortOptions::default()));
            comparators.push(columns.collect::<Result<Vec<_>, _>>()?);
        }
        let same = |((slot, row), at): (&(usize, usize), &u32)| {
            comparators[*slot].iter().all(|compare| compare(*row, *at as usize).is_eq())
        };
        Ok(located.places.iter().zip(at).map(same).collect())
    }

    fn wants_compaction(&self) -> bool {
        self.dead_rows >= COMPACT_FROM && self.dead_rows > self.len()
    }

    fn compact(&mut self) -> Result<Remap> {
        let remap = Remap::keeping(self.next, |id| self.is_live(id));
        let left = self.chunks.iter().map(|c| self.live_rows(c)).collect::<Result<Vec<_>>>()?;
        (self.chunks, self.next, self.dead, self.dead_rows) = (Vec::new(), 0, Vec::new(), 0);
        left.into_iter().try_for_each(|rows| self.push(rows))?;
        Ok(remap)
    }

    fn freeze(&self) -> Result<Vec<RecordBatch>> {
        let live = self.chunks.iter().map(|c| self.live_rows(c));
        live.filter(|rows| rows.as_ref().map_or(true, |r| r.num_rows() > 0)).collect()
    }

    fn bytes(&self) -> usize {
        self.chunks.iter().map(|c| c.bytes).sum::<usize>() + self.dead.len() * 8
    }
}
