//! One case: tables with their changelogs, views, a query, and the cuts that it is run with.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arrow::util::pretty::pretty_format_batches;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use millstream::connector::Connectors;
use millstream::connector::channel::Channels;
use millstream::plan::{CompileOptions, compile};
use millstream::runtime::Circuit;
use millstream::runtime::circuit::{Changelog, NodeId, NodeKind};
use millstream::sql::parse::parse_script;
use millstream::sql::{Outcome, Session};
use rand::{Rng, SeedableRng};

use super::Random;
use super::check::{Promise, Standing};
use super::grammar::{Drawn, Relation, draw, timed as follow_time};
use super::query::Query;
use super::reference::Reference;
use super::table::{Kind, Log, Table};
use crate::law::Material;
use crate::law::case::{SEEDS, cases, panic_text};
use crate::law::exec::{Observed, Schedule, run};
use crate::law::rows::{difference, rows};

/// Operators that let a row out when the watermark has passed it.
const FOLLOWING: &[&str] = &["OverAggregate", "Deduplicate", "Sort"];

/// Each family of the other laws has so many cases fewer.
const TIMES: u64 = 70;

/// A script that has been planned, and its input.
#[derive(Clone)]
pub struct Case {
    tables: Vec<Table>,
    /// Views, and last the query.
    queries: Vec<Query>,
    logs: BTreeMap<String, Log>,
    plan: LogicalPlan,
    circuit: Arc<Circuit>,
    /// For the cuts.
    seed: u64,
}

/// Proves the laws for random cases, on all cores.
pub fn prove() {
    let number = |name: &str| std::env::var(name).ok().and_then(|c| c.parse::<u64>().ok());
    let first = number("MILLSTREAM_SEED").unwrap_or(1);
    let most = number("MILLSTREAM_FAILURES").unwrap_or(1);
    let kept = SEEDS.lines().filter_map(|l| l.strip_prefix("changing ")).map(|seed| seed.trim().parse().unwrap());
    let seeds: Vec<u64> = kept.chain(first..first + cases() * TIMES).collect();
    let (next, failures) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
    let worker = || {
        while (failures.lock().unwrap().len() as u64) < most
            && let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize)
        {
            if let Some(failure) = attempt(*seed) {
                failures.lock().unwrap().insert(*seed, failure);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            std::thread::Builder::new().stack_size(64 << 20).spawn_scoped(scope, worker).unwrap();
        }
    });
    let failures = failures.into_inner().unwrap();
    let texts: Vec<String> = failures.into_iter().map(|(seed, text)| format!("seed {seed}\n{text}")).collect();
    assert!(texts.is_empty(), "{} cases of 'changing' fail\n\n{}", texts.len(), texts.join("\n\n"));
}

/// What is wrong with the case of a seed, as small as it gets.
fn attempt(seed: u64) -> Option<String> {
    match catch_unwind(|| Case::random(seed)) {
        Ok(Ok(case)) => {
            let failure = case.failure()?;
            let (case, failure) = case.shrunk(failure);
            Some(format!("{case}\n  {failure}"))
        }
        Ok(Err(refusal)) if refusal.starts_with("not supported") => {
            eprintln!("seed {seed} is refused: {refusal}");
            None
        }
        Ok(Err(refusal)) => Some(format!("  refused: {refusal}")),
        Err(panic) => Some(format!("  panic while planning: {}", panic_text(panic.as_ref()))),
    }
}

/// Whether an error is a known one of DataFusion, which then has no answer: it takes too many sort keys away, and does not give
/// rows to two aggregates in two orders.
fn is_known(error: &DataFusionError) -> bool {
    let text = error.to_string();
    text.contains("SanityCheckPlan") || text.contains("Conflicting ordering requirements")
}

/// A session with the tables, and what is planned in it.
struct Planning {
    session: Session,
    said: String,
}

impl Planning {
    fn new(tables: &[Table]) -> Result<Self, String> {
        let mut connectors = Connectors::default();
        connectors.register(Arc::new(Channels::default()));
        let mut planning = Self { session: Session::new(connectors), said: String::new() };
        tables.iter().try_for_each(|t| planning.execute(&t.ddl).map(|_| ()))?;
        Ok(planning)
    }

