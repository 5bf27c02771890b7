//! Windows of processing time, over random clocks: which window a row belongs to and when it goes out follows from the times of
//! the steps alone, on any number of workers, restored at any step.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
use millstream::change::ChangeBatch;
use millstream::connector::Connectors;
use millstream::connector::channel::Channels;
use millstream::operator::window::{WindowKind, WindowSpec};
use millstream::plan::{Query, StateTtls};
use millstream::runtime::circuit::NodeKind;
use millstream::runtime::{Circuit, Executor, SourceState, StepInput};
use millstream::sql::parse::parse_script;
use millstream::sql::{Outcome, Session};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::case::cases;
use super::reference::windows_of;
use super::rows::{difference, rows};

/// The windows of a query.
#[derive(Debug, Clone, Copy)]
enum Windows {
    Fixed(WindowSpec),
    Session(i64),
}

#[derive(Debug)]
struct Case {
    query: String,
    windows: Windows,
    /// Whether rows of all keys make sessions together.
    keyed: bool,
    /// For each step the clock and the rows: a key and a value.
    steps: Vec<(i64, Vec<(i64, i64)>)>,
    workers: usize,
    /// The steps behind which another number of workers takes over.
    restores: BTreeMap<usize, usize>,
}

/// Start, end, key, count, sum.
type Group = (i64, i64, i64, i64, i64);

impl Case {
    fn random(seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x7071_6d65);
        let seconds = |n: i64| format!("INTERVAL '{n}' SECOND");
        let (part, times) = (rng.random_range(1..=4), rng.random_range(1..=3));
        let size = part * times;
        let group = rng.random_bool(0.4);
        let keyed = group || rng.random_bool(0.7);
        let spec = |kind| Windows::Fixed(WindowSpec { kind, offset: 0 });
        let (name, spans, windows) = match rng.random_range(0..if group { 3 } else { 4 }) {
            0 => ("TUMBLE", seconds(size), spec(WindowKind::Tumble { size: size * 1000 })),
            1 => {
                let kind = WindowKind::Hop { size: size * 1000, slide: part * 1000 };
                ("HOP", format!("{}, {}", seconds(part), seconds(size)), spec(kind))
            }
            2 => ("SESSION", seconds(part), Windows::Session(part * 1000)),
            _ => {
                let kind = WindowKind::Cumulate { size: size * 1000, step: part * 1000 };
                ("CUMULATE", format!("{}, {}", seconds(part), seconds(size)), spec(kind))
            }
        };
        let query = if group {
            format!(
                "SELECT {name}_START(p, {spans}) AS s, {name}_END(p, {spans}) AS e, k, COUNT(*) AS c, SUM(v) AS v FROM t \
                 GROUP BY k, {name}(p, {spans})"
            )
        } else {
            let partition = if name == "SESSION" && keyed { " PARTITION BY k" } else { "" };
            let key = if keyed { "k" } else { "MAX(CAST(0 AS BIGINT)) AS k" };
            let by = if keyed { ", k" } else { "" };
            format!(
                "SELECT window_start AS s, window_end AS e, {key}, COUNT(*) AS c, SUM(v) AS v \
                 FROM TABLE({name}(TABLE t{partition}, DESCRIPTOR(p), {spans})) GROUP BY window_start, window_end{by}"
            )
        };
        let mut now = rng.random_range(0..100_000);
        let steps = (0..rng.random_range(1..30)).map(|_| {
            // Often on a second, or a millisecond before; sometimes back, sometimes not at all.
            now = match rng.random_range(0..8) {
                0 => now,
                1 => now - rng.random_range(0..2000),
                2 | 3 => (now / 1000 + rng.random_range(1..4)) * 1000 - rng.random_range(0..2),
                _ => now + rng.random_range(0..3000),
            };
            let count = *[0, 0, 1, 2, 7].get(rng.random_range(0..5)).unwrap();
            (now, (0..count).map(|_| (rng.random_range(0..4), rng.random_range(-9..9))).collect())
        });
        let steps: Vec<_> = steps.collect();
        let restores = (0..steps.len()).filter(|_| rng.random_bool(0.2)).collect::<Vec<_>>();
        let restores = restores.into_iter().map(|step| (step, rng.random_range(1..=4))).collect();
        Self { query, windows, keyed, steps, workers: rng.random_range(1..=4), restores }
    }

    fn circuit(&self) -> Arc<Circuit> {
        let mut connectors = Connectors::default();
        connectors.register(Arc::new(Channels::default()));
        let mut session = Session::new(connectors);
        let table = "CREATE TABLE t (k BIGINT, v BIGINT, p AS PROCTIME()) WITH ('connector' = 'channel')";
        session.execute(&parse_script(table).unwrap()[0]).unwrap();
        let statement = &parse_script(&self.query).unwrap()[0];
        let Outcome::Query(query) = session.execute(statement).unwrap() else { panic!("no query: {}", self.query) };
        let query = Query { plan: query.plan, target: None, state_ttls: StateTtls::new() };
        Arc::new(session.compile(vec![query], statement).unwrap())
    }

    /// The groups of rows that came with the clock at some times, of the windows that end by a time.
    fn expected(&self, until: usize, end: i64) -> Vec<Group> {
        let mut groups: BTreeMap<(i64, i64, i64), (i64, i64)> = BTreeMap::new();
        let mut open: BTreeMap<i64, Vec<Group>> = BTreeMap::new();
        let mut reached = i64::MIN;
        for (now, rows) in &self.steps[..until] {
            reached = reached.max(*now);
            for (key, value) in rows {
                let key = if self.keyed { *key } else { 0 };
                match self.windows {
                    Windows::Fixed(spec) => {
                        for (start, end) in windows_of(&spec, reached) {
                            let group = groups.entry((start, end, key)).or_default();
                            *group = (group.0 + 1, group.1 + value);
                        }
                    }
                    Windows::Session(gap) => {
                        let sessions = open.entry(key).or_default();
                        // One that has ended takes no more rows.
                        match sessions.last_mut().filter(|s| reached < s.1) {
                            Some(s) => *s = (s.0, reached + gap, key, s.3 + 1, s.4 + value),
                            None => sessions.push((reached, reached + gap, key, 1, *value)),
                        }
                    }
                }
            }
        }
        let groups = groups.into_iter().map(|((s, e, k), (c, v))| (s, e, k, c, v));
        groups.chain(open.into_values().flatten()).filter(|g| g.1 <= end).collect()
    }

    fn failure(&self) -> Option<String> {
        let circuit = self.circuit();
        let mut executor = Executor::try_new(Arc::clone(&circuit), self.workers).unwrap();
        let mut ours: Vec<RecordBatch> = Vec::new();
        let mut reached = i64::MIN;
        for (step, (now, taken)) in self.steps.iter().enumerate() {
            let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(taken.iter().map(|r| r.0)));
            let values: ArrayRef = Arc::new(Int64Array::from_iter_values(taken.iter().map(|r| r.1)));
            let wanted = &circuit.sources[0].projection;
            let columns = wanted.fields().iter().map(|f| if f.name() == "k" { keys.clone() } else { values.clone() });
            let batch = RecordBatch::try_new(wanted.clone(), columns.collect()).unwrap();
            let input = StepInput {
                batches: vec![vec![ChangeBatch::append(batch)]],
                sources: vec![SourceState::Active],
                processing_time: *now,
                ..StepInput::default()
            };
            ours.extend(results(executor.step(input).unwrap().sinks));
            reached = reached.max(*now);
            if let Some(d) = difference(&rows(&ours), &rows([&batch_of(&self.expected(step + 1, reached))])) {
                return Some(format!("after step {step}: {d}"));
            }
            if let Some(workers) = self.restores.get(&step) {
                let snapshot = executor.snapshot().unwrap();
                executor = Executor::try_new(Arc::clone(&circuit), *workers).unwrap();
                executor.restore(snapshot).unwrap();
            }
        }
        let last = StepInput { sources: vec![SourceState::Ended], processing_time: reached, ..StepInput::default() };
        ours.extend(results(executor.step(last).unwrap().sinks));
        let all = batch_of(&self.expected(self.steps.len(), i64::MAX));
        difference(&rows(&ours), &rows([&all])).map(|d| format!("in the end: {d}"))
    }
}

