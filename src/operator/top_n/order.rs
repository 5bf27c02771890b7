//! The order of rows, encoded so that comparing is comparing numbers, and bytes where those are equal.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::*;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion_common::hash_utils::{QualityRandomState, create_hashes};

use super::sorted::Entry;
use crate::state::Remap;
use crate::{Error, Result};

/// A column that orders rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderColumn {
    /// The column.
    pub column: usize,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// Whether NULLs come first.
    pub nulls_first: bool,
}

/// Checks that rows can be ordered by some columns.
///
/// # Errors
/// [`Error::Unsupported`] where a type has no order.
pub fn check_order(schema: &Schema, order: &[OrderColumn]) -> Result<()> {
    for o in order {
        let field = schema.field(o.column);
        if !RowConverter::supports_fields(&[SortField::new(field.data_type().clone())]) {
            let message = format!("ORDER BY: rows cannot be ordered by '{}', a {}", field.name(), field.data_type());
            return Err(Error::Unsupported(message));
        }
    }
    Ok(())
}

/// Fixed, so that rows that are equal stand in the same order in every run.
const SEED: u64 = 0x7469_6573;

/// The first bytes of a row's encoded order, the most significant first.
pub(in crate::operator) type Head = [u64; 2];

/// Encodes the order of a batch's rows.
pub(in crate::operator) enum Encoder {
    /// There is no order.
    None,
    /// One column of numbers or times: the head is all.
    Number(OrderColumn),
    /// Any columns, as Arrow's row format has it.
    Rows { columns: Vec<usize>, converter: RowConverter },
}

/// The encoded order of a batch's rows.
pub(in crate::operator) struct Encoded {
    /// By row.
    pub heads: Vec<Head>,
    /// What the heads are the beginnings of; `None` where they are all.
    whole: Option<Rows>,
    /// What orders rows that are equal, by row; empty where the first to arrive stands first.
    ties: Vec<u64>,
}

impl Encoder {
    /// For rows of a schema.
    pub fn try_new(schema: &Schema, order: &[OrderColumn]) -> Result<Self> {
        match order {
            [] => Ok(Encoder::None),
            [one] if is_number(schema.field(one.column).data_type()) => Ok(Encoder::Number(*one)),
            several => {
                let field = |o: &OrderColumn| {
                    let options = SortOptions { descending: o.descending, nulls_first: o.nulls_first };
                    SortField::new_with_options(schema.field(o.column).data_type().clone(), options)
                };
                let converter = RowConverter::new(several.iter().map(field).collect())?;
                Ok(Encoder::Rows { columns: several.iter().map(|o| o.column).collect(), converter })
            }
        }
    }

    /// Whether the head of a row says all of its order.
    pub fn is_exact(&self) -> bool {
        !matches!(self, Encoder::Rows { .. })
    }

    /// The order of some rows.
    pub fn encode(&self, rows: &RecordBatch) -> Result<Encoded> {
        match self {
            Encoder::None => Ok(Encoded::new(vec![[0; 2]; rows.num_rows()], None)),
            Encoder::Number(order) => Ok(Encoded::new(numbers(rows.column(order.column), order)?, None)),
            Encoder::Rows { columns, converter } => {
                let columns: Vec<ArrayRef> = columns.iter().map(|c| rows.column(*c).clone()).collect();
                let whole = converter.convert_columns(&columns)?;
                Ok(Encoded::new(whole.iter().map(|row| head(row.data())).collect(), Some(whole)))
            }
        }
    }
}

impl Encoded {
    fn new(heads: Vec<Head>, whole: Option<Rows>) -> Self {
        Self { heads, whole, ties: Vec::new() }
    }

    /// Orders rows that are equal by a hash of what they hold.
    pub fn with_ties(mut self, rows: &RecordBatch) -> Result<Self> {
        self.ties.resize(rows.num_rows(), 0);
        if rows.num_columns() > 0 {
            create_hashes(rows.columns(), &QualityRandomState::with_seed(SEED), &mut self.ties)?;
        }
        Ok(self)
    }

    /// Puts of rows that are equal the last to arrive first; `arrived` rows have come before.
    pub fn latest_first(mut self, arrived: u64) -> Self {
        self.ties = (0..self.heads.len() as u64).map(|row| u64::MAX - arrived - row).collect();
        self
    }

    /// The rows in order; those that it does not tell apart as they stand.
    pub fn sorted(&self) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..self.heads.len() as u32).collect();
        rows.sort_unstable_by(|a, b| {
            let (first, second) = (*a as usize, *b as usize);
            let heads = self.heads[first].cmp(&self.heads[second]);
            heads.then_with(|| self.bytes(first).cmp(self.bytes(second))).then(a.cmp(b))
        });
        rows
    }

    fn bytes(&self, row: usize) -> &[u8] {
        self.whole.as_ref().map_or(&[], |w| w.row(row).data())
    }
}

/// The first sixteen bytes; what is short is filled up with zeros.
fn head(bytes: &[u8]) -> Head {
    let word = |from: usize| {
        let mut word = [0; 8];
        let part = bytes.get(from..).unwrap_or_default();
        let len = part.len().min(8);
        word[..len].copy_from_slice(&part[..len]);
        u64::from_be_bytes(word)
    };
    [word(0), word(8)]
}

