//! What is found for the keys of some probes: in one request, or in several where keys without rows are asked for again.

use std::time::Duration;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::concat_batches;

use super::request::timed_out;
use crate::change::take_rows;
use crate::connector::lookup::Found;
use crate::runtime::circuit::RetryMiss;
use crate::{Error, Result};

/// Keys that are asked for, and what has been found for them so far.
pub(super) struct Pursuit {
    keys: RecordBatch,
    found: Option<Found>,
    /// The keys that the last request asked for, by their numbers.
    asked: UInt32Array,
    /// How often keys without rows may still be asked for again.
    attempts: u32,
    /// When the first request was made: milliseconds since the epoch.
    since: i64,
}

impl Pursuit {
    pub fn new(keys: RecordBatch, retry: Option<RetryMiss>, now: i64) -> Self {
        let asked = UInt32Array::from_iter_values(0..keys.num_rows() as u32);
        Self { keys, found: None, asked, attempts: retry.map_or(0, |r| r.attempts), since: now }
    }

    /// The keys of the request that is to be made next.
    ///
    /// # Errors
    /// When they cannot be gathered.
    pub fn request(&self) -> Result<RecordBatch> {
        if self.asked.len() == self.keys.num_rows() {
            return Ok(self.keys.clone());
        }
        take_rows(&self.keys, &self.asked)
    }

    /// Takes in an answer to the last request. Gives when the next is to be made, if one is, which is then [`Self::request`].
    ///
    /// # Errors
    /// When the answer has other columns than those before it.
    pub fn take(&mut self, answer: Found, retry: Option<RetryMiss>, now: i64) -> Result<Option<i64>> {
        self.found = Some(match self.found.take() {
            None => answer,
            Some(before) => {
                let of = |k: &u32| self.asked.value(*k as usize);
                let keys = before.keys.values().iter().copied().chain(answer.keys.values().iter().map(of)).collect();
                Found { rows: concat_batches(&before.rows.schema(), [&before.rows, &answer.rows])?, keys }
            }
        });
        let Some(retry) = retry.filter(|_| self.attempts > 0) else { return Ok(None) };
        let missing = self.missing();
        if missing.is_empty() {
            return Ok(None);
        }
        self.attempts -= 1;
        self.asked = missing;
        Ok(Some(now.saturating_add(millis(retry.delay))))
    }

    fn missing(&self) -> UInt32Array {
        let mut seen = vec![false; self.keys.num_rows()];
        self.found.iter().flat_map(|f| f.keys.values()).for_each(|k| seen[*k as usize] = true);
        (0u32..).zip(&seen).filter(|(_, seen)| !**seen).map(|(key, _)| key).collect::<Vec<_>>().into()
    }

    /// When it is given up, if it lasts no longer than `timeout`.
    pub fn deadline(&self, timeout: Duration) -> i64 {
        self.since.saturating_add(millis(timeout))
    }

    /// Why it was given up.
    pub fn timed_out(&self, table: &str, timeout: Duration) -> Error {
        timed_out(self.keys.num_rows(), table, timeout)
    }

    /// All that was found.
    pub fn found(&self) -> Option<&Found> {
        self.found.as_ref()
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn batch(name: &str, values: &[i64]) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        RecordBatch::try_from_iter([(name, column)]).unwrap()
    }

    fn found(rows: &[i64], keys: &[u32]) -> Found {
        Found { rows: batch("v", rows), keys: keys.to_vec().into() }
    }

    #[test]
    fn only_keys_without_rows_are_asked_for_again() {
        let retry = Some(RetryMiss { delay: Duration::from_secs(2), attempts: 2 });
        let mut pursuit = Pursuit::new(batch("k", &[10, 11, 12, 13]), retry, 100);
        assert_eq!(pursuit.request().unwrap().num_rows(), 4);
        assert_eq!(pursuit.take(found(&[110, 111], &[1, 1]), retry, 200).unwrap(), Some(2_200));
        assert_eq!(pursuit.request().unwrap(), batch("k", &[10, 12, 13]));
        assert_eq!(pursuit.take(found(&[130], &[2]), retry, 2_300).unwrap(), Some(4_300));
        assert_eq!(pursuit.request().unwrap(), batch("k", &[10, 12]));
        assert_eq!(pursuit.take(found(&[100], &[0]), retry, 4_400).unwrap(), None, "no attempt is left");
        let all = pursuit.found().unwrap();
        assert_eq!(all.keys.values().as_ref(), &[1, 1, 3, 0]);
        assert_eq!(all.rows.column(0).as_primitive::<Int64Type>().values().as_ref(), &[110, 111, 130, 100]);
        assert_eq!(pursuit.deadline(Duration::from_secs(1)), 1_100);
    }

    #[test]
    fn what_is_found_is_not_asked_for_again() {
        let retry = Some(RetryMiss { delay: Duration::from_secs(2), attempts: 9 });
        let mut pursuit = Pursuit::new(batch("k", &[1, 2]), retry, 0);
        assert_eq!(pursuit.take(found(&[1, 2], &[0, 1]), retry, 1).unwrap(), None);
        let mut pursuit = Pursuit::new(batch("k", &[1, 2]), None, 0);
        assert_eq!(pursuit.take(found(&[], &[]), None, 1).unwrap(), None);
    }
}
