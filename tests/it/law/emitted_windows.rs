//! Group windows that give early and late results: whatever has gone out folds to what the windows hold, in time and late rows
//! alike, however the input is cut, on any number of workers, and handed over on the way. Where results wait, what has gone out
//! follows from the times of the steps alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{Int64Type, TimestampMillisecondType};
use millstream::change::ChangeBatch;
use millstream::connector::Connectors;
use millstream::connector::channel::Channels;
use millstream::runtime::Circuit;
use millstream::sql::Session;
use millstream::sql::parse::parse_script;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::case::cases;
use super::exec::{Schedule, run};

/// A query and its input; all times but those of rows and of waiting in seconds.
#[derive(Debug)]
struct Case {
    /// How long early results wait, in milliseconds, where they are asked for.
    early: Option<i64>,
    /// How long windows take late rows, where late results are asked for.
    late: Option<i64>,
    /// How long late results wait, in milliseconds.
    late_wait: i64,
    size: i64,
    /// Less than the size: a HOP.
    slide: i64,
    delay: i64,
    rows: Vec<(Option<&'static str>, i64, i64)>,
}

impl Case {
    fn random(seed: u64) -> (Self, Xoshiro256PlusPlus) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let slide = rng.random_range(1..=4);
        let wait = |rng: &mut Xoshiro256PlusPlus| [0, 0, 1, 700, 2_500][rng.random_range(0..5)];
        let (early, late) = match rng.random_range(0..3) {
            0 => (Some(wait(&mut rng)), None),
            1 => (None, Some(rng.random_range(0..6))),
            _ => (Some(wait(&mut rng)), Some(rng.random_range(0..6))),
        };
        let late_wait = wait(&mut rng);
        let mut clock = 0;
        let count = rng.random_range(0..120);
        let rows = (0..count).map(|_| {
            clock += rng.random_range(0..1200);
            let behind = if rng.random_bool(0.4) { rng.random_range(0..9000) } else { 0 };
            ([Some("a"), Some("b"), None][rng.random_range(0..3)], rng.random_range(-4..4), clock - behind)
        });
        let rows = rows.collect();
        let (size, delay) = (slide * rng.random_range(1..=3), rng.random_range(0..3));
        (Self { early, late, late_wait, size, slide, delay, rows }, rng)
    }

    fn circuit(&self) -> Arc<Circuit> {
        let mut connectors = Connectors::default();
        connectors.register(Arc::new(Channels::default()));
        let mut session = Session::new(connectors);
        let mut set = |key: &str, value: &str| drop(session.set(&format!("table.exec.emit.{key}"), value).unwrap());
        if let Some(wait) = self.early {
            set("early-fire.enabled", "true");
            set("early-fire.delay", &format!("{wait} ms"));
        }
        if let Some(lateness) = self.late {
            set("late-fire.enabled", "true");
            set("late-fire.delay", &format!("{} ms", self.late_wait));
            set("allow-lateness", &format!("{lateness} s"));
        }
        let window = format!("HOP(ts, INTERVAL '{}' SECOND, INTERVAL '{}' SECOND)", self.slide, self.size);
        let start = window.replace("HOP(", "HOP_START(");
        let texts = [
            format!(
                "CREATE TABLE t (k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '{}' SECOND) WITH \
                 ('connector' = 'channel')",
                self.delay
            ),
            format!("SELECT {start}, k, COUNT(*), SUM(v), MAX(v) FROM t GROUP BY k, {window}"),
        ];
        let mut circuit = None;
        for text in texts {
            let statement = parse_script(&text).unwrap().remove(0);
            if let Ok(queries) = session.execute(&statement).unwrap().queries() {
                circuit = Some(session.compile(queries, &statement).unwrap());
            }
        }
        Arc::new(circuit.unwrap())
    }

