//! Windows over rows that come and go: a window holds what stood in it when it closed, however the input is cut, on any
//! number of workers, and handed over on the way.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use millstream::change::{ChangeBatch, RowKind};
use millstream::connector::Connectors;
use millstream::connector::channel::Channels;
use millstream::runtime::Circuit;
use millstream::sql::Session;
use millstream::sql::parse::parse_script;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::case::cases;
use super::exec::{Schedule, run};

/// By end, start and key, the values of a window.
type Groups<'a> = BTreeMap<(i64, i64, Option<&'a str>), Vec<Option<i64>>>;

type Random = Xoshiro256PlusPlus;

/// A row of the table.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    id: i64,
    k: Option<&'static str>,
    v: Option<i64>,
    ts: i64,
}

/// What stands below the windows.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Below {
    /// A table whose changes are whole.
    Retract,
    /// A table of keyed rows without the old ones.
    Upsert,
    /// The last row of each id of a table whose rows only come.
    LastRows,
    /// The two greatest values of each `k`.
    TopRows,
}

const BELOW: [Below; 4] = [Below::Retract, Below::Upsert, Below::LastRows, Below::TopRows];

/// Windows: their size, their step, and whether they begin together; or sessions, by their gap.
#[derive(Debug, Clone, Copy)]
struct Windows {
    size: i64,
    step: i64,
    cumulate: bool,
    gap: Option<i64>,
}

impl Windows {
    fn random(rng: &mut Random) -> Self {
        let step = rng.random_range(1..=4);
        match rng.random_range(0..4) {
            0 => Self { size: step, step, cumulate: false, gap: None },
            3 => Self { size: step, step, cumulate: false, gap: Some(step) },
            kind => Self { size: step * rng.random_range(2..=3), step, cumulate: kind == 1, gap: None },
        }
    }

    fn call(&self, table: &str, keyed: bool) -> String {
        let span = |s: i64| format!("INTERVAL '{s}' SECOND");
        if let Some(gap) = self.gap {
            let partition = if keyed { " PARTITION BY k" } else { "" };
            return format!("SESSION(TABLE {table}{partition}, DESCRIPTOR(ts), {})", span(gap));
        }
        let time = format!("TABLE {table}, DESCRIPTOR(ts)");
        match (self.size == self.step, self.cumulate) {
            (true, _) => format!("TUMBLE({time}, {})", span(self.size)),
            (_, true) => format!("CUMULATE({time}, {}, {})", span(self.step), span(self.size)),
            _ => format!("HOP({time}, {}, {})", span(self.step), span(self.size)),
        }
    }

    /// The windows of a time, in milliseconds.
    fn of(&self, ts: i64) -> Vec<(i64, i64)> {
        let (size, step) = (self.size * 1000, self.step * 1000);
        let slice = ts.div_euclid(step) * step;
        match self.cumulate {
            true => {
                let start = ts.div_euclid(size) * size;
                (1..=size / step).map(|n| (start, start + n * step)).filter(|w| ts < w.1).collect()
            }
            false => (0..size / step).map(|n| (slice - n * step, slice - n * step + size)).collect(),
        }
    }
}

/// A query and its input.
#[derive(Debug)]
struct Case {
    below: Below,
    windows: Windows,
    delay: i64,
    keyed: bool,
    filtered: bool,
    /// What is pushed.
    log: Vec<(RowKind, Row)>,
}

impl Case {
    fn random(seed: u64) -> (Self, Random) {
        let mut rng = Random::seed_from_u64(seed);
        let below = BELOW[rng.random_range(0..BELOW.len())];
        let mut case = Self {
            below,
            windows: Windows::random(&mut rng),
            delay: rng.random_range(0..4),
            keyed: rng.random_bool(0.6),
            filtered: rng.random_bool(0.3),
            log: Vec::new(),
        };
        let mut standing: BTreeMap<i64, Row> = BTreeMap::new();
        let mut clock = 0;
        for place in 0..rng.random_range(0..120) {
            clock += rng.random_range(0..1500);
            let id = if below == Below::TopRows { place } else { rng.random_range(0..8) };
            let row = Row {
                id,
                k: [Some("a"), Some("b"), None][rng.random_range(0..3)],
                v: (!rng.random_bool(0.2)).then(|| rng.random_range(-4..4)),
                ts: clock - if rng.random_bool(0.4) { rng.random_range(0..6000) } else { 0 },
            };
            match below {
                Below::LastRows | Below::TopRows => case.log.push((RowKind::Insert, row)),
                Below::Retract => match standing.remove(&id) {
                    None => {
                        standing.insert(id, row.clone());
                        case.log.push((RowKind::Insert, row));
                    }
                    Some(old) if rng.random_bool(0.5) => case.log.push((RowKind::Delete, old)),
                    Some(old) => {
                        standing.insert(id, row.clone());
                        case.log.extend([(RowKind::UpdateBefore, old), (RowKind::UpdateAfter, row)]);
                    }
                },
                Below::Upsert if rng.random_bool(0.2) => case.log.push((RowKind::Delete, row)),
                Below::Upsert => case.log.push((RowKind::UpdateAfter, row)),
            }
        }
        (case, rng)
    }

