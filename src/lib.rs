//! **Millstream: Flink SQL, embedded.**
//!
//! A library that runs continuous queries, written in Flink's SQL dialect, inside your own process.
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod change;
pub mod connector;
pub mod engine;
pub mod error;
pub mod format;
pub mod operator;
pub mod plan;
pub mod runtime;
pub mod sql;
pub mod state;
pub mod table;
pub mod testing;

// What an embedder needs beside the engine, in the versions that it speaks.
pub use arrow;
pub use datafusion_common;
pub use datafusion_expr;

pub use engine::Engine;
pub use error::{Error, Result};

/// The README's program runs with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