fn results(sinks: Vec<Vec<ChangeBatch>>) -> impl Iterator<Item = RecordBatch> {
    sinks.into_iter().flatten().map(|batch| {
        assert!(batch.kinds.is_none(), "a change where rows only come");
        batch.rows
    })
}

fn batch_of(groups: &[Group]) -> RecordBatch {
    let times =
        |f: fn(&Group) -> i64| Arc::new(TimestampMillisecondArray::from_iter_values(groups.iter().map(f))) as ArrayRef;
    let numbers = |f: fn(&Group) -> i64| Arc::new(Int64Array::from_iter_values(groups.iter().map(f))) as ArrayRef;
    RecordBatch::try_from_iter([
        ("s", times(|g| g.0)),
        ("e", times(|g| g.1)),
        ("k", numbers(|g| g.2)),
        ("c", numbers(|g| g.3)),
        ("v", numbers(|g| g.4)),
    ])
    .unwrap()
}

/// The operators that these cases run.
pub fn operators() -> Vec<String> {
    let circuits = (1..10).map(|seed| Case::random(seed).circuit());
    let names = circuits.flat_map(|circuit| {
        let operator = |kind: &NodeKind| match kind {
            NodeKind::Operator(factory) => Some(factory.name().to_string()),
            _ => None,
        };
        circuit.nodes.iter().filter_map(|node| operator(&node.kind)).collect::<Vec<_>>()
    });
    names.collect()
}

#[test]
fn windows_of_processing_time() {
    let first: u64 = std::env::var("MILLSTREAM_SEED").ok().and_then(|c| c.parse().ok()).unwrap_or(1);
    for seed in first..first + cases() * 4 {
        let case = Case::random(seed);
        if let Some(failure) = case.failure() {
            panic!("seed {seed}\n{case:#?}\n  {failure}");
        }
    }
}
