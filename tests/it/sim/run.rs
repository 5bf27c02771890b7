//! Lives of a job, one after another in one world.

use std::sync::Arc;
use std::time::Duration;

use millstream::change::{Clock, ManualClock};
use millstream::runtime::checkpoint::{CheckpointStore, load_newest};
use millstream::runtime::{CheckpointOptions, Circuit, JobEnd, JobOptions, ManualJob, Turn};
use object_store::path::Path;
use rand::{Rng, SeedableRng};
use tokio::runtime::Runtime;

use super::case::Case;
use super::edges::Edges;
use super::store::Store;
use super::world::{Dangers, Life, WAYS, World};
use super::{Canary, Random};

/// After so many turns a job is taken to hang.
const MOST_TURNS: usize = 2_000_000;

/// Where checkpoints are.
const DIR: &str = "checkpoints";

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Job(JobEnd),
    /// With an error, after something had gone wrong.
    Failed,
    Died,
}

/// How a job is run in one life.
#[derive(Debug, Clone)]
pub struct Manner {
    pub seed: u64,
    pub dangers: Dangers,
    pub workers: usize,
    pub batch_rows: usize,
    pub step_rows: usize,
    pub interval: u64,
    pub min_pause: u64,
    pub tolerable_failures: usize,
    pub retained: usize,
    /// It is suspended before this turn.
    pub suspend_at: Option<usize>,
    /// It is cancelled before this turn, in a process that lives on.
    pub cancel_at: Option<usize>,
}

impl Manner {
    /// Small steps, a checkpoint every few of them.
    pub fn plain(dangers: Dangers) -> Self {
        Self {
            seed: 1,
            dangers,
            workers: 1,
            batch_rows: 4,
            step_rows: 3,
            interval: 10,
            min_pause: 0,
            tolerable_failures: 0,
            retained: 2,
            suspend_at: None,
            cancel_at: None,
        }
    }

    fn random(dangers: Dangers, rng: &mut Random) -> Self {
        let [batch_rows, step_rows] = [0; 2].map(|_| [1, 3, 8, 40][rng.random_range(0..4)]);
        Self {
            seed: rng.random(),
            dangers,
            workers: [1, 1, 1, 2, 3][rng.random_range(0..5)],
            batch_rows,
            step_rows,
            interval: [1, 5, 20, 60][rng.random_range(0..4)],
            min_pause: [0, 0, 10][rng.random_range(0..3)],
            tolerable_failures: [0, 1, 5][rng.random_range(0..3)],
            retained: rng.random_range(1..=3),
            suspend_at: rng.random_bool(0.1).then(|| rng.random_range(1..40)),
            cancel_at: rng.random_bool(0.2).then(|| rng.random_range(1..60)),
        }
    }
}

/// A life that has ended.
pub struct Lived {
    pub end: End,
    pub life: Life,
    /// The runtime that its tasks ran on: of a job that was cancelled some may be left.
    pub runtime: Arc<Runtime>,
}

/// Runs a job until it ends, in whatever way, in a simulated world.
///
/// # Errors
/// When it fails though nothing went wrong, or does not end.
pub fn live(
    case: &Case,
    world: &World,
    manner: &Manner,
    clock: &Arc<ManualClock>,
    ghost: Option<&Runtime>,
) -> Result<Lived, String> {
    let life = Life::new(manner.seed, manner.dangers);
    let edges = Arc::new(edges(case, world, &life, manner));
    run(case.with_edges(&edges), world, life, manner, clock, ghost)
}

/// A process's edges.
pub fn edges(case: &Case, world: &World, life: &Life, manner: &Manner) -> Edges {
    let (world, life, tables) = (world.clone(), life.clone(), Arc::clone(&case.tables));
    Edges { world, life, tables, batch_rows: manner.batch_rows }
}

/// Runs a circuit until it ends; what is left of an earlier life goes on beside it.
///
/// # Errors
/// As [`live`].
pub fn run(
    circuit: Circuit,
    world: &World,
    life: Life,
    manner: &Manner,
    clock: &Arc<ManualClock>,
    ghost: Option<&Runtime>,
) -> Result<Lived, String> {
    let runtime = Arc::new(tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap());
    let checkpoints = CheckpointOptions {
        dir: Some(DIR.into()),
        interval: Some(Duration::from_millis(manner.interval)),
        min_pause: Duration::from_millis(manner.min_pause),
        retained: manner.retained,
        tolerable_failures: manner.tolerable_failures,
        store: Some(Arc::new(Store { world: world.clone(), life: life.clone() })),
        ..CheckpointOptions::default()
    };
    let options = JobOptions {
        workers: manner.workers,
        step_rows: manner.step_rows,
        clock: Arc::clone(clock) as _,
        checkpoints,
        ..JobOptions::default()
    };
    let opened = ManualJob::open(Arc::new(circuit), options, Arc::clone(&runtime));
    let (mut job, _) = opened.map_err(|e| e.to_string())?;
    let mut rng = Random::seed_from_u64(manner.seed ^ 0x7011);
    let ended = |end, life| Ok(Lived { end, life, runtime: Arc::clone(&runtime) });
    for turn in 0..MOST_TURNS {
        if manner.suspend_at == Some(turn) {
            job.suspend();
        }
        if manner.cancel_at == Some(turn) {
            return ended(End::Job(JobEnd::Cancelled), life);
        }
        let done = job.turn();
        if life.is_dead() {
            return ended(End::Died, life);
        }
        match done {
            Ok(Turn::Ended(end)) => return ended(End::Job(end), life),
            // Lets other threads go on, where there are any.
            Ok(Turn::Rested(_)) => std::thread::yield_now(),
            Ok(Turn::Stepped) => {}
            Err(_) if life.went_wrong() => return ended(End::Failed, life),
            Err(e) => return Err(format!("nothing went wrong, and the job fails: {e}\n{:#?}", life.trace())),
        }
        let pause = rng.random_range(0..6);
        [Some(runtime.as_ref()), ghost].into_iter().flatten().for_each(|runtime| wait(runtime, pause));
        clock.set(clock.now_millis() + rng.random_range(0..4));
    }
    Err(format!("the job does not end: {:#?}", life.trace().iter().rev().take(30).collect::<Vec<_>>()))
}

