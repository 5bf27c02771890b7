//! Lives of a job, one after another in one world.

use std::sync::Arc;
use std::time::Duration;

use millstream::change::ManualClock;
use millstream::runtime::{CheckpointOptions, JobEnd, JobOptions, ManualJob, Turn};
use rand::{Rng, SeedableRng};

use super::case::Case;
use super::edges::Edges;
use super::store::Store;
use super::world::{Dangers, Life, WAYS, World};
use super::{Canary, Random};

/// After so many turns a job is taken to hang.
const MOST_TURNS: usize = 20_000;

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
        }
    }
}

/// Runs a job until it ends, in whatever way.
///
/// # Errors
/// When it fails though nothing went wrong, or does not end.
pub fn live(case: &Case, world: &World, manner: &Manner, clock: &Arc<ManualClock>) -> Result<(End, Life), String> {
    let life = Life::new(manner.seed, manner.dangers);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let runtime = Arc::new(runtime);
    let edges = Edges {
        world: world.clone(),
        life: life.clone(),
        tables: Arc::clone(&case.tables),
        batch_rows: manner.batch_rows,
    };
    let checkpoints = CheckpointOptions {
        dir: Some("checkpoints".into()),
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
    let circuit = Arc::new(case.with_edges(Arc::new(edges)));
    let (mut job, _) = ManualJob::open(circuit, options, Arc::clone(&runtime)).map_err(|e| e.to_string())?;
    let mut rng = Random::seed_from_u64(manner.seed ^ 0x7011);
    for turn in 0..MOST_TURNS {
        if manner.suspend_at == Some(turn) {
            job.suspend();
        }
        let done = job.turn();
        if life.is_dead() {
            return Ok((End::Died, life));
        }
        match done {
            Ok(Turn::Ended(end)) => return Ok((End::Job(end), life)),
            Ok(_) => {}
            Err(_) if life.went_wrong() => return Ok((End::Failed, life)),
            Err(e) => return Err(format!("nothing went wrong, and the job fails: {e}\n{:#?}", life.trace())),
        }
        let pause = rng.random_range(0..6);
        runtime.block_on(async {
            for _ in 0..pause {
                tokio::task::yield_now().await;
            }
        });
        clock.set(millstream::change::Clock::now_millis(clock.as_ref()) + rng.random_range(0..4));
    }
    Err(format!("the job does not end: {:#?}", life.trace().iter().rev().take(30).collect::<Vec<_>>()))
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
    for _ in 0..[0, 1, 1, 2, 2, 3, 5][rng.random_range(0..7)] {
        let reach = [12, 60, 250][rng.random_range(0..3)];
        let dangers = Dangers {
            faults: [0.0, 0.01, 0.05][rng.random_range(0..3)],
            most_faults: 4,
            stalls: [0.0, 0.02, 0.2][rng.random_range(0..3)],
            death: rng.random_bool(0.8).then(|| (rng.random_range(1..=reach), WAYS[rng.random_range(0..WAYS.len())])),
        };
        let manner = Manner::random(dangers, &mut rng);
        let end = tell(case, &world, &manner, &clock, &mut story)?;
        if end == End::Job(JobEnd::Finished) && rng.random_bool(0.8) {
            return judge(case, &world, story);
        }
    }
    let manner = Manner { suspend_at: None, ..Manner::random(Dangers { stalls: 0.05, ..Dangers::NONE }, &mut rng) };
    tell(case, &world, &manner, &clock, &mut story)?;
    judge(case, &world, story)
}

/// One more life.
fn tell(
    case: &Case,
    world: &World,
    manner: &Manner,
    clock: &Arc<ManualClock>,
    story: &mut Story,
) -> Result<End, String> {
    let so_far = |story: &Story| format!("lives: {:?}, then {manner:?}\n  {:#?}", story.ends, story.trace);
    let (end, life) = live(case, world, manner, clock).map_err(|e| format!("{e}\n  {}", so_far(story)))?;
    story.ends.push(end);
    story.trace.extend(life.trace());
    Ok(end)
}

/// Holds what is shown in the end against what a run without faults shows.
///
/// # Errors
/// What is lost or there twice.
pub fn judge(case: &Case, world: &World, story: Story) -> Result<Story, String> {
    match case.difference(world) {
        None => Ok(story),
        Some(d) => Err(format!("{d}\n  lives: {:?}\n  {:#?}", story.ends, story.trace)),
    }
}
