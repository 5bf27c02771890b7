//! Logical plans to circuits: analysis, rewrites, bounds, explain.

mod aggregate;
mod as_of;
mod bounded;
mod compile;
mod constant;
mod explain;
mod global;
mod group;
mod join;
mod match_recognize;
mod narrow;
mod optimize;
mod over;
mod rank;
mod refuse;
mod scan;
mod session;
mod set_operation;
mod sink;
mod sort;
mod source;
mod subquery;
mod table;
mod temporal;
mod ttl;
mod unbounded;
mod window_tvf;
mod windowed;

pub use as_of::TemporalJoin;
pub use compile::{CompileOptions, Query, compile};
pub use explain::explain;
pub use match_recognize::{Instant, MatchClauses, MatchNumber, MatchRecognizeNode, Navigate, Over, classifier};
pub use table::{ColumnOrigin, StreamTable, TableWatermark};
pub use ttl::StateTtls;
pub use unbounded::UnboundedState;
pub use window_tvf::{SessionTvf, WindowTvf};
