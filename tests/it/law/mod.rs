//! The laws: batch, step, snapshot and restore, over random tables, rows, queries, cuts and numbers of workers.

mod case;
mod exec;
mod query;
mod reference;
mod rows;
mod table;

use case::{Family, prove};

#[test]
fn stateless_queries() {
    prove(&Family { name: "stateless", script: query::stateless, tables: 2, ordered: false });
}

#[test]
fn aggregates_over_windows() {
    prove(&Family { name: "windowed", script: query::windowed, tables: 1, ordered: false });
}

#[test]
fn grouping_sets_over_windows() {
    prove(&Family { name: "grouping-sets", script: query::grouping_sets, tables: 1, ordered: false });
}

#[test]
fn windows_over_windows() {
    prove(&Family { name: "cascaded", script: query::cascaded, tables: 1, ordered: false });
}

#[test]
fn windows_carried_as_columns() {
    prove(&Family { name: "carried", script: query::carried, tables: 1, ordered: false });
}

#[test]
fn window_functions_alone() {
    prove(&Family { name: "alone", script: query::alone, tables: 1, ordered: false });
}

#[test]
fn windows_over_views_of_one_table() {
    prove(&Family { name: "views", script: query::over_views, tables: 1, ordered: false });
}

#[test]
fn windows_over_views_of_two_tables() {
    // Which rows of two tables came first is up to the cut: nothing may be late here.
    prove(&Family { name: "two-tables", script: query::over_views, tables: 2, ordered: true });
}

#[test]
fn statement_sets() {
    prove(&Family { name: "statement-set", script: query::statement_set, tables: 2, ordered: false });
}