    fn execute(&mut self, text: &str) -> Result<Option<LogicalPlan>, String> {
        self.said.push_str(&format!("  {text};\n"));
        let wrong = |e: millstream::Error| format!("{e}\n{}", self.said);
        let statements = parse_script(text).map_err(|e| format!("{e}\n{}", self.said))?;
        match self.session.execute(&statements[0]).map_err(wrong)? {
            Outcome::Query(query) => Ok(Some(query.plan)),
            _ => Ok(None),
        }
    }

    fn plan(&mut self, text: &str) -> Result<LogicalPlan, String> {
        self.execute(text)?.ok_or_else(|| "no query".to_string())
    }

    fn compile(&self, plan: &LogicalPlan) -> Result<Arc<Circuit>, String> {
        let query = millstream::plan::Query { plan: plan.clone(), target: None, state_ttls: Default::default() };
        let circuit = compile(vec![query], CompileOptions::default());
        circuit.map(Arc::new).map_err(|e| format!("{e}\n{}", self.said))
    }
}

fn view_name(place: usize) -> String {
    format!("v{place}")
}

impl Case {
    pub fn random(seed: u64) -> Result<Self, String> {
        let mut rng = Random::seed_from_u64(seed ^ 0xc4a9_61e5 << 32);
        let big = rng.random_bool(0.02);
        let timed = rng.random_bool(0.1);
        let table = |(i, name): (usize, &&str)| {
            let size = if big && i == 0 { 3000 } else { 40 };
            Table::random(name, size, timed && i == 0, &mut rng)
        };
        let names = ["t", "s", "u"];
        let tables: Vec<Table> = names.iter().enumerate().map(table).collect();
        let tables = tables[..rng.random_range(1..=3)].to_vec();
        let mut planning = Planning::new(&tables)?;
        let mut relations = Vec::new();
        for table in &tables {
            let schema = Arc::clone(&planning.session.table(&table.name).unwrap().schema);
            let columns = schema.fields().iter().map(|f| (f.name().clone(), Kind::of(f.data_type()))).collect();
            let unique = table.unique.then(|| vec!["id".to_string()]);
            relations.push(Relation { text: table.name.clone(), columns, unique, size: table.size });
        }
        let mut queries: Vec<Query> = Vec::new();
        let depth = *[1, 1, 2, 2, 3].get(rng.random_range(0..5)).unwrap_or(&1);
        for place in 0..depth {
            let drawn = match timed && place == 0 {
                true => follow_time(&relations.remove(0), &mut rng),
                false => draw(&relations, &mut rng),
            };
            queries.push(drawn.query.clone());
            if place + 1 < depth {
                relations.push(planning.view(place, drawn)?);
            }
        }
        planning.case(tables, queries, &mut rng, seed)
    }

    /// A query over the tables, with random changelogs.
    pub fn fixed(tables: Vec<Table>, query: &str, seed: u64) -> Result<Self, String> {
        let planning = Planning::new(&tables)?;
        planning.case(tables, vec![Query::Text(query.into())], &mut Random::seed_from_u64(seed), seed)
    }

    /// The operators that run.
    pub fn operators(&self) -> Vec<String> {
        let kinds = self.circuit.nodes.iter().map(|n| &n.kind);
        let names = kinds.filter_map(|k| if let NodeKind::Operator(f) = k { Some(f.name().to_string()) } else { None });
        names.collect()
    }

    /// The circuit and its rows; `None` where what comes out depends on what is not needed.
    pub fn material(self) -> Option<Material> {
        self.follows_time()?;
        let text = self.to_string();
        let tables = self.logs.iter().map(|(name, log)| (name.clone(), log.changes())).collect();
        Some(Material { text, circuit: self.circuit, tables, any_order: false })
    }

    /// Whether an operator of that name sees rows that go.
    pub fn changes_at(&self, operator: &str) -> bool {
        let changes = |id: &NodeId| self.circuit.node(*id).notes.changelog == Changelog::Retract;
        self.circuit.nodes.iter().any(|node| match &node.kind {
            NodeKind::Operator(f) => f.name() == operator && node.inputs.iter().any(changes),
            _ => false,
        })
    }

    /// The same with another circuit.
    pub fn with_circuit(mut self, change: impl FnOnce(&mut Circuit)) -> Self {
        change(Arc::make_mut(&mut self.circuit));
        self
    }

    /// What is wrong, if anything.
    pub fn failure(&self) -> Option<String> {
        match catch_unwind(AssertUnwindSafe(|| self.check())) {
            Ok(result) => result.err(),
            Err(panic) => Some(format!("panic: {}", panic_text(panic.as_ref()))),
        }
    }

