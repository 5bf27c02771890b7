//! Look-ups: tables outside that are asked for the rows of some keys, for lookup joins.
//!
//! A connector says by [`Connector::lookup_mode`](super::Connector::lookup_mode) whether its tables are read whole and kept,
//! or asked by key. In the second case its [`Lookup`] answers; how many requests are under way, their repetition after
//! failures, timeouts and the cache are the runtime's.

mod check;
mod options;

use std::time::Duration;

use arrow::array::{RecordBatch, UInt32Array};
use async_trait::async_trait;

pub use self::check::{LookupCase, check_lookup};
pub use self::options::{CacheOptions, cache_option_specs, full_cache_mode, full_cache_option_specs, keyed_mode};
use crate::Result;

/// Answers look-ups in one table.
///
/// [`check_lookup`] checks an implementation against what is written here.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// The rows whose key columns are equal to those of some keys.
    ///
    /// `keys` holds the key columns in the order they were asked for, of the table's own types; no key has a NULL, and none
    /// stands there twice; there are 1024 at most. Several requests may be under way at once. A request that takes too long is dropped, at any
    /// await, and nothing may be left of it that would disturb others. After an error the same keys are asked for again, as
    /// often as the table's options say.
    ///
    /// # Errors
    /// When the table cannot be asked.
    async fn lookup(&self, keys: &RecordBatch) -> Result<Found>;
}

/// What was found for some keys.
#[derive(Debug, Clone)]
pub struct Found {
    /// The rows, with the columns that were asked for. Those of one key stand in the order in which the join is to give them.
    pub rows: RecordBatch,
    /// For each row its key: a row number of the request.
    pub keys: UInt32Array,
}

/// How a table is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupMode {
    /// Its source is read to the end before the first row is looked up, and kept.
    Whole {
        /// After how long it is read again, counted from when it was last there.
        reload: Option<Duration>,
        /// How often reading is tried again after a failure.
        max_retries: u32,
    },
    /// It is asked for the rows of keys.
    Keyed {
        /// What is kept of the answers.
        cache: Option<CacheOptions>,
        /// How often a request is tried again after a failure.
        max_retries: u32,
    },
}
