//! The integration tests, in one binary so that the engine links once.

#[cfg(target_os = "linux")]
mod beyond_memory;
mod changing_aggregates;
mod changing_edges;
mod changing_joins;
mod changing_over;
mod changing_ranks;
mod checkpoints;
mod cli;
mod clock;
mod faults;
mod flink;
mod fuzz;
#[cfg(feature = "jdbc")]
mod jdbc;
mod journal;
#[cfg(feature = "kafka")]
mod kafka;
mod late_rows;
mod law;
mod lookup;
mod nexmark;
mod pages;
mod patterns;
#[cfg(feature = "avro")]
mod registry;
mod rooms;
mod scripts;
mod sim;
mod table_options;
mod unbounded;