    fn check(&self) -> Result<(), String> {
        let reference = match Reference::new(&self.plan) {
            Ok(reference) => reference,
            Err(e) if is_known(&e) => return Ok(()),
            Err(e) => return Err(format!("the reference failed: {e}")),
        };
        let counts: HashMap<String, usize> = self.logs.iter().map(|(n, l)| (n.clone(), l.len())).collect();
        let mut rng = Random::seed_from_u64(self.seed ^ 0x5eed);
        let promise = Promise::of(&self.circuit);
        let Some(follows) = self.follows_time() else { return Ok(()) };
        for trial in 0..4 {
            let schedule = match trial {
                0 => Schedule::at_once(&counts),
                _ => Schedule::random(&counts, &mut rng, trial >= 2),
            };
            let about = |m: String| format!("{m}\n  with {schedule:?}");
            let observed = self.run(&schedule).map_err(about)?;
            self.compare(&reference, &observed, &schedule, &promise, (trial, follows)).map_err(about)?;
        }
        Ok(())
    }

    /// Whether the timed table's rows are seen only where the watermark has passed them: nowhere else, or everywhere. `None` where
    /// what is not needed has been left out in one place and not in another.
    fn follows_time(&self) -> Option<bool> {
        let mut seen = vec![[false; 2]; self.circuit.nodes.len()];
        for (id, node) in self.circuit.nodes.iter().enumerate() {
            for input in &node.inputs {
                let below = seen[input.0];
                (0..2).for_each(|i| seen[id][i] |= below[i]);
            }
            match &node.kind {
                NodeKind::Source(i) => seen[id][0] = self.circuit.sources[*i].watermark.is_some(),
                NodeKind::Operator(f) if FOLLOWING.contains(&f.name()) && seen[id][0] => seen[id] = [false, true],
                _ => {}
            }
        }
        match seen.last()? {
            [true, true] => None,
            [_, follows] => Some(*follows),
        }
    }

    fn run(&self, schedule: &Schedule) -> Result<Observed, String> {
        let changes = self.logs.iter().map(|(name, log)| (name.clone(), log.changes())).collect();
        run(&self.circuit, &changes, schedule).map_err(|e| format!("the run failed: {e}"))
    }

    fn compare(
        &self,
        reference: &Reference,
        observed: &Observed,
        schedule: &Schedule,
        promise: &Promise,
        (trial, follows): (usize, bool),
    ) -> Result<(), String> {
        let mut standing = Standing::default();
        let last = observed.steps.len() - 1;
        for (step, sinks) in observed.steps.iter().enumerate() {
            let about = |m: String| format!("after step {step}: {m}");
            standing.apply(&sinks[0], promise).map_err(about)?;
            let looked = step == last || (trial == 1 && (step < 6 || step % 5 == 0)) || (trial > 1 && step % 3 == 2);
            if !looked {
                continue;
            }
            let consumed = |(name, log): (&String, &Log)| {
                let changes = schedule.consumed(name, step);
                let until = if step == last || !follows { i64::MAX } else { log.watermark(changes) };
                (name.clone(), log.standing(changes, until))
            };
            let tables = self.logs.iter().map(consumed).collect();
            let expected = reference.answer(&tables).map_err(|e| format!("the reference failed: {e}"))?;
            let types: Vec<_> = expected.columns().iter().map(|c| c.data_type().clone()).collect();
            if let Some(ours) = standing.types.as_ref().filter(|ours| **ours != types) {
                return Err(about(format!("types {ours:?} where {types:?} are expected")));
            }
            if let Some(d) = difference(&standing.rows(), &rows([&expected])) {
                return Err(about(d));
            }
        }
        Ok(())
    }

    /// The smallest case that still fails.
    pub fn shrunk(self, failure: String) -> (Self, String) {
        let mut smallest = (self, failure);
        // What fails in another way is another fault.
        let sort =
            |f: &str| f.split_whitespace().filter(|w| w.chars().all(char::is_alphabetic)).take(4).collect::<String>();
        loop {
            let wanted = sort(&smallest.1);
            let smaller = smallest.0.smaller();
            let found = smaller.into_iter().find_map(|make| {
                let case = make()?;
                case.failure().filter(|f| sort(f) == wanted).map(|f| (case, f))
            });
            match found {
                Some(found) => smallest = found,
                None => return smallest,
            }
        }
    }

