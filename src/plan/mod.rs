//! Logical plans to circuits: analysis, rewrites, bounds, explain.

mod table;
mod window_tvf;

pub use table::{ColumnOrigin, StreamTable, TableWatermark};
pub use window_tvf::WindowTvf;
