//! The laws for queries whose answers change: random queries over random changelogs, held against batch after every step.

mod aggregates;
mod canary;
mod case;
mod check;
mod expr;
mod grammar;
mod known;
mod query;
mod ranks;
mod reference;
mod table;

use rand_xoshiro::Xoshiro256PlusPlus;

type Random = Xoshiro256PlusPlus;

pub use case::Case;

#[test]
fn changing_queries() {
    case::prove();
}
