//! Keys to dense numbers.

mod general;
mod packed;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};

use self::general::GeneralKeys;
use self::packed::PackedKeys;
use super::Remap;
#[cfg(doc)]
use super::remap::GONE;
use crate::Result;

/// The values of key columns, each combination with a number of its own, from 0 on. NULL equals NULL.
pub struct Keys {
    schema: SchemaRef,
    /// `None` without key columns: then there is one key.
    index: Option<Box<dyn Index>>,
}

/// How key values are kept and found.
trait Index: Send {
    fn intern(&mut self, columns: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> Result<()>;
    /// As `intern`, but where it costs nothing keys without a number are left without: [`GONE`].
    fn find(&mut self, columns: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> Result<()> {
        self.intern(columns, rows, ids)
    }
    fn len(&self) -> usize;
    fn take(&self, ids: &[u32]) -> Result<Vec<ArrayRef>>;
    /// Keeps some keys only, given in ascending order.
    fn retain(&mut self, kept: &[u32]) -> Result<Remap>;
    fn bytes(&self) -> usize;
}

/// How many keys are handled at a time.
const PART: usize = 8192;

impl Keys {
    /// For key columns of a schema. Without columns there is one key from the beginning, 0.
    ///
    /// # Errors
    /// When a type cannot be grouped by.
    pub fn try_new(schema: SchemaRef) -> Result<Self> {
        let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let index: Option<Box<dyn Index>> = match packed::width(&schema) {
            _ if schema.fields().is_empty() => None,
            Some(1..=8) => Some(Box::new(PackedKeys::<u64>::new(&schema))),
            Some(..=16) => Some(Box::new(PackedKeys::<u128>::new(&schema))),
            _ => Some(Box::new(GeneralKeys::try_new(Arc::clone(&schema))?)),
        };
        Ok(Self { schema, index })
    }

    /// The number of each row's key, into `ids`; new keys get the next numbers.
    ///
    /// # Errors
    /// When the columns are not the schema's, or numbers run out after four billion.
    pub fn intern(&mut self, columns: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> Result<()> {
        ids.clear();
        match &mut self.index {
            Some(index) => index.intern(columns, rows, ids),
            None => {
                ids.resize(rows, 0);
                Ok(())
            }
        }
    }

    /// The number of each row's key, into `ids`. A key that has none gets [`GONE`], or the next number.
    ///
    /// # Errors
    /// As [`Keys::intern`].
    pub fn find(&mut self, columns: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> Result<()> {
        ids.clear();
        match &mut self.index {
            Some(index) => index.find(columns, rows, ids),
            None => {
                ids.resize(rows, 0);
                Ok(())
            }
        }
    }

    /// How many keys there are: those from 0 up to this.
    pub fn len(&self) -> usize {
        self.index.as_ref().map_or(1, |i| i.len())
    }

    /// Whether there is no key yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key columns of some keys, in any order, repeats allowed.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn take(&self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        self.index.as_ref().map_or(Ok(Vec::new()), |i| i.take(ids))
    }

    /// Drops the keys for which `live` is false and numbers the others anew. It goes through all keys: to be called when most
    /// are dead.
    ///
    /// # Errors
    /// When keys cannot be copied.
    pub fn retain(&mut self, live: impl Fn(u32) -> bool) -> Result<Remap> {
        let kept: Vec<u32> = (0..self.len() as u32).filter(|id| live(*id)).collect();
        self.index.as_mut().map_or(Ok(Remap::new(vec![0])), |i| i.retain(&kept))
    }

    /// All keys, in the order of their numbers.
    ///
    /// # Errors
    /// When keys cannot be copied.
    pub fn freeze(&self) -> Result<Vec<RecordBatch>> {
        let all: Vec<u32> = (0..self.len() as u32).collect();
        let batch = |part: &[u32]| {
            let options = RecordBatchOptions::new().with_row_count(Some(part.len()));
            Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), self.take(part)?, &options)?)
        };
        all.chunks(PART).map(batch).collect()
    }

    /// About how many bytes of memory they take.
    pub fn bytes(&self) -> usize {
        self.index.as_ref().map_or(0, |i| i.bytes())
    }
}
