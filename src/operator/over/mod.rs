//! OVER: functions over the rows around each row.
//!
//! On a time attribute, rows go out once, when their time has come ([`OverAggregate`]). Over everything else a row's results
//! change as other rows come and go ([`OverUpdating`]).

mod aggregate;
mod evaluate;
mod firing;
mod forget;
mod frame;
mod function;
mod net;
mod order;
mod partition;
mod persist;
mod rows;
#[cfg(test)]
mod testing;
mod ties;
mod updating;
pub(super) mod waiting;

pub use aggregate::{OverAggregate, OverTime};
pub use frame::Frame;
pub use function::{AggregateCall, OverCall, OverFunction};
pub use updating::OverUpdating;
