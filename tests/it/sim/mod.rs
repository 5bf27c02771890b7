//! The crash law: whatever goes wrong outside, in whatever order and however often, what sinks have committed in the end is what a
//! run without faults commits.
//!
//! Everything is the real thing but the world outside: the object store, the sources and the sinks are simulated
//! ([`store`], [`edges`]). One thread drives the job and all its tasks ([`ManualJob`](millstream::runtime::ManualJob)), so that a seed is a
//! story that can be told again. `MILLSTREAM_SIM_SEEDS` says how many seeds are tried, `MILLSTREAM_SEED` from which on.

mod case;
mod edges;
mod files;
mod law;
mod run;
mod store;
mod sweep;
mod world;

use rand_xoshiro::Xoshiro256PlusPlus;

type Random = Xoshiro256PlusPlus;

/// Faults on purpose, which the law must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canary {
    /// The store loses some writes that it said were done.
    LosesChunk,
    /// The store does not list the newest manifest.
    ListsLate,
    /// The source goes on one row before where it was to.
    SeeksShort,
    /// The source tells the position before the last batch for the one behind it.
    NotesLate,
    /// The sink shows what it wrote before the checkpoint is durable.
    CommitsEarly,
    /// The sink does not know what it has committed already.
    CommitsTwice,
    /// The sink drops what was prepared for the checkpoint that the job goes on from.
    ForgetsPrepared,
}
