//! What outlives a process, and the process's life: every operation on the world outside is numbered, and may go wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use millstream::change::ChangeBatch;
use millstream::{Error, Result};
use object_store::memory::InMemory;
use rand::{Rng, SeedableRng};

use super::{Canary, Random};

/// What outlives a process: objects, and the logs of sinks.
#[derive(Debug, Clone)]
pub struct World {
    pub objects: Arc<InMemory>,
    logs: Arc<Mutex<BTreeMap<String, Log>>>,
    /// What is wrong with it on purpose.
    pub canary: Option<Canary>,
    /// Whether transactions that are not committed are lost when another writer comes, as with brokers.
    pub forgets_prepared: bool,
}

/// What a sink's store holds.
#[derive(Debug, Default)]
pub struct Log {
    /// The writer that may write.
    pub epoch: u64,
    /// Transactions that are durable and not visible.
    pub prepared: BTreeMap<String, Vec<ChangeBatch>>,
    /// Those that are visible, in order.
    pub committed: Vec<(String, Vec<ChangeBatch>)>,
}

impl Log {
    pub fn has_committed(&self, transaction: &str) -> bool {
        self.committed.iter().any(|(name, _)| name == transaction)
    }
}

impl World {
    pub fn new(canary: Option<Canary>, forgets_prepared: bool) -> Self {
        Self { objects: Arc::default(), logs: Arc::default(), canary, forgets_prepared }
    }

    /// Does something with a sink's log.
    pub fn log<T>(&self, sink: &str, f: impl FnOnce(&mut Log) -> T) -> T {
        f(self.logs.lock().unwrap().entry(sink.to_string()).or_default())
    }

    /// What is visible of a sink.
    pub fn committed(&self, sink: &str) -> Vec<ChangeBatch> {
        self.log(sink, |log| log.committed.iter().flat_map(|(_, rows)| rows.clone()).collect())
    }
}

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It succeeds.
    Done,
    /// It fails, and nothing has happened.
    Undone,
    /// It fails for its caller, and has happened.
    Unheard,
    /// It fails, and has happened in part.
    Torn,
}

/// How a process dies in an operation, or what goes wrong with it.
pub const WAYS: [Fate; 3] = [Fate::Undone, Fate::Unheard, Fate::Torn];

/// What may go wrong in a process's life.
#[derive(Debug, Clone, Copy)]
pub struct Dangers {
    /// How likely an operation goes wrong.
    pub faults: f64,
    /// So many at most.
    pub most_faults: u32,
    /// How likely an operation takes long.
    pub stalls: f64,
    /// The number of the operation in which the process dies, and how.
    pub death: Option<(u64, Fate)>,
}

impl Dangers {
    pub const NONE: Self = Self { faults: 0.0, most_faults: 0, stalls: 0.0, death: None };

    pub fn death(at: u64, how: Fate) -> Self {
        Self { death: Some((at, how)), ..Self::NONE }
    }
}

/// The life of one process.
#[derive(Clone)]
pub struct Life(Arc<Mutex<State>>);

struct State {
    rng: Random,
    at_death: Option<Arc<dyn Fn() + Send + Sync>>,
    dangers: Dangers,
    is_dead: bool,
    operations: u64,
    faults: u32,
    trace: Vec<String>,
}

impl Life {
    pub fn new(seed: u64, dangers: Dangers) -> Self {
        let rng = Random::seed_from_u64(seed);
        let state = State { rng, at_death: None, dangers, is_dead: false, operations: 0, faults: 0, trace: Vec::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Has something done when the process dies, before what the operation does in which it dies.
    pub fn at_death(&self, f: impl Fn() + Send + Sync + 'static) {
        self.state().at_death = Some(Arc::new(f));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A number below `end`.
    pub fn below(&self, end: usize) -> usize {
        self.state().rng.random_range(0..end)
    }

    pub fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// Whether anything has gone wrong in it.
    pub fn went_wrong(&self) -> bool {
        let state = self.state();
        state.is_dead || state.faults > 0
    }

    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// The operations, in words.
    pub fn trace(&self) -> Vec<String> {
        self.state().trace.clone()
    }

    /// An operation on the world: takes its time, and tells what becomes of it. From the death on nothing happens any more.
    pub async fn operation(&self, what: &str) -> Fate {
        let waits = {
            let mut state = self.state();
            let stalls = state.dangers.stalls;
            match state.rng.random_bool(stalls) {
                true => state.rng.random_range(50..400),
                false => [0, 0, 1, 2, 5][state.rng.random_range(0..5)],
            }
        };
        for _ in 0..waits {
            tokio::task::yield_now().await;
        }
        self.operation_now(what)
    }

    /// An operation that takes no time.
    pub fn operation_now(&self, what: &str) -> Fate {
        let mut state = self.state();
        if state.is_dead {
            return Fate::Undone;
        }
        state.operations += 1;
        let fate = match state.dangers.death {
            Some((at, how)) if at == state.operations => {
                state.is_dead = true;
                state.at_death.iter().for_each(|f| f());
                how
            }
            _ => {
                let (likely, most) = (state.dangers.faults, state.dangers.most_faults);
                match state.rng.random_bool(likely) && state.faults < most {
                    true => {
                        state.faults += 1;
                        WAYS[state.rng.random_range(0..WAYS.len())]
                    }
                    false => Fate::Done,
                }
            }
        };
        let said = format!("{} {what}: {fate:?}", state.operations);
        state.trace.push(said);
        fate
    }

    /// The same for operations that cannot happen in part: `Ok` with whether it happens, and whether its caller hears of it.
    pub async fn whole(&self, what: &str) -> Whole {
        match self.operation(what).await {
            Fate::Done => Whole { happens: true, heard: true },
            Fate::Unheard => Whole { happens: true, heard: false },
            Fate::Undone | Fate::Torn => Whole { happens: false, heard: false },
        }
    }
}

/// What becomes of an operation that cannot happen in part.
#[derive(Debug, Clone, Copy)]
pub struct Whole {
    pub happens: bool,
    heard: bool,
}

impl Whole {
    /// What its caller hears.
    pub fn answer<T>(self, what: &str, value: T) -> Result<T> {
        if self.heard { Ok(value) } else { Err(wrong(what)) }
    }
}

pub fn wrong(what: &str) -> Error {
    Error::io(what, std::io::Error::other("it went wrong, as the seed says"))
}

impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a life")
    }
}
