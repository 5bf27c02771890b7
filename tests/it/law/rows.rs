//! Results as multisets of rows: order does not count, floats are equal when they are near.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// A row: what is no float as text, and the floats by themselves.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub struct Row {
    texts: Vec<String>,
    floats: Vec<f64>,
}

impl Row {
    /// The row to the last bit, as a key.
    pub fn exact(&self) -> (Vec<String>, Vec<u64>) {
        (self.texts.clone(), self.floats.iter().map(|f| f.to_bits()).collect())
    }
}

/// The rows of some batches, in an order that does not depend on theirs.
pub fn rows<'a>(batches: impl IntoIterator<Item = &'a RecordBatch>) -> Vec<Row> {
    sorted(batches.into_iter().flat_map(batch_rows).collect())
}

/// Rows in an order that does not depend on theirs.
pub fn sorted(mut all: Vec<Row>) -> Vec<Row> {
    all.sort_by(|a, b| a.partial_cmp(b).unwrap_or_else(|| a.texts.cmp(&b.texts)));
    all
}

/// The rows of a batch, in its order.
pub fn batch_rows(batch: &RecordBatch) -> Vec<Row> {
    let options = FormatOptions::new().with_null("NULL");
    let mut rows = vec![Row { texts: Vec::new(), floats: Vec::new() }; batch.num_rows()];
    for column in batch.columns() {
        let formatter = ArrayFormatter::try_new(column, &options).unwrap();
        let float = column.data_type() == &DataType::Float64;
        let values = arrow::compute::cast(column, if float { &DataType::Float64 } else { column.data_type() }).unwrap();
        let floats = values.as_any().downcast_ref::<arrow::array::Float64Array>();
        for (i, row) in rows.iter_mut().enumerate() {
            match floats {
                Some(f) if f.is_valid(i) => {
                    row.floats.push(f.value(i));
                    // Says where it stands between NULLs.
                    row.texts.push("float".into());
                }
                _ => row.texts.push(formatter.value(i).to_string()),
            }
        }
    }
    rows
}

fn near(a: &Row, b: &Row) -> bool {
    let close = |(x, y): (&f64, &f64)| {
        x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= 1e-6 * x.abs().max(y.abs()).max(1.0)
    };
    a.texts == b.texts && a.floats.len() == b.floats.len() && a.floats.iter().zip(&b.floats).all(close)
}

/// Says how two multisets differ, if they do.
pub fn difference(ours: &[Row], expected: &[Row]) -> Option<String> {
    let mut missing: Vec<&Row> = Vec::new();
    let mut left: Vec<Option<&Row>> = ours.iter().map(Some).collect();
    let mut from = 0;
    for row in expected {
        // Both are sorted by their texts: everything before has been looked at.
        while from < left.len() && left[from].is_none_or(|l| l.texts < row.texts) {
            from += 1;
        }
        let same = |l: &Option<&Row>| l.is_some_and(|l| l.texts == row.texts);
        let found = left.iter().enumerate().skip(from).take_while(|(_, l)| l.is_none() || same(l));
        match found.filter(|(_, l)| l.is_some_and(|l| near(l, row))).map(|(i, _)| i).next() {
            Some(i) => left[i] = None,
            None => missing.push(row),
        }
    }
    let surplus: Vec<&Row> = left.into_iter().flatten().collect();
    if missing.is_empty() && surplus.is_empty() {
        return None;
    }
    let show = |rows: &[&Row]| rows.iter().take(5).map(|r| format!("\n      {r:?}")).collect::<String>();
    Some(format!(
        "{} rows where {} are expected\n    missing ({}):{}\n    surplus ({}):{}",
        ours.len(),
        expected.len(),
        missing.len(),
        show(&missing),
        surplus.len(),
        show(&surplus)
    ))
}
