//! The integration tests, in one binary so that the engine links once.

mod cli;
mod flink;
