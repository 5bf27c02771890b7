//! One case: a script, its tables' rows, and the cuts that it is run with. Says what is wrong, as small as it gets.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use millstream::change::ChangeBatch;
use millstream::connector::Connectors;
use millstream::connector::channel::Channels;
use millstream::plan::{CompileOptions, Query, StateTtls, compile};
use millstream::runtime::Circuit;
use millstream::runtime::circuit::{Node, NodeKind};
use millstream::sql::parse::parse_script;
use millstream::sql::{Outcome, Session};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::Material;
use super::exec::{Observed, Schedule, run};
use super::query::{Late, Script};
use super::reference::{Consumed, Expected, Fault, Reference, Zone};
use super::rows::{difference, rows};
use super::table::Table;

/// A kind of queries.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    pub name: &'static str,
    pub script: fn(&[Table], &mut Xoshiro256PlusPlus) -> Script,
    pub tables: usize,
    /// Whether no row may be late.
    pub ordered: bool,
}

/// Cases that failed once, tried first.
pub const SEEDS: &str = include_str!("../seeds/laws.txt");

/// How many random cases there are of each family: `MILLSTREAM_CASES`.
pub fn cases() -> u64 {
    std::env::var("MILLSTREAM_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(30)
}

/// Proves the laws for random cases of a family.
pub fn prove(family: &Family) {
    let first: u64 = std::env::var("MILLSTREAM_SEED").ok().and_then(|c| c.parse().ok()).unwrap_or(1);
    let kept = SEEDS.lines().filter_map(|l| l.split_once(' ')).filter(|(f, _)| *f == family.name);
    let kept: Vec<u64> = kept.map(|(_, seed)| seed.trim().parse().unwrap()).collect();
    let mut refused = 0;
    for seed in kept.into_iter().chain(first..first + cases()) {
        let case = Case::random(family, seed);
        match case.as_ref().map(|c| c.failure(Fault::None)) {
            Ok(None) => {}
            Ok(Some(failure)) => {
                let (case, failure) = case.unwrap().shrunk(failure, Fault::None);
                panic!("seed {seed} of '{}'\n{case}\n  {failure}", family.name);
            }
            Err(refusal) => {
                refused += 1;
                eprintln!("seed {seed} of '{}' is refused: {refusal}", family.name);
            }
        }
    }
    assert_eq!(refused, 0, "queries of '{}' are refused", family.name);
}

/// A script that has been planned, and its input.
#[derive(Clone)]
pub struct Case {
    script: Script,
    declared: Vec<Table>,
    plans: Vec<LogicalPlan>,
    circuit: Arc<Circuit>,
    rows: HashMap<String, RecordBatch>,
    zone: Zone,
    /// For the cuts.
    seed: u64,
}

impl Case {
    pub fn random(family: &Family, seed: u64) -> Result<Self, String> {
        let salt = family.name.bytes().fold(0u64, |salt, b| salt.wrapping_mul(31).wrapping_add(u64::from(b)));
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ salt << 32);
        let mut connectors = Connectors::default();
        connectors.register(Arc::new(Channels::default()));
        let mut session = Session::new(connectors);
        let zoned = rng.random_bool(0.2);
        let zone = if zoned { Zone(19_800_000) } else { Zone(0) };
        if zoned {
            session.set("table.local-time-zone", "Asia/Kolkata").unwrap();
        }
        let precision = if rng.random_bool(0.25) { 0 } else { 3 };
        let names = ["t", "s"].into_iter().take(family.tables);
        let declared: Vec<Table> =
            names.map(|n| Table::random(n, &mut rng, family.ordered, zoned, precision)).collect();
        let script = (family.script)(&declared, &mut rng);
        let mut plans = Vec::new();
        for text in declared.iter().map(|t| &t.ddl).chain(&script.views).chain(&script.queries) {
            let place = |e| format!("{e}\n{script:#?}");
            let statements = parse_script(text).map_err(place)?;
            match session.execute(&statements[0]).map_err(|e| format!("{e}\n{script:#?}"))? {
                Outcome::Query(query) => plans.push(query.plan),
                Outcome::Done { .. } => {}
                other => panic!("{text} came to {other:?}"),
            }
        }
        let queries =
            plans.iter().map(|plan| Query { plan: plan.clone(), target: None, state_ttls: StateTtls::new() }).collect();
        let circuit = compile(queries, CompileOptions::default()).map_err(|e| format!("{e}\n{script:#?}"))?;
        let fill = |t: &Table| (t.name.clone(), t.rows(&session.table(&t.name).unwrap().descriptor.schema, &mut rng));
        let rows = declared.iter().map(fill).collect();
        Ok(Self { script, declared, plans, circuit: Arc::new(circuit), rows, zone, seed })
    }

    /// The operators that run.
    pub fn operators(&self) -> Vec<String> {
        let operator = |node: &Node| match &node.kind {
            NodeKind::Operator(factory) => Some(factory.name().to_string()),
            _ => None,
        };
        self.circuit.nodes.iter().filter_map(operator).collect()
    }

    /// The same with another circuit.
    pub fn with_circuit(mut self, change: impl FnOnce(&mut Circuit)) -> Self {
        change(Arc::make_mut(&mut self.circuit));
        self
    }

    /// The circuit and its rows.
    pub fn material(self, any_order: bool) -> Material {
        let text = self.to_string();
        let tables = self.rows.into_iter().map(|(name, rows)| (name, ChangeBatch::append(rows))).collect();
        Material { text, circuit: self.circuit, tables, any_order }
    }

    /// How many rows go in.
    pub fn row_count(&self) -> usize {
        self.rows.values().map(RecordBatch::num_rows).sum()
    }

    /// What is wrong, if anything.
    pub fn failure(&self, fault: Fault) -> Option<String> {
        match catch_unwind(AssertUnwindSafe(|| self.check(fault))) {
            Ok(result) => result.err(),
            Err(panic) => Some(format!("panic: {}", panic_text(panic.as_ref()))),
        }
    }

    fn check(&self, fault: Fault) -> Result<(), String> {
        let counts: HashMap<String, usize> = self.rows.iter().map(|(n, r)| (n.clone(), r.num_rows())).collect();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(self.seed ^ 0x5eed);
        let whole = self.run(&Schedule::at_once(&counts))?;
        self.compare(&whole, &Schedule::at_once(&counts), 1, fault)?;
        let totals: Vec<_> = (0..self.plans.len()).map(|sink| rows(&whole.until(usize::MAX, sink))).collect();
        for trial in 0..4 {
            let schedule = Schedule::random(&counts, &mut rng, trial >= 2);
            let about = |m: String| format!("{m}\n  with {schedule:?}");
            let observed = self.run(&schedule).map_err(about)?;
            for (sink, total) in totals.iter().enumerate() {
                if let Some(d) = difference(&rows(&observed.until(usize::MAX, sink)), total) {
                    return Err(about(format!("query {sink} depends on the cut: {d}")));
                }
            }
            if observed.late.is_some() && observed.late != whole.late {
                let (a, b) = (observed.late, whole.late);
                return Err(about(format!("late rows depend on the cut: {a:?} and at once {b:?}")));
            }
            if trial == 0 {
                for step in 0..schedule.steps.len() {
                    self.compare(&observed, &schedule, step, fault).map_err(about)?;
                }
            }
        }
        Ok(())
    }

    fn run(&self, schedule: &Schedule) -> Result<Observed, String> {
        let changes = self.rows.iter().map(|(n, r)| (n.clone(), ChangeBatch::append(r.clone()))).collect();
        run(&self.circuit, &changes, schedule).map_err(|e| format!("the run failed: {e}"))
    }

    /// Holds what has come out until a step against the reference; the step after the last is the end of the input.
    fn compare(&self, observed: &Observed, schedule: &Schedule, step: usize, fault: Fault) -> Result<(), String> {
        let ended = step >= schedule.steps.len();
        let consumed = |t: &Table| {
            let rows = &self.rows[&t.name];
            let rows = rows.slice(0, schedule.consumed(&t.name, step));
            let mut before = t.watermarks(&rows);
            let reached = before.pop().unwrap_or(i64::MIN);
            (t.name.clone(), Consumed { rows, before, watermark: if ended { i64::MAX } else { reached } })
        };
        let tables: HashMap<String, Consumed> = self.declared.iter().map(consumed).collect();
        let mut late = Vec::new();
        for (sink, plan) in self.plans.iter().enumerate() {
            let expected = self.expected(plan, &tables, fault)?;
            let ours = observed.until(step, sink);
            let types = |b: &RecordBatch| b.columns().iter().map(|c| c.data_type().clone()).collect::<Vec<_>>();
            if let Some(batch) = ours.iter().find(|b| types(b) != types(&expected.rows)) {
                return Err(format!("types {:?} where {:?} are expected", types(batch), types(&expected.rows)));
            }
            if let Some(d) = difference(&rows(&ours), &rows([&expected.rows])) {
                let when = if ended { "in the end".to_string() } else { format!("after step {step}") };
                return Err(format!("query {sink} {when}: {d}"));
            }
            late.push(match self.script.late {
                Late::Rows => Some(expected.late_rows),
                Late::Pairs => Some(expected.late_pairs),
                Late::Uncounted => None,
            });
        }
        let expected: Option<u64> = late.into_iter().sum();
        match (ended, observed.late, expected) {
            (true, Some(ours), Some(theirs)) if ours != theirs => {
                Err(format!("{ours} late rows where {theirs} are expected"))
            }
            _ => Ok(()),
        }
    }

    fn expected(
        &self,
        plan: &LogicalPlan,
        tables: &HashMap<String, Consumed>,
        fault: Fault,
    ) -> Result<Expected, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let reference = Reference::new(tables, self.zone, fault);
        runtime.block_on(reference.answer(plan)).map_err(|e| format!("the reference failed: {e}"))
    }

    /// The smallest case that still fails, by leaving out rows.
    pub fn shrunk(self, failure: String, fault: Fault) -> (Self, String) {
        let mut smallest = (self, failure);
        loop {
            let smaller = smallest.0.smaller().into_iter().find_map(|c| c.failure(fault).map(|f| (c, f)));
            match smaller {
                Some(found) => smallest = found,
                None => return smallest,
            }
        }
    }

    /// The same with a part of one table's rows left out: halves, quarters, at last single rows.
    fn smaller(&self) -> Vec<Self> {
        let mut found = Vec::new();
        for (name, rows) in &self.rows {
            let count = rows.num_rows();
            let mut part = count.div_ceil(2);
            while part > 0 && found.len() < 60 {
                for from in (0..count).step_by(part) {
                    let until = (from + part).min(count);
                    let kept = [rows.slice(0, from), rows.slice(until, count - until)];
                    let kept = arrow::compute::concat_batches(&rows.schema(), &kept).unwrap();
                    let mut case = self.clone();
                    case.rows.insert(name.clone(), kept);
                    found.push(case);
                }
                part /= 2;
            }
        }
        found
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let statements = self.declared.iter().map(|t| &t.ddl).chain(&self.script.views).chain(&self.script.queries);
        statements.into_iter().try_for_each(|s| writeln!(f, "  {s};"))?;
        for (name, rows) in &self.rows {
            let shown = arrow::util::pretty::pretty_format_batches(&[rows.slice(0, rows.num_rows().min(30))]);
            writeln!(f, "  {name}, {} rows:\n{}", rows.num_rows(), shown.map_err(|_| std::fmt::Error)?)?;
        }
        Ok(())
    }
}

pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| s.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