    fn script(&self) -> Vec<String> {
        let (key, mode) = match self.below {
            Below::Retract => ("", ", 'changelog.mode' = 'retract'"),
            Below::Upsert => (", PRIMARY KEY (id) NOT ENFORCED", ", 'changelog.mode' = 'upsert'"),
            _ => ("", ""),
        };
        let table = format!(
            "CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '{}' SECOND{key}) \
             WITH ('connector' = 'channel'{mode})",
            self.delay
        );
        let ranked = |partition: &str, order: &str, last: u32| {
            format!(
                "CREATE VIEW b AS SELECT id, k, v, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY {partition} ORDER BY \
                 {order}) AS n FROM t) WHERE n <= {last}"
            )
        };
        let below = match self.below {
            Below::LastRows => ranked("id", "ts DESC", 1),
            Below::TopRows => ranked("k", "v DESC, id", 2),
            _ => "CREATE VIEW b AS SELECT * FROM t".into(),
        };
        let filter = if self.filtered { "WHERE v IS NULL OR v <> 1 " } else { "" };
        let (keys, group) = if self.keyed { (", k", ", k") } else { ("", "") };
        let query = format!(
            "SELECT window_start, window_end{keys}, COUNT(*), COUNT(v), SUM(v), MIN(v), MAX(v), COUNT(DISTINCT v) FROM \
             TABLE({}) {filter}GROUP BY window_start, window_end{group}",
            self.windows.call("b", self.keyed)
        );
        vec![table, below, query]
    }

    fn circuit(&self) -> Arc<Circuit> {
        let mut connectors = Connectors::default();
        connectors.register(Arc::new(Channels::default()));
        let mut session = Session::new(connectors);
        let mut circuit = None;
        for text in self.script() {
            let statement = parse_script(&text).unwrap().remove(0);
            if let Ok(queries) = session.execute(&statement).unwrap().queries() {
                circuit = Some(session.compile(queries, &statement).unwrap());
            }
        }
        Arc::new(circuit.unwrap())
    }

    fn input(&self) -> ChangeBatch {
        // Of a keyed row that goes no more than the key need be there.
        let bare = |r: &&(RowKind, Row)| self.below == Below::Upsert && r.0 == RowKind::Delete && r.1.id % 2 == 0;
        let rows = || self.log.iter();
        let columns: [(&str, ArrayRef); 4] = [
            ("id", Arc::new(Int64Array::from_iter_values(rows().map(|r| r.1.id)))),
            ("k", Arc::new(rows().map(|r| r.1.k.filter(|_| !bare(&r))).collect::<StringArray>())),
            ("v", Arc::new(rows().map(|r| r.1.v.filter(|_| !bare(&r))).collect::<Int64Array>())),
            ("ts", {
                let times = rows().map(|r| Some(r.1.ts).filter(|_| !bare(&r)));
                Arc::new(times.collect::<TimestampMillisecondArray>())
            }),
        ];
        let named =
            columns.into_iter().map(|(name, column)| (name, column, name != "id" || self.below != Below::Upsert));
        let rows = RecordBatch::try_from_iter_with_nullable(named).unwrap();
        let appends = matches!(self.below, Below::LastRows | Below::TopRows);
        let kinds = (!appends).then(|| self.log.iter().map(|r| r.0).collect());
        ChangeBatch { rows, kinds, watermarks: None }
    }

