//! What every [`Lookup`] must keep to.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::row::{RowConverter, SortField};
use futures::future::try_join_all;

use super::{Found, Lookup};
use crate::change::take_rows;
use crate::{Error, Result};

/// A table that holds known rows, for [`check_lookup`].
#[derive(Debug, Clone)]
pub struct LookupCase {
    /// All rows of the table, with the columns that are asked for, those of a key in the order in which they are to be given.
    pub rows: RecordBatch,
    /// Where among them the key columns stand, in the order in which they are asked by.
    pub keys: Vec<usize>,
    /// Keys that no row has: as many columns as `keys`, of the same types, without NULLs.
    pub missing: RecordBatch,
}

/// Asks a table for its rows in many ways: no key, each key by itself, all at once, in reverse, with keys that are not there, and
/// several requests at the same time.
///
/// # Errors
/// With what it answered wrongly, or its own error.
pub async fn check_lookup(lookup: &dyn Lookup, case: &LookupCase) -> Result<()> {
    let expected = Expected::of(case)?;
    let there: Vec<u32> = expected.keys.values().filter_map(|rows| rows.first().copied()).collect();
    let there = take_rows(&case.rows.project(&case.keys)?, &UInt32Array::from(there))?;
    let missing = RecordBatch::try_new(there.schema(), case.missing.columns().to_vec())?;
    let all = arrow::compute::concat_batches(&there.schema(), [&missing, &there])?;
    let reversed: Vec<u32> = (0..all.num_rows() as u32).rev().collect();
    let reversed = take_rows(&all, &UInt32Array::from(reversed))?;
    let mut requests = vec![all.slice(0, 0), there, missing, all.clone(), reversed];
    requests.extend((0..all.num_rows()).map(|row| all.slice(row, 1)));
    for keys in &requests {
        expected.check(keys, &lookup.lookup(keys).await?)?;
    }
    let answers = try_join_all(requests.iter().map(|keys| lookup.lookup(keys))).await?;
    requests.iter().zip(&answers).try_for_each(|(keys, found)| expected.check(keys, found))
}

/// The rows of each key.
struct Expected<'a> {
    case: &'a LookupCase,
    key_bytes: RowConverter,
    row_bytes: RowConverter,
    keys: BTreeMap<Box<[u8]>, Vec<u32>>,
}

impl<'a> Expected<'a> {
    fn of(case: &'a LookupCase) -> Result<Self> {
        let converter = |rows: &RecordBatch| {
            let fields = rows.columns().iter().map(|c| SortField::new(c.data_type().clone())).collect();
            RowConverter::new(fields)
        };
        let keys = case.rows.project(&case.keys)?;
        let (key_bytes, row_bytes) = (converter(&keys)?, converter(&case.rows)?);
        let bytes = key_bytes.convert_columns(keys.columns())?;
        let mut by_key: BTreeMap<Box<[u8]>, Vec<u32>> = BTreeMap::new();
        for row in 0..keys.num_rows() {
            if keys.columns().iter().all(|c| c.is_valid(row)) {
                by_key.entry(bytes.row(row).as_ref().into()).or_default().push(row as u32);
            }
        }
        Ok(Self { case, key_bytes, row_bytes, keys: by_key })
    }

    fn check(&self, keys: &RecordBatch, found: &Found) -> Result<()> {
        let wrong = |what: String| Err(Error::Execution(format!("a look-up of {} keys gave {what}", keys.num_rows())));
        let types = |rows: &RecordBatch| rows.columns().iter().map(|c| c.data_type().clone()).collect::<Vec<_>>();
        if types(&found.rows) != types(&self.case.rows) {
            return wrong(format!(
                "columns of types {:?}, wanted are {:?}",
                types(&found.rows),
                types(&self.case.rows)
            ));
        }
        if found.keys.len() != found.rows.num_rows() {
            return wrong(format!("{} rows and {} keys of rows", found.rows.num_rows(), found.keys.len()));
        }
        if let Some(number) = found.keys.values().iter().find(|k| **k as usize >= keys.num_rows()) {
            return wrong(format!("a row of key {number}"));
        }
        let key_bytes = self.key_bytes.convert_columns(keys.columns())?;
        let given = self.row_bytes.convert_columns(found.rows.columns())?;
        let wanted = self.row_bytes.convert_columns(self.case.rows.columns())?;
        for key in 0..keys.num_rows() {
            let of_key = found.keys.values().iter().enumerate().filter(|(_, k)| **k as usize == key);
            let ours: Vec<_> = of_key.map(|(row, _)| given.row(row)).collect();
            let rows = self.keys.get(key_bytes.row(key).as_ref()).map_or(&[][..], Vec::as_slice);
            if !ours.iter().copied().eq(rows.iter().map(|row| wanted.row(*row as usize))) {
                return wrong(format!(
                    "{} rows for key {key}, wanted are {} (or others, or in another order)",
                    ours.len(),
                    rows.len()
                ));
            }
        }
        Ok(())
    }
}
