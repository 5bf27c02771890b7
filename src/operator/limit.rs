//! LIMIT and OFFSET without an order: the first rows to arrive.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::UInt64Type;

use super::{Operator, OperatorFactory, OperatorStats};
use crate::change::ChangeBatch;
use crate::state::{Placement, StateTable};
use crate::{Error, Result};

/// Lets some rows pass, in the order of their arrival; over rows that only come.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// How many rows are left out first.
    pub skip: u64,
    /// How many rows pass then.
    pub fetch: u64,
}

struct Counted {
    limit: Limit,
    seen: u64,
}

impl Operator for Counted {
    fn push(&mut self, _input: usize, batch: ChangeBatch, out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.kinds.is_some() {
            return Err(Error::internal("a LIMIT in order of arrival over changing input"));
        }
        let Limit { skip, fetch } = self.limit;
        let rows = batch.num_rows() as u64;
        let within = |end: u64| end.saturating_sub(self.seen).min(rows);
        let (from, to) = (within(skip), within(skip.saturating_add(fetch)));
        self.seen = self.seen.saturating_add(rows).min(skip.saturating_add(fetch));
        match to.saturating_sub(from) {
            0 => {}
            all if all == rows => out.push(batch),
            some => out.push(batch.slice(from as usize, some as usize)),
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let seen: ArrayRef = Arc::new(UInt64Array::from(vec![self.seen]));
        let rows = vec![RecordBatch::try_from_iter([("seen", seen)])?];
        Ok(vec![StateTable { name: "seen".into(), placement: Placement::First, rows }])
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for rows in tables.iter().flat_map(|t| &t.rows) {
            let seen = rows.column(0).as_primitive_opt::<UInt64Type>();
            let seen = seen.ok_or_else(|| Error::internal("the state of a LIMIT that is no count"))?;
            // Workers other than the first have seen none.
            self.seen = seen.values().iter().fold(self.seen, |all, seen| all.saturating_add(*seen));
        }
        Ok(())
    }

    fn stats(&self) -> OperatorStats {
        OperatorStats { state_rows: 1, state_bytes: 8, late_rows: 0 }
    }
}

impl OperatorFactory for Limit {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Counted { limit: *self, seen: 0 }))
    }

    fn name(&self) -> &'static str {
        "Limit"
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn counts_across_batches_and_snapshots() {
        let batch = |from: i64, to: i64| {
            let n: ArrayRef = Arc::new(Int64Array::from_iter_values(from..to));
            ChangeBatch::append(RecordBatch::try_from_iter([("n", n)]).unwrap())
        };
        let limit = Limit { skip: 3, fetch: 4 };
        let mut operator = limit.build().unwrap();
        let mut out = Vec::new();
        operator.push(0, batch(0, 2), &mut out).unwrap();
        operator.push(0, batch(2, 5), &mut out).unwrap();
        let state = operator.snapshot().unwrap();
        let mut operator = limit.build().unwrap();
        operator.restore(state).unwrap();
        operator.push(0, batch(5, 9), &mut out).unwrap();
        operator.push(0, batch(9, 12), &mut out).unwrap();
        let all: Vec<i64> =
            out.iter().flat_map(|b| b.rows.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        assert_eq!(all, [3, 4, 5, 6]);
    }
}