    /// For each row that is pushed the changes that it makes below the windows.
    fn changes(&self) -> Vec<Vec<(i64, Row)>> {
        let mut standing: BTreeMap<i64, Row> = BTreeMap::new();
        let mut by_key: BTreeMap<Option<&str>, Vec<Row>> = BTreeMap::new();
        let change = |(kind, row): &(RowKind, Row)| match self.below {
            Below::Retract => vec![(if kind.is_addition() { 1 } else { -1 }, row.clone())],
            Below::Upsert => {
                let comes = kind.is_addition();
                let old = if comes { standing.insert(row.id, row.clone()) } else { standing.remove(&row.id) };
                let same = comes && old.as_ref() == Some(row);
                let new = comes.then(|| (1, row.clone()));
                old.map(|old| (-1, old)).into_iter().chain(new).filter(|_| !same).collect()
            }
            Below::LastRows => {
                if standing.get(&row.id).is_some_and(|old| old.ts > row.ts) {
                    return Vec::new();
                }
                let old = standing.insert(row.id, row.clone());
                old.map(|old| (-1, old)).into_iter().chain([(1, row.clone())]).collect()
            }
            Below::TopRows => {
                let rows = by_key.entry(row.k).or_default();
                let before: Vec<Row> = rows.iter().take(2).cloned().collect();
                rows.push(row.clone());
                // NULLs are low.
                rows.sort_by_key(|r| (std::cmp::Reverse(r.v), r.id));
                let after: Vec<Row> = rows.iter().take(2).cloned().collect();
                let gone = before.iter().filter(|r| !after.contains(r)).map(|r| (-1, r.clone()));
                let come = after.iter().filter(|r| !before.contains(r)).map(|r| (1, r.clone()));
                gone.chain(come).collect()
            }
        };
        self.log.iter().map(change).collect()
    }

    /// The watermark before each row, and last the one behind them all.
    fn watermarks(&self) -> Vec<i64> {
        let mut marks = vec![i64::MIN];
        for (kind, row) in &self.log {
            let bare = self.below == Below::Upsert && *kind == RowKind::Delete && row.id % 2 == 0;
            let mark = if bare { i64::MIN } else { row.ts - self.delay * 1000 };
            marks.push(mark.max(marks[marks.len() - 1]));
        }
        marks
    }

    /// By end, start and key the values that stood in each session when it closed; and how many changes came too late.
    fn sessions(&self, gap: i64) -> (Groups<'_>, u64) {
        struct Open<'a> {
            key: Option<&'a str>,
            start: i64,
            end: i64,
            rows: Vec<Row>,
        }
        let (mut open, mut closed, mut late): (Vec<Open<'_>>, Vec<Open<'_>>, u64) = (Vec::new(), Vec::new(), 0);
        for (changes, mark) in self.changes().iter().zip(self.watermarks()) {
            closed.extend(open.extract_if(.., |s| s.end - 1 <= mark));
            for (sign, row) in changes {
                let key = row.k.filter(|_| self.keyed);
                let (start, end) = (row.ts, row.ts + gap * 1000);
                // Behind what is kept by other keys the order of arrival is not defined.
                if self.below != Below::Retract && end - 1 <= mark {
                    late += 1;
                    continue;
                }
                let near = open.extract_if(.., |s| s.key == key && s.start <= end && start <= s.end);
                let alone = Open { key, start, end, rows: Vec::new() };
                let mut session = near.fold(alone, |mut all, s| {
                    all.rows.extend(s.rows);
                    Open { start: all.start.min(s.start), end: all.end.max(s.end), ..all }
                });
                if session.end - 1 <= mark {
                    late += 1;
                    continue;
                }
                match (sign, session.rows.iter().position(|r| r == row)) {
                    (1, _) => session.rows.push(row.clone()),
                    (_, Some(at)) => drop(session.rows.remove(at)),
                    // It came too late itself.
                    (_, None) => late += 1,
                }
                open.push(session);
            }
        }
        let mut groups = BTreeMap::new();
        for Open { key, start, end, rows } in closed.into_iter().chain(open) {
            let kept = rows.into_iter().filter(|r| !self.filtered || r.v != Some(1)).map(|r| r.v);
            // What has closed is followed by nothing of the same key and bounds.
            groups.insert((end, start, key), kept.collect());
        }
        (groups, late)
    }

    /// By end, start and key the values that stood in each window when it closed; and how many changes came too late for one.
    fn groups(&self) -> (Groups<'_>, u64) {
        if let Some(gap) = self.windows.gap {
            return self.sessions(gap);
        }
        let mut groups: Groups<'_> = BTreeMap::new();
        let mut late = 0;
        for (changes, mark) in self.changes().iter().zip(self.watermarks()) {
            for (sign, row) in changes {
                if self.filtered && row.v == Some(1) {
                    continue;
                }
                for (start, end) in self.windows.of(row.ts) {
                    if end - 1 <= mark {
                        late += 1;
                        continue;
                    }
                    let group = groups.entry((end, start, row.k.filter(|_| self.keyed))).or_default();
                    match sign {
                        1 => group.push(row.v),
                        _ => drop(group.remove(group.iter().position(|v| *v == row.v).unwrap())),
                    }
                }
            }
        }
        (groups, late)
    }

    /// What all windows come to: by their ends, and in each by key the values that stood when it closed; and how many
    /// changes came too late for a window.
    fn expected(&self) -> (BTreeMap<(i64, i64), Vec<String>>, u64) {
        let (groups, late) = self.groups();
        let mut windows: BTreeMap<(i64, i64), Vec<String>> = BTreeMap::new();
        for ((end, start, k), values) in groups.into_iter().filter(|(_, values)| !values.is_empty()) {
            let known: Vec<i64> = values.iter().flatten().copied().collect();
            let distinct: std::collections::BTreeSet<i64> = known.iter().copied().collect();
            let shown = |v: Option<i64>| v.map_or("NULL".to_string(), |v| v.to_string());
            let sum = (!known.is_empty()).then(|| known.iter().sum());
            let key = if self.keyed { format!("{} ", k.unwrap_or("NULL")) } else { String::new() };
            windows.entry((end, start)).or_default().push(format!(
                "{start} {end} {key}{} {} {} {} {} {}",
                values.len(),
                known.len(),
                shown(sum),
                shown(known.iter().min().copied()),
                shown(known.iter().max().copied()),
                distinct.len()
            ));
        }
        (windows, late)
    }
}