    fn input(&self) -> ChangeBatch {
        let columns: [(&str, ArrayRef); 3] = [
            ("k", Arc::new(self.rows.iter().map(|r| r.0).collect::<StringArray>())),
            ("v", Arc::new(Int64Array::from_iter_values(self.rows.iter().map(|r| r.1)))),
            ("ts", Arc::new(TimestampMillisecondArray::from_iter_values(self.rows.iter().map(|r| r.2)))),
        ];
        ChangeBatch::append(RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).unwrap())
    }

    /// What has been told after each step, and last at the end of the input.
    fn expected(&self, schedule: &Schedule) -> Vec<Vec<String>> {
        let mut groups: Groups<'_> = BTreeMap::new();
        let mut told: Groups<'_> = BTreeMap::new();
        // Groups that are to be told of, and the time that each waits for.
        let mut untold: BTreeMap<(i64, Option<&str>), Option<i64>> = BTreeMap::new();
        let (size, slide) = (self.size * 1000, self.slide * 1000);
        let lateness = self.late.unwrap_or(0) * 1000;
        let (mut reached, mut all) = (i64::MIN, Vec::new());
        for step in 0..=schedule.steps.len() {
            let before = reached;
            let from = if step == 0 { 0 } else { schedule.consumed("t", step - 1) };
            for (k, v, ts) in &self.rows[from..schedule.consumed("t", step)] {
                for n in 0..size / slide {
                    let start = ts.div_euclid(slide) * slide - n * slide;
                    if start + size - 1 + lateness > reached {
                        groups.entry((start, *k)).or_default().push(*v);
                        untold.entry((start, *k)).or_default();
                    }
                }
                reached = reached.max(ts - self.delay * 1000);
            }
            if step == schedule.steps.len() {
                reached = i64::MAX;
            }
            let now = schedule.now(step);
            untold.retain(|key, until| {
                let last = key.0 + size - 1;
                let passed = |time: i64| time > before && time <= reached;
                let wait = if last <= reached { self.late.map(|_| self.late_wait) } else { self.early };
                let is_due = until.is_some_and(|until| until <= now) || wait == Some(0);
                if is_due || passed(last) || passed(last + lateness) {
                    told.insert(*key, groups[key].clone());
                    return false;
                }
                *until = until.or(wait.map(|wait| now + wait));
                true
            });
            all.push(shown(&told));
        }
        all
    }

    /// What stands after each number of rows, and last at the end of the input, where no result waits.
    fn expected_at_once(&self) -> Vec<Vec<String>> {
        let each = self.rows.iter().map(|_| (HashMap::from([("t".to_string(), 1)]), 1)).collect();
        let row_by_row = Schedule { steps: each, workers: 1, pace: 1, restores: HashMap::new(), memory: None };
        std::iter::once(Vec::new()).chain(self.expected(&row_by_row)).collect()
    }

    fn waits(&self) -> bool {
        self.early.is_some_and(|wait| wait > 0) || self.late.is_some() && self.late_wait > 0
    }
}

/// The values of each window and key.
type Groups<'a> = BTreeMap<(i64, Option<&'a str>), Vec<i64>>;

fn shown(told: &Groups<'_>) -> Vec<String> {
    let row = |((start, k), values): (&(i64, Option<&str>), &Vec<i64>)| {
        let (sum, max) = (values.iter().sum::<i64>(), values.iter().max().unwrap());
        format!("{start} {} {} {sum} {max}", k.unwrap_or("NULL"), values.len())
    };
    let mut rows: Vec<String> = told.iter().map(row).collect();
    rows.sort();
    rows
}

/// What changes lead to; each must make sense where it comes.
fn fold<'a>(table: &mut BTreeMap<String, i64>, changes: impl Iterator<Item = &'a ChangeBatch>) {
    for batch in changes {
        let columns = batch.rows.columns();
        let (starts, keys) = (columns[0].as_primitive::<TimestampMillisecondType>(), columns[1].as_string::<i32>());
        let numbers: Vec<&Int64Array> = columns[2..].iter().map(|c| c.as_primitive::<Int64Type>()).collect();
        for row in 0..batch.num_rows() {
            let key = if keys.is_null(row) { "NULL" } else { keys.value(row) };
            let numbers: Vec<String> = numbers.iter().map(|n| n.value(row).to_string()).collect();
            let count = table.entry(format!("{} {key} {}", starts.value(row), numbers.join(" "))).or_default();
            *count += if batch.kind(row).is_addition() { 1 } else { -1 };
            assert!((0..=1).contains(count), "a row that comes twice or goes and is not there");
        }
    }
    table.retain(|_, count| *count > 0);
}

fn prove(seed: u64) {
    let (case, mut rng) = Case::random(seed);
    let at_once = case.expected_at_once();
    let circuit = case.circuit();
    let tables = HashMap::from([("t".to_string(), case.input())]);
    let rows = HashMap::from([("t".to_string(), case.rows.len())]);
    for attempt in 0..6 {
        let mut schedule = match attempt {
            0 => Schedule::at_once(&rows),
            _ => Schedule::random(&rows, &mut rng, attempt > 3),
        };
        schedule.pace = [1, 400, 1_700][rng.random_range(0..3)];
        let expected = case.expected(&schedule);
        let observed = run(&circuit, &tables, &schedule).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{case:#?}"));
        let mut table = BTreeMap::new();
        for (step, sinks) in observed.steps.iter().enumerate() {
            fold(&mut table, sinks[0].iter());
            let given: Vec<String> = table.keys().cloned().collect();
            assert_eq!(given, expected[step], "seed {seed}, step {step} of {schedule:?}\n{case:#?}");
            if !case.waits() {
                let place = if step < schedule.steps.len() { schedule.consumed("t", step) } else { at_once.len() - 1 };
                assert_eq!(given, at_once[place], "seed {seed}, step {step} of {schedule:?}\n{case:#?}");
            }
        }
    }
}

#[test]
fn early_and_late_results_fold_to_what_windows_hold() {
    let first: u64 = std::env::var("MILLSTREAM_SEED").ok().and_then(|c| c.parse().ok()).unwrap_or(1);
    (first..first + cases() * 10).for_each(prove);
}
