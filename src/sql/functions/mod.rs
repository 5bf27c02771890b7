//! The functions that SQL can call: Flink's where Flink has the name, DataFusion's otherwise, the user's above both.

mod registry;

pub use registry::Functions;
