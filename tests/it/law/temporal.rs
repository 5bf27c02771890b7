//! Temporal joins: each row's answer, by the definition, over random versions and rows that ask; in steps cut anywhere, on any
//! number of workers, handed over on the way.
//!
//! With one table both sides' rows have one order of arrival, and late ones are answered as that says. Which rows of two tables came
//! first is up to the cut: nothing is late there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::Int64Type;
use millstream::change::{ChangeBatch, RowKind};
use millstream::connector::Connectors;
use millstream::connector::channel::Channels;
use millstream::plan::{CompileOptions, Query, StateTtls, compile};
use millstream::runtime::Circuit;
use millstream::runtime::circuit::NodeKind;
use millstream::sql::parse::parse_script;
use millstream::sql::{Outcome, Session};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::Material;
use super::case::cases;
use super::exec::{Schedule, run};

/// What the watermark is behind, in milliseconds.
const DELAY: i64 = 5_000;

/// Where versions come from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Source {
    /// A table of new rows with a PRIMARY KEY; it asks itself.
    Itself,
    /// The last row of each key, of those rows that do not ask.
    Deduplicated,
    /// A table of its own, of new rows, of whole changes, or of rows by key.
    Table(&'static str),
}

const SOURCES: [Source; 5] =
    [Source::Itself, Source::Deduplicated, Source::Table("append"), Source::Table("retract"), Source::Table("upsert")];

#[derive(Debug, Clone, Copy)]
struct Row {
    kind: RowKind,
    id: i64,
    key: Option<i64>,
    v: i64,
    ts: i64,
    asks: bool,
}

/// The id of a row that asked, and that of its version.
type Answer = (i64, Option<i64>);

pub struct Case {
    source: Source,
    outer: bool,
    /// Whether a version must have less of `v` than the row that asks.
    conditional: bool,
    script: Vec<String>,
    circuit: Arc<Circuit>,
    tables: HashMap<String, Vec<Row>>,
}

