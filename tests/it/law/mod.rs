//! The laws: batch, step, snapshot and restore, over random tables, rows, queries, cuts and numbers of workers.
//!
//! `MILLSTREAM_CASES` says how many cases of each family are tried, `MILLSTREAM_SEED` from which seed on.

mod bounds;
mod canary;
mod case;
mod changing;
mod changing_windows;
mod emitted_windows;
pub mod exec;
mod joins;
mod lookup;
mod patterns;
mod processing_time;
mod query;
mod reference;
pub mod rows;
mod table;
mod temporal;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use millstream::change::ChangeBatch;
use millstream::runtime::Circuit;
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

pub use case::panic_text;
use case::{Case, Family, prove};

const STATELESS: Family = Family { name: "stateless", script: query::stateless, tables: 2, ordered: false };
const WINDOWED: Family = Family { name: "windowed", script: query::windowed, tables: 1, ordered: false };
const SESSIONS: Family = Family { name: "sessions", script: query::of_sessions, tables: 1, ordered: false };
const GROUPS: Family = Family { name: "group-windows", script: query::group_windows, tables: 1, ordered: false };
const GROUPING: Family = Family { name: "grouping-sets", script: query::grouping_sets, tables: 1, ordered: false };
const CASCADED: Family = Family { name: "cascaded", script: query::cascaded, tables: 1, ordered: false };
const CARRIED: Family = Family { name: "carried", script: query::carried, tables: 1, ordered: false };
const ALONE: Family = Family { name: "alone", script: query::alone, tables: 1, ordered: false };
const VIEWS: Family = Family { name: "views", script: query::over_views, tables: 1, ordered: false };
/// Which rows of two tables came first is up to the cut: nothing may be late here.
const TWO_TABLES: Family = Family { name: "two-tables", script: query::over_views, tables: 2, ordered: true };
const SET: Family = Family { name: "statement-set", script: query::statement_set, tables: 2, ordered: false };
const KNOWN: Family = Family { name: "regressions", script: query::regressions, tables: 1, ordered: false };

const ALL: [&Family; 11] =
    [&STATELESS, &WINDOWED, &SESSIONS, &GROUPS, &GROUPING, &CASCADED, &CARRIED, &ALONE, &VIEWS, &TWO_TABLES, &SET];

/// A random query's circuit and its tables' rows, for other tests.
pub struct Material {
    pub text: String,
    pub circuit: Arc<Circuit>,
    pub tables: HashMap<String, ChangeBatch>,
    /// Whether the rows of one table may come in any order.
    pub any_order: bool,
}

/// Draws from all generators; `None` where a query is not supported.
pub fn material(seed: u64, rng: &mut Xoshiro256PlusPlus) -> Option<Material> {
    match rng.random_range(0..12) {
        0..4 => {
            let family = ALL[rng.random_range(0..ALL.len())];
            Some(Case::random(family, seed).ok()?.material(family.name == STATELESS.name))
        }
        4..8 => changing::Case::random(seed).ok()?.material(),
        8 => Some(joins::Case::random(joins::Family::Interval, seed).material()),
        9 => Some(joins::Case::random(joins::Family::Window, seed).material()),
        10 => patterns::material(seed),
        _ => Some(temporal::Case::random(seed).material()),
    }
}

#[test]
fn stateless_queries() {
    prove(&STATELESS);
}

#[test]
fn aggregates_over_windows() {
    prove(&WINDOWED);
}

#[test]
fn sessions() {
    prove(&SESSIONS);
}

#[test]
fn group_windows() {
    prove(&GROUPS);
}

#[test]
fn grouping_sets_over_windows() {
    prove(&GROUPING);
}

#[test]
fn windows_over_windows() {
    prove(&CASCADED);
}

#[test]
fn windows_carried_as_columns() {
    prove(&CARRIED);
}

#[test]
fn window_functions_alone() {
    prove(&ALONE);
}

#[test]
fn windows_over_views_of_one_table() {
    prove(&VIEWS);
}

#[test]
fn windows_over_views_of_two_tables() {
    prove(&TWO_TABLES);
}

#[test]
fn statement_sets() {
    prove(&SET);
}

#[test]
fn what_went_wrong_once() {
    prove(&KNOWN);
}

#[test]
fn every_operator_is_under_the_laws() {
    let cases = ALL.iter().flat_map(|family| (1..40).filter_map(|seed| Case::random(family, seed).ok()));
    let changing = (1..400).filter_map(|seed| changing::Case::random(seed).ok());
    let changing = changing.flat_map(|case| case.operators()).chain(processing_time::operators());
    let joins = [joins::Family::Interval, joins::Family::Window];
    let joins = joins.into_iter().flat_map(|family| joins::Case::random(family, 1).operators());
    let temporal = (1..20).flat_map(|seed| temporal::Case::random(seed).operators());
    let proven = cases.flat_map(|case| case.operators()).chain(changing).chain(joins).chain(patterns::operators());
    let proven = proven.chain(temporal);
    let proven: BTreeSet<String> = proven.collect();
    let missing: Vec<String> = declared_operators().into_iter().filter(|o| !proven.contains(o)).collect();
    assert!(missing.is_empty(), "no case of any law runs {missing:?}; those that do run: {proven:?}");
}

/// What the operators' factories call themselves.
fn declared_operators() -> Vec<String> {
    let mut names = Vec::new();
    crate::rooms::for_each_source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/operator"), &mut |_, text| {
        let factory = text.split("impl OperatorFactory for").skip(1);
        let name = factory.filter_map(|f| f.split("fn name(&self) -> &'static str {").nth(1)?.split('"').nth(1));
        names.extend(name.map(String::from));
    });
    assert!(names.len() >= 6, "{names:?}");
    names
}
