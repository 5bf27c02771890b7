//! One case: a query, its rows, and the ways that it is run.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use millstream::change::ChangeBatch;
use millstream::connector::Connectors;
use millstream::connector::channel::Channels;
use millstream::plan::{CompileOptions, Query as Planned, StateTtls, compile};
use millstream::runtime::Circuit;
use millstream::runtime::circuit::NodeKind;
use millstream::sql::parse::parse_script;
use millstream::sql::{Outcome, Session};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::super::Material;
use super::super::case::cases;
use super::super::exec::{Schedule, run};
use super::matcher::{Match, Query, Skip, matches};
use super::pattern::{Bound, Condition, NAMES, Pattern, Row, Value};
use super::trend;

/// A query and the rows of its table.
#[derive(Clone)]
struct Case {
    query: Query,
    all_rows: bool,
    /// Whether measures look ahead.
    ahead: bool,
    partitioned: bool,
    delay: i64,
    /// With their partitions.
    rows: Vec<(Option<&'static str>, Row)>,
    seed: u64,
}

impl Case {
    fn random(seed: u64, flink: bool) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ (u64::from(flink) << 40));
        let pattern = if flink { Pattern::flinks(&mut rng) } else { Pattern::random(&mut rng, 2) };
        // What is one variable alone Flink takes too.
        let pattern = match pattern {
            odd if flink => odd,
            other => Pattern::Either(vec![other, Pattern::Concat(vec![Pattern::Variable(3), Pattern::Variable(3)])]),
        };
        let mut variables = Vec::new();
        pattern.variables(&mut variables);
        let conditions = (0..NAMES.len()).map(|v| {
            let defined = variables.contains(&v) && rng.random_bool(0.8);
            defined.then(|| Condition::random(&mut rng, &variables, v, 1))
        });
        let conditions = conditions.collect();
        let some = variables[rng.random_range(0..variables.len())];
        let skip = match rng.random_range(0..6) {
            0 | 1 => Skip::PastLast,
            2 | 3 => Skip::ToNext,
            4 => Skip::ToFirst(some),
            _ => Skip::ToLast(some),
        };
        let within = rng.random_bool(0.4).then(|| rng.random_range(1..8) * 1000);
        let query = Query { pattern, conditions, within, skip, flink };
        let mut clock = 0;
        let count = rng.random_range(0..40);
        let partitioned = rng.random_bool(0.8);
        let delay = rng.random_range(0..4) * 1000;
        let rows = (0..count).map(|id| {
            clock += rng.random_range(0..2000);
            let behind = if rng.random_bool(0.3) { rng.random_range(0..4000) } else { 0 };
            let p = (!rng.random_bool(0.1)).then(|| rng.random_range(0..6));
            let key = [Some("a"), Some("b"), Some("c"), None][rng.random_range(0..4)];
            (key, Row { id, p, time: (clock - behind) / 500 * 500 })
        });
        let rows = rows.collect();
        let (all_rows, ahead) = (rng.random_bool(0.3), rng.random_bool(0.4));
        Self { query, all_rows, ahead, partitioned, delay, rows, seed }
    }

    /// Many rows that differ little, so that searches go on for long and resemble each other.
    fn long(seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ (2 << 40));
        let one = |v| Pattern::Variable(v);
        let many = |inner, greedy| Pattern::Repeat(Box::new(inner), 0, None, greedy);
        let greedy = rng.random_bool(0.6);
        let (pattern, flink) = match rng.random_range(0..5) {
            0 => (Pattern::Concat(vec![one(0), many(one(1), greedy), one(2)]), true),
            1 => (Pattern::Concat(vec![many(Pattern::Either(vec![one(0), one(1)]), greedy), one(2)]), false),
            2 => (Pattern::Concat(vec![one(0), many(one(1), true)]), false),
            3 => (Pattern::Concat(vec![many(Pattern::Concat(vec![one(0), one(1)]), greedy), one(2)]), false),
            _ => {
                let parts = vec![one(0), many(one(1), false), one(1), many(one(3), false), one(2)];
                (Pattern::Concat(parts), false)
            }
        };
        let own = |op, n| Condition::Compare(Value::Own, op, Value::Constant(n));
        let less = |v, n| Value::Less(v, n);
        let conditions = match rng.random_range(0..6) {
            0 => vec![None, Some(own(">=", 3)), Some(own("<", 1)), Some(own(">", 1))],
            1 => vec![Some(own("<", 4)), Some(own(">=", 3)), Some(own("=", 0)), None],
            2 => {
                let above = |n| Condition::Compare(Value::Own, ">", less(0, n));
                let below = Condition::Compare(Value::Own, "<", less(0, 2));
                vec![None, Some(above(2)), Some(below), Some(above(1))]
            }
            3 => {
                let rising = Condition::Compare(Value::Own, ">=", Value::Beside(-1));
                let both = Condition::And(Box::new(own(">", 0)), Box::new(Condition::Not(Box::new(own("=", 4)))));
                vec![None, Some(Condition::Or(Box::new(rising), Box::new(both))), Some(own("=", 0)), None]
            }
            4 => {
                let falling = Condition::Compare(Value::Own, ">=", Value::Beside(rng.random_range(1..3)));
                vec![None, Some(Condition::Or(Box::new(own(">", 2)), Box::new(falling))), Some(own("=", 0)), None]
            }
            _ => {
                let sum = Condition::Compare(
                    Value::Plus(Box::new(Value::Own), Box::new(Value::Last(0, 0))),
                    ">",
                    Value::Constant(3),
                );
                vec![None, Some(sum), Some(own("<", 1)), None]
            }
        };
        let mut variables = Vec::new();
        pattern.variables(&mut variables);
        let known = conditions.into_iter().enumerate().map(|(v, c)| c.filter(|_| variables.contains(&v)));
        let conditions: Vec<Option<Condition>> = known.collect();
        let within = rng.random_bool(0.5).then(|| rng.random_range(20..200) * 1000);
        let skip = if rng.random_bool(0.6) { Skip::PastLast } else { Skip::ToNext };
        let query = Query { pattern, conditions, within, skip, flink };
        let (common, rare) = ([3, 4, 5][rng.random_range(0..3)], rng.random_range(2..80));
        let (mut clock, alternates) = (0, rng.random_bool(0.4));
        let rows = (0..rng.random_range(80..180)).map(|id| {
            clock += rng.random_range(0..1500);
            let usual = if alternates && id % 2 == 0 { common - 2 } else { common };
            let p = if rng.random_range(0..rare) == 0 { rng.random_range(0..6) } else { usual };
            let key = if rng.random_bool(0.9) { Some("a") } else { Some("b") };
            (key, Row { id, p: (!rng.random_bool(0.01)).then_some(p), time: clock / 500 * 500 })
        });
        let rows = rows.collect();
        Self { query, all_rows: false, ahead: rng.random_bool(0.2), partitioned: true, delay: 1000, rows, seed }
    }

    /// Many rows whose values have a course, with conditions that hold them against the first row.
    fn trend(seed: u64) -> Self {
        let mut case = Self::long(seed);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ (3 << 40));
        if rng.random_bool(0.6) {
            let many = Pattern::Repeat(Box::new(Pattern::Variable(1)), 0, None, true);
            case.query.pattern = Pattern::Concat(vec![Pattern::Variable(0), many, Pattern::Variable(2)]);
            case.query.flink = true;
        }
        let mut variables = Vec::new();
        case.query.pattern.variables(&mut variables);
        let known = trend::conditions(&mut rng).into_iter().enumerate();
        case.query.conditions = known.map(|(v, c)| c.filter(|_| variables.contains(&v))).collect();
        let values = trend::values(&mut rng, case.rows.len());
        case.rows.iter_mut().zip(values).for_each(|((_, row), p)| row.p = p);
        case
    }

    fn measures(&self) -> String {
        let mut variables = Vec::new();
        self.query.pattern.variables(&mut variables);
        let of = |v: &usize| {
            let v = NAMES[*v];
            format!(
                "FIRST({v}.id) AS f{v}, LAST({v}.id) AS l{v}, SUM({v}.p) AS s{v}, MIN({v}.p) AS n{v}, \
                     LAST({v}.p + 1, 1) AS m{v}"
            )
        };
        let mut all = vec!["MATCH_ROWTIME() AS found".to_string()];
        all.extend(variables.iter().map(of));
        all.push("COUNT(*) AS n, LAST(id) AS own, MATCH_NUMBER() AS number, CLASSIFIER() AS c".into());
        all.push("FINAL LAST(id) AS e, COUNT(DISTINCT p) AS d, PREV(FIRST(id)) AS b, PREV(CLASSIFIER()) AS bc".into());
        if self.ahead {
            all.push("NEXT(id) AS a, NEXT(FIRST(id), 2) AS af, NEXT(FIRST(CLASSIFIER())) AS ac".into());
        }
        all.join(", ")
    }

    fn sql(&self) -> String {
        let defines = self.query.conditions.iter().enumerate();
        let defines = defines.filter_map(|(v, c)| Some(format!("{} AS {}", NAMES[v], c.as_ref()?.sql())));
        let mut defines: Vec<String> = defines.collect();
        if defines.is_empty() {
            let mut variables = Vec::new();
            self.query.pattern.variables(&mut variables);
            defines.push(format!("{} AS TRUE", NAMES[variables[0]]));
        }
        let skip = match self.query.skip {
            Skip::PastLast => "PAST LAST ROW".to_string(),
            Skip::ToNext => "TO NEXT ROW".to_string(),
            Skip::ToFirst(v) => format!("TO FIRST {}", NAMES[v]),
            Skip::ToLast(v) => format!("TO LAST {}", NAMES[v]),
        };
        let within = self.query.within.map_or(String::new(), |w| format!(" WITHIN INTERVAL '{}' SECOND", w / 1000));
        format!(
            "SELECT * FROM t MATCH_RECOGNIZE ({}ORDER BY ts MEASURES {} {} ROW{} PER MATCH AFTER MATCH SKIP {skip} \
             PATTERN ({}){within} DEFINE {}) AS m",
            if self.partitioned { "PARTITION BY k " } else { "" },
            self.measures(),
            if self.all_rows { "ALL" } else { "ONE" },
            if self.all_rows { "S" } else { "" },
            self.query.pattern.sql(),
            defines.join(", ")
        )
    }

    fn circuit(&self) -> Circuit {
        let mut connectors = Connectors::default();
        connectors.register(Arc::new(Channels::default()));
        let mut session = Session::new(connectors);
        let table = format!(
            "CREATE TABLE t (k STRING, id BIGINT, p BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '{}' SECOND) \
             WITH ('connector' = 'channel')",
            self.delay / 1000
        );
        session.execute(&parse_script(&table).unwrap()[0]).unwrap();
        let sql = self.sql();
        let outcome = session.execute(&parse_script(&sql).unwrap_or_else(|e| panic!("{e}\n{sql}"))[0]);
        let Outcome::Query(query) = outcome.unwrap_or_else(|e| panic!("{e}\n{sql}")) else { panic!("no query") };
        let query = Planned { plan: query.plan, target: None, state_ttls: StateTtls::new() };
        compile(vec![query], CompileOptions::default()).unwrap_or_else(|e| panic!("{e}\n{sql}"))
    }

    /// The rows that come out, in words; `None` where there is no telling.
    fn expected(&self) -> Option<Vec<String>> {
        let mut reached = i64::MIN;
        let mut partitions: Vec<(Option<&str>, Vec<Row>)> = Vec::new();
        for (key, row) in &self.rows {
            if row.time > reached {
                let key = if self.partitioned { *key } else { None };
                match partitions.iter_mut().find(|(k, _)| *k == key) {
                    Some((_, rows)) => rows.push(row.clone()),
                    None => partitions.push((key, vec![row.clone()])),
                }
            }
            reached = reached.max(row.time - self.delay);
        }
        let mut lines = Vec::new();
        for (key, mut rows) in partitions {
            rows.sort_by_key(|row| row.time);
            for (number, one) in matches(&self.query, &rows)?.iter().enumerate() {
                self.lines(key, &rows, one, number + 1, &mut lines);
            }
        }
        lines.sort();
        Some(lines)
    }

    fn lines(&self, key: Option<&str>, rows: &[Row], one: &Match, number: usize, lines: &mut Vec<String>) {
        let mut variables = Vec::new();
        self.query.pattern.variables(&mut variables);
        let whole = Bound { rows, start: one.start, variables: &one.variables };
        let shown: Vec<usize> = match self.all_rows && !one.variables.is_empty() {
            true => (1..=one.variables.len()).collect(),
            false => vec![one.variables.len()],
        };
        for seen in shown {
            let bound = Bound { rows, start: one.start, variables: &one.variables[..seen] };
            let id = |at: Option<usize>| at.map(|at| rows[at].id);
            let own = seen.checked_sub(1).map(|at| one.start + at);
            let anchor = own.unwrap_or(one.start);
            let mut values: Vec<Option<String>> = Vec::new();
            if self.partitioned {
                values.push(key.map(String::from));
            }
            if self.all_rows {
                values.push(Some(rows[anchor].time.to_string()));
            }
            let mut number_of = |n: Option<i64>| values.push(n.map(|n| n.to_string()));
            for v in &variables {
                let places = bound.places(Some(*v));
                number_of(id(places.first().copied()));
                number_of(id(places.last().copied()));
                number_of(Value::Sum(Some(*v)).of(&bound));
                number_of(Value::Least(*v).of(&bound));
                number_of(Value::Last(*v, 1).of(&bound).map(|p| p + 1));
            }
            number_of(Some(seen as i64));
            number_of(id(own));
            number_of(Some(number as i64));
            values.push(own.map(|_| NAMES[one.variables[seen - 1]].to_string()));
            let last = whole.places(None).last().copied();
            values.push(id(last).map(|n| n.to_string()));
            let distinct: BTreeSet<i64> = bound.places(None).iter().filter_map(|at| rows[*at].p).collect();
            values.push(Some(distinct.len().to_string()));
            let before = own.and_then(|_| one.start.checked_sub(1));
            values.push(id(before).map(|n| n.to_string()));
            let classifier = |at: usize| bound.variables.get(at).map(|v| NAMES[*v].to_string());
            values.push(seen.checked_sub(2).and_then(classifier));
            if self.ahead {
                let behind = |at: Option<usize>, by| bound.beside(at?, by).map(|row| row.id.to_string());
                values.push(behind(own, 1));
                values.push(behind(own.map(|_| one.start), 2));
                values.push(classifier(1));
            }
            if self.all_rows {
                if !self.partitioned {
                    values.push(self.rows.iter().find(|(_, r)| r.id == rows[anchor].id).unwrap().0.map(String::from));
                }
                values.push(Some(rows[anchor].id.to_string()));
                values.push(rows[anchor].p.map(|p| p.to_string()));
            }
            lines.push(values.into_iter().map(|v| v.unwrap_or_else(|| "NULL".into())).collect::<Vec<_>>().join(" "));
        }
    }

    fn table(&self) -> ChangeBatch {
        let k: ArrayRef = Arc::new(self.rows.iter().map(|(k, _)| *k).collect::<StringArray>());
        let id: ArrayRef = Arc::new(self.rows.iter().map(|(_, r)| Some(r.id)).collect::<Int64Array>());
        let p: ArrayRef = Arc::new(self.rows.iter().map(|(_, r)| r.p).collect::<Int64Array>());
        let ts: ArrayRef = Arc::new(self.rows.iter().map(|(_, r)| Some(r.time)).collect::<TimestampMillisecondArray>());
        let all = [("k", k, true), ("id", id, true), ("p", p, true), ("ts", ts, true)];
        ChangeBatch::append(RecordBatch::try_from_iter_with_nullable(all).unwrap())
    }

    /// What comes out, sorted, and when each was found.
    fn answer(&self, circuit: &Arc<Circuit>, schedule: &Schedule) -> Result<Vec<(String, String)>, String> {
        let tables = HashMap::from([("t".to_string(), self.table())]);
        let observed = run(circuit, &tables, schedule).map_err(|e| e.to_string())?;
        let found = usize::from(self.partitioned) + usize::from(self.all_rows);
        let batches = observed.until(usize::MAX, 0);
        let mut lines: Vec<_> = batches.iter().flat_map(|batch| lines_of(batch, found)).collect();
        lines.sort();
        Ok(lines)
    }

    /// What is wrong, if anything.
    fn failure(&self) -> Option<String> {
        let expected = self.expected();
        let circuit = Arc::new(self.circuit());
        let counts = HashMap::from([("t".to_string(), self.rows.len())]);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(self.seed ^ 0x5eed);
        let mut schedules = vec![Schedule::at_once(&counts)];
        schedules.extend((0..4).map(|trial| Schedule::random(&counts, &mut rng, trial >= 1)));
        let mut first: Option<Vec<(String, String)>> = None;
        for schedule in schedules {
            match (&expected, self.answer(&circuit, &schedule)) {
                (Some(expected), Ok(ours)) if ours.iter().map(|(line, _)| line).eq(expected) => {
                    let first = first.get_or_insert_with(|| ours.clone());
                    if *first != ours {
                        let others: Vec<_> = first.iter().zip(&ours).filter(|(a, b)| a != b).collect();
                        return Some(format!("found at other times {others:#?}\nwith {schedule:?}"));
                    }
                }
                // Where the search goes on at a row that is not there, the query fails.
                (None, _) => {}
                (Some(expected), Ok(ours)) => {
                    let ours: Vec<String> = ours.into_iter().map(|(line, _)| line).collect();
                    let missing: Vec<_> = expected.iter().filter(|l| !ours.contains(l)).collect();
                    let surplus: Vec<_> = ours.iter().filter(|l| !expected.contains(l)).collect();
                    return Some(format!("missing {missing:#?}\nsurplus {surplus:#?}\nwith {schedule:?}"));
                }
                (_, Err(e)) => return Some(format!("{e}\nwith {schedule:?}")),
            }
        }
        None
    }

    /// The same without some of the rows, while it still fails.
    fn shrunk(mut self, mut failure: String) -> (Self, String) {
        loop {
            let smaller = (0..self.rows.len()).find_map(|at| {
                let mut case = self.clone();
                case.rows.remove(at);
                case.failure().map(|f| (case, f))
            });
            match smaller {
                Some((case, f)) => (self, failure) = (case, f),
                None => return (self, failure),
            }
        }
    }
}

