//! The bound law: no operator holds more than what `EXPLAIN` said before anything ran.
//!
//! A tap in front of each operator that keeps something notes what the operator is given; from that, what is stated comes to a
//! number after every step: rows still within their time, distinct keys among them.

mod held;
mod lookups;
mod query;
mod tap;

use std::sync::Arc;

use arrow::array::RecordBatch;
use millstream::change::{ChangeBatch, RowKind};
use millstream::connector::Connectors;
use millstream::connector::channel::Channels;
use millstream::operator::{Operator, OperatorFactory, OperatorStats};
use millstream::runtime::circuit::{Node, NodeKind};
use millstream::runtime::{Circuit, Executor, SourceState, StepInput};
use millstream::sql::parse::parse_script;
use millstream::sql::{Outcome, Session};
use millstream::table::project;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use self::held::{Moment, most};
use self::query::{DECLARATIONS, Data, TEMPLATES, Template};
use self::tap::{Taps, is_by_clock, tapped};

/// How much processing time passes from step to step, in milliseconds.
const STEP_MILLIS: i64 = 700;

/// What a run saw.
#[derive(Debug, Default)]
struct Seen {
    /// Where an operator held more than it may.
    excess: Option<String>,
    /// How often an operator with a bound was looked at while it held something.
    looks: usize,
    /// Operators with something held that is bounded.
    bounded: Vec<String>,
}

/// A query's circuit; `None` where it is not planned yet.
fn circuit(sql: &str, ttl: Option<&str>) -> Option<Circuit> {
    let mut connectors = Connectors::default();
    connectors.register(Arc::new(Channels::default()));
    let mut session = Session::new(connectors);
    if let Some(ttl) = ttl {
        session.set("table.exec.state.ttl", ttl).unwrap();
    }
    for statement in parse_script(&format!("{DECLARATIONS};\n{sql}")).unwrap() {
        match session.execute(&statement) {
            Ok(Outcome::Done { .. }) => {}
            Ok(outcome) => {
                let circuit = session.compile(outcome.queries().unwrap(), &statement);
                return planned(circuit, sql);
            }
            Err(e) => return planned(Err(e), sql),
        }
    }
    panic!("no query in {sql}");
}

fn planned(circuit: millstream::Result<Circuit>, sql: &str) -> Option<Circuit> {
    match circuit {
        Ok(circuit) => Some(circuit),
        Err(e) if e.to_string().contains("not supported") => None,
        Err(e) => panic!("{e}\n{sql}"),
    }
}

/// Feeds a circuit and looks at what its operators hold after every step.
fn run(circuit: &Circuit, seed: u64) -> Seen {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let (circuit, taps) = tapped(circuit);
    let circuit = Arc::new(circuit);
    let mut data = Data::random(&mut rng);
    let mut workers = rng.random_range(1..=3);
    let mut executor = Executor::try_new(Arc::clone(&circuit), workers).unwrap();
    let mut seen = Seen::default();
    let mut at = Moment { watermark: i64::MIN, moved: 0, now: 1_000, ended: false, snapshot: false };
    let mut watermarks = vec![(i64::MIN, 0); circuit.nodes.len()];
    let hands_over = rng.random_bool(0.5);
    while !data.is_empty() {
        at.ended = data.step(&mut rng);
        let mut input = StepInput { processing_time: at.now, ..StepInput::default() };
        taps.now(at.now);
        for source in &circuit.sources {
            let (rows, kinds) = data.taken(&source.table.name, &source.table.schema);
            input.batches.push(vec![batch(&rows, kinds, &source.projection)]);
            input.sources.push(if at.ended { SourceState::Ended } else { SourceState::Active });
        }
        executor.step(input).unwrap();
        look(&circuit, &taps, &mut executor, at, &mut watermarks, &mut seen);
        if seen.excess.is_some() {
            return seen;
        }
        if hands_over && rng.random_bool(0.4) {
            workers = rng.random_range(1..=3);
            let snapshot = executor.snapshot().unwrap();
            executor = Executor::try_new(Arc::clone(&circuit), workers).unwrap();
            executor.restore(snapshot).unwrap();
            at.snapshot = true;
        }
        at.now += STEP_MILLIS;
    }
    seen
}

fn batch(rows: &RecordBatch, kinds: Vec<RowKind>, projection: &arrow::datatypes::SchemaRef) -> ChangeBatch {
    let kinds = kinds.iter().any(|k| *k != RowKind::Insert).then(|| kinds.into());
    ChangeBatch { rows: project(rows, projection).unwrap(), kinds, watermarks: None }
}