impl Case {
    pub fn random(seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x7e3f << 32);
        let source = SOURCES[rng.random_range(0..SOURCES.len())];
        let (outer, conditional) = (rng.random_bool(0.5), rng.random_bool(0.3));
        let script = script(source, outer, conditional);
        let mut connectors = Connectors::default();
        connectors.register(Arc::new(Channels::default()));
        let mut session = Session::new(connectors);
        let mut plan = None;
        for text in &script {
            match session.execute(&parse_script(text).unwrap()[0]).unwrap() {
                Outcome::Query(query) => plan = Some(query.plan),
                Outcome::Done { .. } => {}
                other => panic!("{text} came to {other:?}"),
            }
        }
        let query = Query { plan: plan.unwrap(), target: None, state_ttls: StateTtls::new() };
        let circuit = Arc::new(compile(vec![query], CompileOptions::default()).unwrap());
        let disorder = match source {
            Source::Table(_) => 3_000,
            _ => *[0, 4_000, 30_000].get(rng.random_range(0..3)).unwrap(),
        };
        let names = circuit.sources.iter().map(|s| s.table.name.clone());
        let tables = names.map(|name| {
            let changes = name == "r";
            (name, rows(source, changes, disorder, &mut rng))
        });
        let mut tables: Vec<_> = tables.collect();
        tables.sort_by(|a, b| a.0.cmp(&b.0));
        Self { source, outer, conditional, script, circuit, tables: tables.into_iter().collect() }
    }

    pub fn operators(&self) -> Vec<String> {
        let operator = |kind: &NodeKind| match kind {
            NodeKind::Operator(factory) => Some(factory.name().to_string()),
            _ => None,
        };
        self.circuit.nodes.iter().filter_map(|n| operator(&n.kind)).collect()
    }

    /// The circuit and its rows.
    pub fn material(self) -> Material {
        let tables = self.tables.iter().map(|(name, rows)| (name.clone(), self.batch(name, rows))).collect();
        Material { text: format!("{:#?}", self.script), circuit: self.circuit, tables, any_order: false }
    }

    fn check(&self, seed: u64) {
        let counts: HashMap<String, usize> = self.tables.iter().map(|(n, r)| (n.clone(), r.len())).collect();
        let changes: HashMap<String, ChangeBatch> =
            self.tables.iter().map(|(name, rows)| (name.clone(), self.batch(name, rows))).collect();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x5eed);
        for trial in 0..4 {
            let schedule = match trial {
                0 => Schedule::at_once(&counts),
                _ => Schedule::random(&counts, &mut rng, trial >= 2),
            };
            let about = || format!("seed {seed}\n{:#?}\n{:#?}\nwith {schedule:?}", self.script, self.tables);
            let observed = run(&self.circuit, &changes, &schedule).unwrap_or_else(|e| panic!("{e}\n{}", about()));
            for step in 0..=schedule.steps.len() {
                let consumed = |name: &str| schedule.consumed(name, step);
                let mut expected = self.expected(consumed, step == schedule.steps.len());
                let mut ours: Vec<Answer> = observed.until(step, 0).iter().flat_map(answers).collect();
                expected.sort_unstable();
                ours.sort_unstable();
                assert_eq!(ours, expected, "after step {step}: {}", about());
            }
        }
    }

    fn batch(&self, name: &str, rows: &[Row]) -> ChangeBatch {
        let source = self.circuit.sources.iter().find(|s| s.table.name == name).unwrap();
        let whole = |of: fn(&Row) -> Option<i64>| Arc::new(rows.iter().map(of).collect::<Int64Array>()) as ArrayRef;
        let column = |name: &str| match name {
            "id" => whole(|r| Some(r.id)),
            "k" => whole(|r| r.key),
            "v" => whole(|r| Some(r.v)),
            "asks" => whole(|r| Some(i64::from(r.asks))),
            _ => Arc::new(rows.iter().map(|r| Some(r.ts)).collect::<TimestampMillisecondArray>()),
        };
        let columns = source.table.schema.fields().iter().map(|f| column(f.name())).collect();
        let kinds = rows.iter().any(|r| r.kind != RowKind::Insert).then(|| rows.iter().map(|r| r.kind).collect());
        let rows = RecordBatch::try_new(Arc::clone(&source.table.schema), columns).unwrap();
        ChangeBatch { kinds, ..ChangeBatch::append(rows) }
    }

    fn matches(&self, asking: &Row, version: Option<&Row>) -> Option<Answer> {
        let version = version.filter(|v| v.kind.is_addition() && (!self.conditional || v.v < asking.v));
        (self.outer || version.is_some()).then_some((asking.id, version.map(|v| v.id)))
    }

    fn expected(&self, consumed: impl Fn(&str) -> usize, ended: bool) -> Vec<Answer> {
        let of = |name: &str| &self.tables[name][..consumed(name)];
        match self.source {
            Source::Table(_) => self.by_definition(of("l"), of("r"), ended),
            _ => self.one_by_one(of("t"), ended),
        }
    }

    /// Where nothing is late: of the versions up to a row's time the last.
    fn by_definition(&self, asking: &[Row], versions: &[Row], ended: bool) -> Vec<Answer> {
        let reached = |rows: &[Row]| rows.iter().map(|r| r.ts - DELAY).max().unwrap_or(i64::MIN);
        let watermark = if ended { i64::MAX } else { reached(asking).min(reached(versions)) };
        let passed = asking.iter().filter(|row| row.ts <= watermark);
        let answer = |row: &Row| {
            let held = versions.iter().filter(|v| v.key == row.key && v.ts <= row.ts);
            let held = held.filter(|v| v.kind != RowKind::UpdateBefore);
            self.matches(row, held.max_by_key(|v| v.ts))
        };
        passed.filter_map(answer).collect()
    }

    /// One row after another: whenever the watermark moves on, those that it passes are answered from the versions that are
    /// held, and then all versions go that it has passed, but for the last of each key.
    fn one_by_one(&self, rows: &[Row], ended: bool) -> Vec<Answer> {
        let mut held: BTreeMap<Option<i64>, BTreeMap<i64, Row>> = BTreeMap::new();
        let mut newest: BTreeMap<Option<i64>, i64> = BTreeMap::new();
        let mut waiting: Vec<Row> = Vec::new();
        let mut answered = Vec::new();
        let mut watermark = i64::MIN;
        let end = ended.then_some(i64::MAX);
        for (row, moved) in rows.iter().map(|r| (Some(r), r.ts - DELAY)).chain(end.map(|w| (None, w))) {
            if let Some(row) = row {
                if row.asks {
                    waiting.push(*row);
                }
                let newest = newest.entry(row.key).or_insert(i64::MIN);
                let taken = match self.source {
                    Source::Deduplicated => !row.asks && row.ts >= *newest,
                    _ => true,
                };
                if taken {
                    *newest = row.ts;
                    held.entry(row.key).or_default().insert(row.ts, *row);
                }
            }
            if moved <= watermark {
                continue;
            }
            watermark = moved;
            waiting.retain(|row| {
                let version = held.get(&row.key).and_then(|v| v.range(..=row.ts).next_back());
                let passed = row.ts <= watermark;
                answered.extend(if passed { self.matches(row, version.map(|(_, v)| v)) } else { None });
                !passed
            });
            for versions in held.values_mut() {
                let last = versions.range(..=watermark).next_back().map_or(i64::MIN, |(ts, _)| *ts);
                versions.retain(|ts, _| *ts >= last);
            }
        }
        answered
    }
}