/// A batch's rows in words, and apart from them what one column holds.
fn lines_of(batch: &RecordBatch, apart: usize) -> Vec<(String, String)> {
    use arrow::array::Array;
    use arrow::datatypes::DataType;
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|c| match c.data_type() {
            DataType::Timestamp(..) => arrow::compute::cast(c, &DataType::Int64).unwrap(),
            _ => Arc::clone(c),
        })
        .collect();
    let options = FormatOptions::new().with_null("NULL");
    let formatters: Vec<ArrayFormatter<'_>> =
        columns.iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    let line = |row: usize| {
        let mut values: Vec<String> = formatters.iter().map(|f| f.value(row).to_string()).collect();
        let apart = values.remove(apart);
        (values.join(" "), apart)
    };
    (0..batch.num_rows()).map(line).collect()
}

/// Proves the laws for random cases.
pub fn prove(name: &str, flink: bool) {
    let first: u64 = std::env::var("MILLSTREAM_SEED").ok().and_then(|c| c.parse().ok()).unwrap_or(1);
    let (mut told, mut matched) = (0, 0);
    for seed in first..first + cases() * 10 {
        let case = Case::random(seed, flink);
        if let Some(failure) = case.failure() {
            let (case, failure) = case.shrunk(failure);
            panic!("seed {seed} of '{name}'\n{}\n{:#?}\n{failure}", case.sql(), case.rows);
        }
        let expected = case.expected();
        told += usize::from(expected.is_some());
        matched += usize::from(expected.is_some_and(|e| !e.is_empty()));
    }
    let all = cases() as usize * 10;
    assert!(all < 100 || (told > all / 2 && matched > all / 5), "{told} of {all} are told, {matched} have matches");
}

