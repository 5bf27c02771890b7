//! One case: a join, its rows, and the cuts that it is run with.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use millstream::change::ChangeBatch;
use millstream::connector::Connectors;
use millstream::connector::channel::Channels;
use millstream::plan::{CompileOptions, Query, StateTtls, compile};
use millstream::runtime::Circuit;
use millstream::runtime::circuit::NodeKind;
use millstream::sql::parse::parse_script;
use millstream::sql::{Outcome, Session};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::data::{COLUMNS, Consumed, Row, Values, batch, counts, rows, values};
use super::interval::Interval;
use super::window::Window;
use crate::law::Material;
use crate::law::case::{SEEDS, cases, panic_text};
use crate::law::exec::{Observed, Schedule, run};

/// Each family of the other laws has so many cases fewer.
const TIMES: u64 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Interval,
    Window,
}

impl Family {
    fn name(self) -> &'static str {
        if self == Family::Interval { "interval-joins" } else { "window-joins" }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Inner,
    Left,
    Right,
    Full,
    Semi,
    Anti,
}

impl Kind {
    pub fn words(self) -> &'static str {
        match self {
            Kind::Left => "LEFT",
            Kind::Right => "RIGHT",
            Kind::Full => "FULL",
            _ => "INNER",
        }
    }

    /// Whether pairs are given.
    pub fn pairs(self) -> bool {
        !matches!(self, Kind::Semi | Kind::Anti)
    }

    /// Whether both sides' columns are given.
    pub fn both(self) -> bool {
        self.pairs()
    }

    /// Whether rows of a side are given that have no match.
    pub fn gives_alone(self, side: usize) -> bool {
        match self {
            Kind::Full => true,
            Kind::Left | Kind::Anti => side == 0,
            Kind::Right => side == 1,
            Kind::Inner | Kind::Semi => false,
        }
    }
}

#[derive(Debug, Clone)]
enum Join {
    Interval(Interval),
    Window(Window),
}

impl Join {
    fn sql(&self) -> Vec<String> {
        match self {
            Join::Interval(join) => join.sql(),
            Join::Window(join) => vec![join.sql()],
        }
    }

    fn answer(&self, consumed: &Consumed) -> Vec<Values> {
        match self {
            Join::Interval(join) => join.answer(consumed),
            Join::Window(join) => join.answer(consumed),
        }
    }

    fn operator(&self) -> &'static str {
        match self {
            Join::Interval(_) => "IntervalJoin",
            Join::Window(_) => "WindowJoin",
        }
    }

    fn bound(&self, consumed: &Consumed) -> u64 {
        match self {
            Join::Interval(join) => join.bound(consumed),
            Join::Window(join) => join.bound(consumed),
        }
    }
}

/// A join that has been planned, and its rows.
#[derive(Clone)]
pub struct Case {
    seed: u64,
    join: Join,
    script: Vec<String>,
    /// One table of both sides' rows, some of them late; or one of each, none of them late.
    tables: Vec<(String, Vec<Row>)>,
    delay: i64,
    circuit: Arc<Circuit>,
    batches: HashMap<String, ChangeBatch>,
}

/// Proves the laws for random cases of a family.
pub fn prove(family: Family) {
    let first: u64 = std::env::var("MILLSTREAM_SEED").ok().and_then(|c| c.parse().ok()).unwrap_or(1);
    let kept = SEEDS.lines().filter_map(|l| l.split_once(' ')).filter(|(f, _)| *f == family.name());
    let kept: Vec<u64> = kept.map(|(_, seed)| seed.trim().parse().unwrap()).collect();
    for seed in kept.into_iter().chain(first..first + cases() * TIMES) {
        let case = Case::random(family, seed);
        if let Some(failure) = case.failure() {
            panic!("seed {seed} of '{}'\n{}\n  {failure}", family.name(), case.shrunk());
        }
    }
}

