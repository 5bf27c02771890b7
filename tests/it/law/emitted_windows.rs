//! Group windows that give early and late results: whatever has gone out folds to what the windows hold, in time and late rows
//! alike, however the input is cut, on any number of workers, and handed over on the way.

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

/// A query and its input; all times but those of rows in seconds.
#[derive(Debug)]
struct Case {
    early: bool,
    /// How long windows take late rows, where late results are asked for.
    late: Option<i64>,
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
        let (early, late) = match rng.random_range(0..3) {
            0 => (true, None),
            1 => (false, Some(rng.random_range(0..6))),
            _ => (true, Some(rng.random_range(0..6))),
        };
        let mut clock = 0;
        let count = rng.random_range(0..120);
        let rows = (0..count).map(|_| {
            clock += rng.random_range(0..1200);
            let behind = if rng.random_bool(0.4) { rng.random_range(0..9000) } else { 0 };
            ([Some("a"), Some("b"), None][rng.random_range(0..3)], rng.random_range(-4..4), clock - behind)
        });
        let rows = rows.collect();
        let (size, delay) = (slide * rng.random_range(1..=3), rng.random_range(0..3));
        (Self { early, late, size, slide, delay, rows }, rng)
    }

    fn circuit(&self) -> Arc<Circuit> {
        let mut connectors = Connectors::default();
        connectors.register(Arc::new(Channels::default()));
        let mut session = Session::new(connectors);
        let mut set = |key: &str, value: &str| drop(session.set(&format!("table.exec.emit.{key}"), value).unwrap());
        if self.early {
            set("early-fire.enabled", "true");
        }
        if let Some(lateness) = self.late {
            set("late-fire.enabled", "true");
            set("late-fire.delay", "0 s");
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

    /// What stands after each number of rows, and last at the end of the input.
    fn expected(&self) -> Vec<Vec<String>> {
        let mut groups: BTreeMap<(i64, Option<&str>), Vec<i64>> = BTreeMap::new();
        let mut told: BTreeMap<(i64, Option<&str>), Vec<i64>> = BTreeMap::new();
        let (size, slide) = (self.size * 1000, self.slide * 1000);
        let mut reached = i64::MIN;
        let mut all = Vec::new();
        let shown = |told: &BTreeMap<(i64, Option<&str>), Vec<i64>>| {
            let row = |((start, k), values): (&(i64, Option<&str>), &Vec<i64>)| {
                let (sum, max) = (values.iter().sum::<i64>(), values.iter().max().unwrap());
                format!("{start} {} {} {sum} {max}", k.unwrap_or("NULL"), values.len())
            };
            let mut rows: Vec<String> = told.iter().map(row).collect();
            rows.sort();
            rows
        };
        all.push(Vec::new());
        for (k, v, ts) in &self.rows {
            for n in 0..size / slide {
                let start = ts.div_euclid(slide) * slide - n * slide;
                if start + size - 1 + self.late.unwrap_or(0) * 1000 > reached {
                    groups.entry((start, *k)).or_default().push(*v);
                }
            }
            reached = reached.max(ts - self.delay * 1000);
            // Open windows are told of only where that is asked for.
            let tells = |start: i64| self.early || start + size - 1 <= reached;
            told.extend(groups.iter().filter(|(key, _)| tells(key.0)).map(|(key, values)| (*key, values.clone())));
            all.push(shown(&told));
        }
        told.extend(groups);
        all.push(shown(&told));
        all
    }
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
    let expected = case.expected();
    let circuit = case.circuit();
    let tables = HashMap::from([("t".to_string(), case.input())]);
    let rows = HashMap::from([("t".to_string(), case.rows.len())]);
    for attempt in 0..6 {
        let schedule = match attempt {
            0 => Schedule::at_once(&rows),
            _ => Schedule::random(&rows, &mut rng, attempt > 3),
        };
        let observed = run(&circuit, &tables, &schedule).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{case:#?}"));
        let mut table = BTreeMap::new();
        for (step, sinks) in observed.steps.iter().enumerate() {
            fold(&mut table, sinks[0].iter());
            let place = if step < schedule.steps.len() { schedule.consumed("t", step) } else { expected.len() - 1 };
            let given: Vec<String> = table.keys().cloned().collect();
            assert_eq!(given, expected[place], "seed {seed}, step {step} of {schedule:?}\n{case:#?}");
        }
    }
}

#[test]
fn early_and_late_results_fold_to_what_windows_hold() {
    let first: u64 = std::env::var("MILLSTREAM_SEED").ok().and_then(|c| c.parse().ok()).unwrap_or(1);
    (first..first + cases() * 10).for_each(prove);
}
