//! SQL text to logical plans: dialect, statements, catalog, functions, types.

pub mod ast;

mod catalog;
mod insert;
mod literals;
mod names;
mod place;
mod planner;
mod session;
mod table;
mod types;
mod view;
mod window;

pub use session::{Outcome, PlannedInsert, PlannedQuery, Session};
