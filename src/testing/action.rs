//! What goes into the queries under test.

use crate::change::ChangeBatch;
use crate::runtime::SourceState;

/// One thing that goes in, under the name of the table that it is about.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// Rows, with all columns of the table's connector.
    Rows(String, ChangeBatch),
    /// The table's watermark is at these milliseconds from here on.
    Watermark(String, i64),
    /// How the table's source stands from here on; without a name, all tables' sources.
    Stands(Option<String>, SourceState),
    /// The clock is at these milliseconds.
    Clock(i64),
}