/// Lets a runtime's tasks go on for a while.
fn wait(runtime: &Runtime, rounds: usize) {
    runtime.block_on(async {
        for _ in 0..rounds {
            tokio::task::yield_now().await;
        }
    });
}

/// What lives came to.
#[derive(Debug, Default)]
pub struct Story {
    pub ends: Vec<End>,
    pub trace: Vec<String>,
}

/// Lives full of dangers, and at last one without.
///
/// # Errors
/// When anything is lost or shown twice; says what.
pub fn story(case: &Case, seed: u64, canary: Option<Canary>) -> Result<Story, String> {
    let mut rng = Random::seed_from_u64(seed);
    let world = World::new(canary, rng.random_bool(0.5));
    let clock = Arc::new(ManualClock::new(1_000));
    let mut story = Story::default();
    let mut ghost = None;
    for _ in 0..[0, 1, 1, 2, 2, 3, 5][rng.random_range(0..7)] {
        let reach = [12, 60, 250][rng.random_range(0..3)];
        let dangers = Dangers {
            faults: [0.0, 0.01, 0.05][rng.random_range(0..3)],
            most_faults: 4,
            stalls: [0.0, 0.02, 0.2][rng.random_range(0..3)],
            death: rng.random_bool(0.8).then(|| (rng.random_range(1..=reach), WAYS[rng.random_range(0..WAYS.len())])),
        };
        let manner = Manner::random(dangers, &mut rng);
        let end = tell(case, &world, &manner, &clock, &mut story, &mut ghost)?;
        if end == End::Job(JobEnd::Finished) && rng.random_bool(0.8) {
            return judge(case, &world, story);
        }
    }
    let manner = Manner {
        suspend_at: None,
        cancel_at: None,
        ..Manner::random(Dangers { stalls: 0.05, ..Dangers::NONE }, &mut rng)
    };
    tell(case, &world, &manner, &clock, &mut story, &mut ghost)?;
    judge(case, &world, story)
}

/// One more life, beside what is left of the one before.
fn tell(
    case: &Case,
    world: &World,
    manner: &Manner,
    clock: &Arc<ManualClock>,
    story: &mut Story,
    ghost: &mut Option<Arc<Runtime>>,
) -> Result<End, String> {
    let so_far = |story: &Story| format!("lives: {:?}, then {manner:?}\n  {:#?}", story.ends, story.trace);
    let lived = live(case, world, manner, clock, ghost.as_deref()).map_err(|e| format!("{e}\n  {}", so_far(story)))?;
    story.ends.push(lived.end);
    story.trace.extend(lived.life.trace());
    *ghost = (lived.end == End::Job(JobEnd::Cancelled)).then_some(lived.runtime);
    Ok(lived.end)
}

/// Holds what is shown in the end against what a run without faults shows, and looks at the last checkpoint.
///
/// # Errors
/// What is lost or there twice.
pub fn judge(case: &Case, world: &World, story: Story) -> Result<Story, String> {
    let wrong = match case.difference(world) {
        None => futures::executor::block_on(unkept(world)),
        difference => difference,
    };
    match wrong {
        None => Ok(story),
        Some(d) => Err(format!("{d}\n  lives: {:?}\n  {:#?}", story.ends, story.trace)),
    }
}

/// What is wrong with the checkpoints of a job that has ended: the newest that is whole must be that of the end.
async fn unkept(world: &World) -> Option<String> {
    let store = CheckpointStore::new(Arc::clone(&world.objects) as _, Path::from(DIR).join("job"), DIR);
    match load_newest(&store).await {
        Ok(Some(newest)) if newest.manifest.reason == "end" => None,
        Ok(Some(newest)) => Some(format!("the newest checkpoint is of '{}'", newest.manifest.reason)),
        Ok(None) => Some("there is no checkpoint in the end".into()),
        Err(e) => Some(e.to_string()),
    }
}