impl Case {
    pub fn random(family: Family, seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x0101_5eed << 16 ^ (family as u64) << 60);
        let kinds = [Kind::Inner, Kind::Left, Kind::Right, Kind::Full, Kind::Semi, Kind::Anti];
        let kind = kinds[rng.random_range(0..kinds.len())];
        let join = match family {
            Family::Interval => Join::Interval(Interval::random(kind, &mut rng)),
            Family::Window => Join::Window(Window::random(kind, &mut rng)),
        };
        let one_table = rng.random_bool(0.7);
        let delay = if one_table { *[0, 1000, 5000].get(rng.random_range(0..3)).unwrap() } else { 20_000 };
        let rows = rows(one_table, delay, &mut rng);
        let table = |name: &str| {
            format!(
                "CREATE TABLE {name} ({COLUMNS}, WATERMARK FOR ts AS ts - INTERVAL '{}' SECOND) WITH ('connector' = 'channel')",
                delay / 1000
            )
        };
        let view = |name: &str| format!("CREATE VIEW {name} AS SELECT id, k, v, ts FROM t WHERE side = '{name}'");
        let (mut script, tables) = match one_table {
            true => (vec![table("t"), view("l"), view("r")], vec![("t".to_string(), rows)]),
            false => {
                let of = |side: usize| rows.iter().filter(|r| r.side == side).cloned().collect::<Vec<_>>();
                (vec![table("l"), table("r")], vec![("l".to_string(), of(0)), ("r".to_string(), of(1))])
            }
        };
        script.extend(join.sql());
        let (circuit, batches) = planned(&script, &tables);
        let case = Self { seed, join, script, tables, delay, circuit, batches };
        assert!(case.operators().iter().any(|o| o == case.join.operator()), "no {} in\n{case}", case.join.operator());
        case
    }

    /// The same with a reference that is wrong.
    pub fn off_by_one(mut self) -> Self {
        match &mut self.join {
            Join::Interval(join) => join.most += 1,
            Join::Window(join) => join.spec.offset += 1,
        }
        self
    }

    /// The operators that run.
    pub fn operators(&self) -> Vec<String> {
        let kinds = self.circuit.nodes.iter().map(|n| &n.kind);
        let names = kinds.filter_map(|k| if let NodeKind::Operator(f) = k { Some(f.name().to_string()) } else { None });
        names.collect()
    }

    /// The circuit and its rows.
    pub fn material(self) -> Material {
        Material { text: self.to_string(), circuit: self.circuit, tables: self.batches, any_order: false }
    }

    /// What is wrong, if anything.
    pub fn failure(&self) -> Option<String> {
        match catch_unwind(AssertUnwindSafe(|| self.check())) {
            Ok(result) => result.err(),
            Err(panic) => Some(format!("panic: {}", panic_text(panic.as_ref()))),
        }
    }

    fn check(&self) -> Result<(), String> {
        let counts = counts(&self.tables);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(self.seed ^ 0x5eed);
        for trial in 0..4 {
            let schedule = match trial {
                0 => Schedule::at_once(&counts),
                _ => Schedule::random(&counts, &mut rng, trial >= 2),
            };
            let about = |m: String| format!("{m}\n  with {schedule:?}");
            let observed = run(&self.circuit, &self.batches, &schedule).map_err(|e| about(e.to_string()))?;
            for step in 0..=schedule.steps.len() {
                self.compare(&observed, &schedule, step).map_err(about)?;
            }
        }
        Ok(())
    }

    /// Holds what has come out until a step, and what is held after it, against the reference.
    fn compare(&self, observed: &Observed, schedule: &Schedule, step: usize) -> Result<(), String> {
        let ended = step >= schedule.steps.len();
        let mut consumed = Consumed { rows: Vec::new(), watermark: i64::MAX };
        for (name, rows) in &self.tables {
            let rows = &rows[..schedule.consumed(name, step)];
            let reached = rows.iter().map(|r| r.ts - self.delay).max().unwrap_or(i64::MIN);
            consumed.watermark = consumed.watermark.min(if ended { i64::MAX } else { reached });
            consumed.rows.extend_from_slice(rows);
        }
        let (ours, theirs) = (values(&observed.until(step, 0)), self.join.answer(&consumed));
        if ours != theirs {
            let missing: Vec<_> = theirs.iter().filter(|r| !ours.contains(r)).collect();
            let surplus: Vec<_> = ours.iter().filter(|r| !theirs.contains(r)).collect();
            return Err(format!(
                "after step {step}: {} rows where {} are expected; missing {missing:?}, surplus {surplus:?}",
                ours.len(),
                theirs.len()
            ));
        }
        let held = observed.held.get(step).and_then(|held| held.get(self.join.operator())).copied().unwrap_or(0);
        match self.join.bound(&consumed) {
            bound if held > bound => Err(format!("after step {step}: {held} rows are held, {bound} within the bound")),
            _ => Ok(()),
        }
    }

    /// The smallest case that still fails, by leaving out rows.
    fn shrunk(self) -> Self {
        let mut smallest = self;
        'smaller: loop {
            for table in 0..smallest.tables.len() {
                for row in 0..smallest.tables[table].1.len() {
                    let mut case = smallest.clone();
                    case.tables[table].1.remove(row);
                    case.mark_again();
                    (case.circuit, case.batches) = planned(&case.script, &case.tables);
                    if case.failure().is_some() {
                        smallest = case;
                        continue 'smaller;
                    }
                }
            }
            let failure = smallest.failure();
            eprintln!("as small as it gets: {failure:?}");
            return smallest;
        }
    }

    fn mark_again(&mut self) {
        for (_, rows) in &mut self.tables {
            let mut reached = i64::MIN;
            for row in rows {
                row.mark = reached;
                reached = reached.max(row.ts - self.delay);
            }
        }
    }
}

fn planned(script: &[String], tables: &[(String, Vec<Row>)]) -> (Arc<Circuit>, HashMap<String, ChangeBatch>) {
    let mut connectors = Connectors::default();
    connectors.register(Arc::new(Channels::default()));
    let mut session = Session::new(connectors);
    let mut queries = Vec::new();
    for text in script {
        let statements = parse_script(text).unwrap_or_else(|e| panic!("{e}\n{script:#?}"));
        match session.execute(&statements[0]).unwrap_or_else(|e| panic!("{e}\n{script:#?}")) {
            Outcome::Query(query) => {
                queries.push(Query { plan: query.plan, target: None, state_ttls: StateTtls::new() });
            }
            _ => continue,
        }
    }
    let circuit = compile(queries, CompileOptions::default()).unwrap_or_else(|e| panic!("{e}\n{script:#?}"));
    let fill = |(name, rows): &(String, Vec<Row>)| {
        let rows = batch(&rows.iter().collect::<Vec<_>>(), &session.table(name).unwrap().descriptor.schema);
        (name.clone(), ChangeBatch::append(rows))
    };
    (Arc::new(circuit), tables.iter().map(fill).collect())
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.script.iter().try_for_each(|s| writeln!(f, "  {s};"))?;
        writeln!(f, "  {:?}", self.join)?;
        for (name, rows) in &self.tables {
            writeln!(f, "  {name}:")?;
            rows.iter().take(20).try_for_each(|row| writeln!(f, "    {row:?}"))?;
        }
        Ok(())
    }
}