    /// Simpler queries first, then fewer rows.
    fn smaller(&self) -> Vec<Box<dyn FnOnce() -> Option<Self> + '_>> {
        let mut found: Vec<Box<dyn FnOnce() -> Option<Self> + '_>> = Vec::new();
        for end in 1..self.queries.len() {
            found.push(Box::new(move || self.replanned(&self.tables, self.queries[..end].to_vec())));
        }
        for gone in 0..self.tables.len() {
            found.push(Box::new(move || {
                let tables: Vec<Table> =
                    self.tables.iter().enumerate().filter(|(i, _)| *i != gone).map(|(_, t)| t.clone()).collect();
                if tables.is_empty() { None } else { self.replanned(&tables, self.queries.clone()) }
            }));
        }
        for place in (0..self.queries.len()).rev() {
            for query in self.queries[place].simpler() {
                found.push(Box::new(move || {
                    let mut queries = self.queries.clone();
                    queries[place] = query;
                    self.replanned(&self.tables, queries)
                }));
            }
        }
        for (name, log) in &self.logs {
            for smaller in log.smaller() {
                found.push(Box::new(move || {
                    let mut case = self.clone();
                    case.logs.insert(name.clone(), smaller);
                    Some(case)
                }));
            }
        }
        found
    }

    /// Other queries over the same rows, if they can be planned.
    fn replanned(&self, tables: &[Table], queries: Vec<Query>) -> Option<Self> {
        let made = catch_unwind(AssertUnwindSafe(|| -> Result<Self, String> {
            let mut planning = Planning::new(tables)?;
            for (place, query) in queries.iter().enumerate().take(queries.len() - 1) {
                planning.execute(&format!("CREATE VIEW {} AS {query}", view_name(place)))?;
            }
            let plan = planning.plan(&queries[queries.len() - 1].to_string())?;
            let circuit = planning.compile(&plan)?;
            let logs = self.logs.iter().filter(|(name, _)| tables.iter().any(|t| t.name == **name));
            let logs = logs.map(|(n, l)| (n.clone(), l.clone())).collect();
            Ok(Self { tables: tables.to_vec(), queries, logs, plan, circuit, seed: self.seed })
        }));
        made.ok()?.ok()
    }
}

impl Planning {
    /// A case of the last query, the others being views that have been declared.
    fn case(mut self, tables: Vec<Table>, queries: Vec<Query>, rng: &mut Random, seed: u64) -> Result<Case, String> {
        let text = queries.last().map(Query::to_string).unwrap_or_default();
        let plan = self.plan(&text)?;
        let circuit = self.compile(&plan)?;
        let log = |t: &Table| {
            let schema = Arc::clone(&self.session.table(&t.name).unwrap().descriptor.schema);
            (t.name.clone(), t.log(&schema, rng))
        };
        let logs = tables.iter().map(log).collect();
        Ok(Case { tables, queries, logs, plan, circuit, seed })
    }

    /// Declares a view, and says what can be read of it.
    fn view(&mut self, place: usize, drawn: Drawn) -> Result<Relation, String> {
        let name = view_name(place);
        self.execute(&format!("CREATE VIEW {name} AS {}", drawn.query))?;
        let plan = self.plan(&format!("SELECT * FROM {name}"))?;
        let inexact = drawn.query.inexact();
        let column = |(i, field): (usize, &arrow::datatypes::FieldRef)| {
            let kind = if inexact[i] { Kind::Opaque } else { Kind::of(field.data_type()) };
            (field.name().clone(), kind)
        };
        let columns = plan.schema().fields().iter().enumerate().map(column).collect();
        Ok(Relation { text: name, columns, unique: drawn.unique, size: drawn.size.min(20_000) })
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.tables.iter().try_for_each(|t| writeln!(f, "  {};", t.ddl))?;
        for (place, query) in self.queries.iter().enumerate() {
            match place + 1 == self.queries.len() {
                true => writeln!(f, "  {query};")?,
                false => writeln!(f, "  CREATE VIEW {} AS {query};", view_name(place))?,
            }
        }
        for (name, log) in &self.logs {
            let shown = log.rows.slice(0, log.len().min(30));
            let kinds = log.kinds.iter().take(30).map(|k| k.short()).collect::<Vec<_>>().join(" ");
            let shown = pretty_format_batches(&[shown]).map_err(|_| std::fmt::Error)?;
            writeln!(f, "  {name}, {} changes: {kinds}\n{shown}", log.len())?;
        }
        Ok(())
    }
}
