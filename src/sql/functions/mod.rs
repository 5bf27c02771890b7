//! The functions that SQL can call: Flink's where Flink has the name, DataFusion's otherwise, the user's above both.
//!
//! A function is a line in the table of its topic's file (`define`); what is no function in SQL (casts, arithmetic,
//! literals) gets Flink's meaning from `rewrite`, and forms that DataFusion cannot plan are put right by `syntax`.

mod aggregate;
mod cast;
mod collection;
mod conditional;
mod datetime;
mod decimal;
mod define;
mod field;
mod format;
mod json;
mod math;
mod planner;
mod regexp;
mod registry;
mod rewrite;
mod row_in;
mod session;
mod syntax;
mod temporal;
mod text;
mod url;

#[cfg(test)]
mod tests;

pub use registry::Functions;
