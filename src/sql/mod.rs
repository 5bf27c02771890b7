//! SQL text to logical plans: dialect, statements, catalog, functions, types.

pub mod ast;
pub mod dialect;
pub mod functions;
pub mod parse;

mod catalog;
mod circuit;
mod describe;
mod group_window;
mod grouping;
mod hints;
mod insert;
mod like;
mod locate;
mod lookup_hint;
mod match_recognize;
mod names;
mod place;
mod planner;
mod refuse;
mod session;
mod settings;
mod show_create;
mod stack;
mod statements;
mod table;
mod types;
mod unnest;
mod version;
mod view;
mod window;

pub use session::{Outcome, PlannedInsert, PlannedQuery, Session};
pub use settings::Settings;