fn answers(rows: &RecordBatch) -> Vec<Answer> {
    let [asked, found] = [0, 1].map(|c| rows.column(c).as_primitive::<Int64Type>().clone());
    (0..rows.num_rows()).map(|i| (asked.value(i), found.is_valid(i).then(|| found.value(i)))).collect()
}

fn script(source: Source, outer: bool, conditional: bool) -> Vec<String> {
    let table = |name: &str, more: &str, options: &str| {
        format!(
            "CREATE TABLE {name} (id BIGINT, k BIGINT, v BIGINT, asks BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - \
             INTERVAL '5' SECOND{more}) WITH ('connector' = 'channel'{options})"
        )
    };
    let key = ", PRIMARY KEY (k) NOT ENFORCED";
    let mut script = match source {
        Source::Itself => vec![table("t", key, "")],
        Source::Deduplicated => vec![
            table("t", "", ""),
            "CREATE VIEW l AS SELECT * FROM t WHERE asks = 1".into(),
            "CREATE VIEW r AS SELECT id, v, k, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS rn \
             FROM t WHERE asks = 0) WHERE rn = 1"
                .into(),
        ],
        Source::Table(mode) => {
            vec![table("l", "", ""), table("r", key, &format!(", 'changelog.mode' = '{mode}'"))]
        }
    };
    let (left, right) = if source == Source::Itself { ("t", "t") } else { ("l", "r") };
    let kind = if outer { "LEFT" } else { "INNER" };
    let condition = if conditional { " AND b.v < a.v" } else { "" };
    script.push(format!(
        "SELECT a.id, b.id FROM {left} AS a {kind} JOIN {right} FOR SYSTEM_TIME AS OF a.ts AS b ON a.k = b.k{condition}"
    ));
    script
}

/// Random rows, a little apart in time, some behind. Of a table that changes, the changes of its keys.
fn rows(source: Source, changes: bool, disorder: i64, rng: &mut Xoshiro256PlusPlus) -> Vec<Row> {
    let count = *[0, 1, 5, 60, 200].get(rng.random_range(0..5)).unwrap();
    let gap = *[0, 300, 3_000].get(rng.random_range(0..3)).unwrap();
    let mut clock = 1_700_000_000_000;
    let mut last: BTreeMap<Option<i64>, Row> = BTreeMap::new();
    let mut made = Vec::new();
    for id in 0..count {
        clock += rng.random_range(0..=gap);
        let late = if rng.random_bool(0.3) { rng.random_range(0..=disorder) } else { 0 };
        let ts = if rng.random_bool(0.5) { (clock - late) / 1000 * 1000 + 999.min(disorder) } else { clock - late };
        let nullable = source == Source::Deduplicated && rng.random_bool(0.1);
        let key = (!nullable).then(|| rng.random_range(0..5) + id / 40);
        let row = Row {
            kind: RowKind::Insert,
            id,
            key,
            v: rng.random_range(0..10),
            ts,
            asks: changes || rng.random_bool(0.5),
        };
        let asks = source == Source::Itself || row.asks;
        let row = Row { asks, ..row };
        let (Source::Table(mode), true) = (source, changes) else {
            made.push(row);
            continue;
        };
        match (mode, last.get(&key).copied()) {
            ("retract", Some(before)) if rng.random_bool(0.3) => {
                made.push(Row { kind: RowKind::Delete, ts, ..before });
                last.remove(&key);
                continue;
            }
            ("retract", Some(before)) => {
                made.push(Row { kind: RowKind::UpdateBefore, ts, ..before });
                made.push(Row { kind: RowKind::UpdateAfter, ..row });
            }
            ("upsert", _) => made.push(Row { kind: RowKind::UpdateAfter, ..row }),
            _ => made.push(row),
        }
        last.insert(key, row);
    }
    made
}

#[test]
fn temporal_joins() {
    let first: u64 = std::env::var("MILLSTREAM_SEED").ok().and_then(|c| c.parse().ok()).unwrap_or(1);
    for seed in first..first + 3 * cases() {
        Case::random(seed).check(seed);
    }
}