/// Holds every operator's state against what is stated of it. `watermarks` holds each node's, and when it moved there.
fn look(
    circuit: &Circuit,
    taps: &Taps,
    executor: &mut Executor,
    at: Moment,
    watermarks: &mut [(i64, i64)],
    seen: &mut Seen,
) {
    executor.report().unwrap();
    let metrics = executor.metrics().snapshot().operators;
    for (id, node) in circuit.nodes.iter().enumerate() {
        let Some(bound) = node.notes.bound.as_ref().filter(|b| b.unbounded().is_none()) else { continue };
        let held = metrics[id].stats.state_rows;
        let inputs = taps.of(id);
        let watermark = match is_by_clock(node) {
            true if at.ended => i64::MAX,
            // More rows may come in the millisecond that it is.
            true => at.now - 1,
            false => node.inputs.iter().map(|i| metrics[i.0].watermark.0).min().unwrap_or(i64::MIN),
        };
        if watermarks[id].0 != watermark {
            watermarks[id] = (watermark, at.now);
        }
        let at = Moment { watermark, moved: watermarks[id].1, ..at };
        let most: u64 = bound.parts.iter().map(|part| most(part, inputs, at)).sum();
        if held > 0 {
            seen.looks += 1;
            seen.bounded.push(metrics[id].name.clone());
        }
        if held > most && seen.excess.is_none() {
            seen.excess = Some(format!(
                "{} ({}) holds {held} rows, and {most} are what was stated comes to: {bound}\n  {at:?}",
                metrics[id].name, node.notes.detail
            ));
        }
    }
}

fn cases() -> u64 {
    std::env::var("MILLSTREAM_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(15)
}

/// Tries random queries of a template; gives the operators that held something bounded, or what was held beyond its bound.
fn prove(template: &Template) -> Result<Vec<String>, String> {
    let first: u64 = std::env::var("MILLSTREAM_SEED").ok().and_then(|c| c.parse().ok()).unwrap_or(1);
    let mut bounded = Vec::new();
    for seed in first..first + cases() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let sql = (template.sql)(&mut rng);
        let ttl = (template.ttl && rng.random_bool(0.5)).then_some("2 s");
        let Some(circuit) = circuit(&sql, ttl) else { return Err(format!("not planned: {sql}")) };
        let seen = run(&circuit, seed);
        if let Some(excess) = seen.excess {
            let plan = millstream::plan::explain(&circuit);
            return Err(format!("seed {seed} of '{}', state TTL {ttl:?}\n{sql}\n{plan}\n  {excess}", template.name));
        }
        bounded.extend(seen.bounded);
    }
    if bounded.is_empty() {
        return Err(format!("no operator of '{}' held anything that is bounded", template.name));
    }
    bounded.sort();
    bounded.dedup();
    Ok(bounded)
}

#[test]
fn no_operator_holds_more_than_was_said() {
    let (proven, failed): (Vec<_>, Vec<_>) = TEMPLATES.iter().map(prove).partition(Result::is_ok);
    let failed: Vec<String> = failed.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    let proven: Vec<String> = proven.into_iter().flatten().flatten().collect();
    for operator in query::MUST_RUN {
        assert!(proven.iter().any(|p| p == operator), "no query made {operator} hold anything: {proven:?}");
    }
}

/// Keeps every row for ever and gives none.
#[derive(Debug)]
struct Leak;

#[derive(Default)]
struct Leaking(u64);

impl OperatorFactory for Leak {
    fn build(&self) -> millstream::Result<Box<dyn Operator>> {
        Ok(Box::new(Leaking::default()))
    }

    fn name(&self) -> &'static str {
        "Leak"
    }
}

impl Operator for Leaking {
    fn push(&mut self, _: usize, batch: ChangeBatch, _: &mut Vec<ChangeBatch>) -> millstream::Result<()> {
        self.0 += batch.num_rows() as u64;
        Ok(())
    }

    fn stats(&self) -> OperatorStats {
        OperatorStats { state_rows: self.0, ..OperatorStats::default() }
    }
}

#[test]
fn a_leak_is_caught() {
    let template = TEMPLATES.iter().find(|t| t.name == "tumble").unwrap();
    let sql = (template.sql)(&mut Xoshiro256PlusPlus::seed_from_u64(1));
    let good = circuit(&sql, None).unwrap();
    let leaks = |node: &mut Node| {
        if node.notes.bound.is_some() {
            node.kind = NodeKind::Operator(Arc::new(Leak));
        }
    };
    let mut leaking = good.clone();
    leaking.nodes.iter_mut().for_each(leaks);
    let caught = (1..10).filter(|seed| run(&leaking, *seed).excess.is_some()).count();
    assert!(caught >= 5, "a leak is caught in {caught} of 9 runs only");
    assert!((1..10).all(|seed| run(&good, seed).excess.is_none()));
}