/// The rows of some batches as texts.
fn shown(batches: &[RecordBatch]) -> Vec<String> {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{DataType, Int64Type, TimestampMillisecondType};
    let value = |column: &ArrayRef, row: usize| match column.data_type() {
        _ if column.is_null(row) => "NULL".to_string(),
        DataType::Utf8 => column.as_string::<i32>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        _ => column.as_primitive::<TimestampMillisecondType>().value(row).to_string(),
    };
    let row =
        |batch: &RecordBatch, row: usize| batch.columns().iter().map(|c| value(c, row)).collect::<Vec<_>>().join(" ");
    let mut rows: Vec<String> =
        batches.iter().flat_map(|b| (0..b.num_rows()).map(|i| row(b, i)).collect::<Vec<_>>()).collect();
    rows.sort();
    rows
}

fn prove(seed: u64) {
    let (case, mut rng) = Case::random(seed);
    let (expected, late) = case.expected();
    let marks = case.watermarks();
    let circuit = case.circuit();
    let tables = HashMap::from([("t".to_string(), case.input())]);
    let rows = HashMap::from([("t".to_string(), case.log.len())]);
    for attempt in 0..6 {
        let schedule = match attempt {
            0 => Schedule::at_once(&rows),
            _ => Schedule::random(&rows, &mut rng, attempt > 3),
        };
        let observed = run(&circuit, &tables, &schedule).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{case:#?}"));
        for step in 0..observed.steps.len() {
            let consumed = schedule.consumed("t", step);
            let reached = if step < schedule.steps.len() { marks[consumed] } else { i64::MAX };
            let closed = expected.iter().filter(|((end, _), _)| end - 1 <= reached);
            let mut closed: Vec<String> = closed.flat_map(|(_, rows)| rows.clone()).collect();
            closed.sort();
            let given = shown(&observed.until(step, 0));
            assert_eq!(given, closed, "seed {seed}, step {step} of {schedule:?}\n{:#?}\n{case:#?}", case.script());
        }
        if let Some(counted) = observed.late {
            assert_eq!(counted, late, "late rows of seed {seed}, {schedule:?}\n{:#?}\n{case:#?}", case.script());
        }
    }
}

#[test]
fn windows_hold_what_stood_when_they_closed() {
    let first: u64 = std::env::var("MILLSTREAM_SEED").ok().and_then(|c| c.parse().ok()).unwrap_or(1);
    (first..first + cases() * 10).for_each(prove);
}

/// The model must see a retraction that is taken for one in time.
#[test]
fn cases_hold_late_retractions_and_emptied_windows() {
    let late = (1..100).map(|seed| Case::random(seed).0).filter(|case| case.expected().1 > 0).count();
    assert!(late > 30, "{late}");
    let below = |b: Below| (1..100).any(|seed| Case::random(seed).0.below == b);
    assert!(BELOW.into_iter().all(below));
}
