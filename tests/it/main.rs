//! The integration tests, in one binary so that the engine links once.

mod faults;
mod cli;
mod flink;
mod fuzz;
mod law;
mod rooms;
