//! Aggregates without windows, from SQL to their changes.

#[path = "changing_aggregates/hot.rs"]
mod hot;
#[path = "changing_aggregates/model.rs"]
mod model;
#[path = "changing_aggregates/sql.rs"]
mod sql;
