//! SQL text to logical plans: dialect, statements, catalog, functions, types.

pub mod ast;
pub mod dialect;
pub mod parse;