/// Proves the laws for random cases with many rows; `trends`: with values that have a course.
pub fn prove_long(name: &str, trends: bool) {
    let first: u64 = std::env::var("MILLSTREAM_SEED").ok().and_then(|c| c.parse().ok()).unwrap_or(1);
    let mut told = 0;
    for seed in first..first + cases() {
        let case = if trends { Case::trend(seed) } else { Case::long(seed) };
        if let Some(failure) = case.failure() {
            let (case, failure) = case.shrunk(failure);
            panic!("seed {seed} of '{name}'\n{}\n{:?}\n{failure}", case.sql(), case.rows);
        }
        told += u64::from(case.expected().is_some());
    }
    assert!(told * 2 > cases() || cases() < 10, "{told} of {} are told", cases());
}

/// The operators that run in some cases.
/// A pattern's circuit and its rows; `None` where the query may fail.
pub fn material(seed: u64) -> Option<Material> {
    let case = Case::random(seed, seed.is_multiple_of(2));
    case.expected()?;
    let tables = HashMap::from([("t".to_string(), case.table())]);
    Some(Material { text: case.sql(), circuit: Arc::new(case.circuit()), tables, any_order: false })
}

pub fn operators() -> Vec<String> {
    let circuit = Case::random(1, true).circuit();
    let name = |kind: &NodeKind| match kind {
        NodeKind::Operator(factory) => Some(factory.name().to_string()),
        _ => None,
    };
    circuit.nodes.iter().filter_map(|node| name(&node.kind)).collect()
}