macro_rules! by_number_type {
    ($data_type:expr, $type:ident => $then:expr, $else:expr) => {
        match $data_type {
            DataType::Int8 => by_number_type!(@ $type, Int8Type, $then),
            DataType::Int16 => by_number_type!(@ $type, Int16Type, $then),
            DataType::Int32 => by_number_type!(@ $type, Int32Type, $then),
            DataType::Int64 => by_number_type!(@ $type, Int64Type, $then),
            DataType::UInt8 => by_number_type!(@ $type, UInt8Type, $then),
            DataType::UInt16 => by_number_type!(@ $type, UInt16Type, $then),
            DataType::UInt32 => by_number_type!(@ $type, UInt32Type, $then),
            DataType::UInt64 => by_number_type!(@ $type, UInt64Type, $then),
            DataType::Date32 => by_number_type!(@ $type, Date32Type, $then),
            DataType::Time32(TimeUnit::Second) => by_number_type!(@ $type, Time32SecondType, $then),
            DataType::Time32(TimeUnit::Millisecond) => by_number_type!(@ $type, Time32MillisecondType, $then),
            DataType::Timestamp(TimeUnit::Second, _) => by_number_type!(@ $type, TimestampSecondType, $then),
            DataType::Timestamp(TimeUnit::Millisecond, _) => by_number_type!(@ $type, TimestampMillisecondType, $then),
            DataType::Timestamp(TimeUnit::Microsecond, _) => by_number_type!(@ $type, TimestampMicrosecondType, $then),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => by_number_type!(@ $type, TimestampNanosecondType, $then),
            _ => $else,
        }
    };
    (@ $type:ident, $actual:ty, $then:expr) => {{
        type $type = $actual;
        $then
    }};
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Date32 | DataType::Time32(_) | DataType::Timestamp(..))
}

fn numbers(column: &ArrayRef, order: &OrderColumn) -> Result<Vec<Head>> {
    let other = || Err(Error::internal(format!("{} is no number to order by", column.data_type())));
    by_number_type!(column.data_type(), T => Ok(heads_of::<T>(column.as_primitive::<T>(), order)), other())
}

/// Whether a row's value is NULL, then the value: both so that what comes first is less.
fn heads_of<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>, order: &OrderColumn) -> Vec<Head>
where
    T::Native: Into<i128>,
{
    let flip = if order.descending { u64::MAX } else { 0 };
    let least: i128 = T::Native::MIN_TOTAL_ORDER.into();
    let bits = |v: T::Native| (v.into() - least) as u64 ^ flip;
    let null = if order.nulls_first { [0, 0] } else { [2, 0] };
    match values.null_count() {
        0 => values.values().iter().map(|v| [1, bits(*v)]).collect(),
        _ => values.iter().map(|v| v.map_or(null, |v| [1, bits(v)])).collect(),
    }
}

/// What tells how any two rows in state are ordered.
pub(super) struct Order {
    pub encoder: Encoder,
    /// Where the heads do not say all: the encoded order of each row in state.
    wholes: Bytes,
    /// What orders rows that are equal: by row; where it is empty, their numbers do.
    ties: Vec<u64>,
}

/// Bytes by row number.
#[derive(Default)]
struct Bytes {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Bytes {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
    }

    fn get(&self, row: u32) -> &[u8] {
        let row = row as usize;
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }

    fn remap(&mut self, remap: &Remap) {
        let mut kept = Bytes::default();
        remap.kept().iter().for_each(|old| kept.push(self.get(*old)));
        *self = kept;
    }
}

impl Order {
    pub fn new(encoder: Encoder) -> Self {
        Self { encoder, wholes: Bytes::default(), ties: Vec::new() }
    }

    /// Takes in the next row of state, the row of a batch.
    pub fn push(&mut self, encoded: &Encoded, row: usize) {
        if !self.encoder.is_exact() {
            self.wholes.push(encoded.bytes(row));
        }
        self.ties.extend(encoded.ties.get(row));
    }

    /// What orders the next row of state among its equals.
    pub fn push_tie(&mut self, tie: u64) {
        self.ties.push(tie);
    }

    /// How two rows in state are ordered; equal only for one and the same.
    pub fn compare(&self, a: &Entry, b: &Entry) -> Ordering {
        a.head.cmp(&b.head).then_with(|| self.compare_equal_heads(a.row, b.row))
    }

    fn compare_equal_heads(&self, a: u32, b: u32) -> Ordering {
        let whole = match self.encoder.is_exact() {
            true => Ordering::Equal,
            false => self.wholes.get(a).cmp(self.wholes.get(b)),
        };
        let tie = |row: u32| self.ties.get(row as usize);
        whole.then_with(|| tie(a).cmp(&tie(b))).then(a.cmp(&b))
    }

    /// Whether a row of a batch comes before one in state that arrived before it.
    pub fn is_before(&self, encoded: &Encoded, row: usize, entry: &Entry) -> bool {
        let whole = || match self.encoder.is_exact() {
            true => Ordering::Equal,
            false => encoded.bytes(row).cmp(self.wholes.get(entry.row)),
        };
        let tie = || encoded.ties.get(row).cmp(&self.ties.get(entry.row as usize));
        encoded.heads[row].cmp(&entry.head).then_with(whole).then_with(tie).is_lt()
    }

    /// Follows rows to their new numbers.
    pub fn remap(&mut self, remap: &Remap) {
        if !self.encoder.is_exact() {
            self.wholes.remap(remap);
        }
        // Where their numbers order them, a remap must not make ties of them.
        if !self.ties.is_empty() {
            remap.apply(&mut self.ties);
        }
    }

    /// About how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        self.wholes.bytes.capacity() + (self.wholes.ends.capacity() + self.ties.capacity()) * 8
    }
}
