//! What is run: a circuit whose edges are simulated, the rows of its tables, and what it comes to when nothing goes wrong.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use millstream::change::ChangeBatch;
use millstream::connector::channel::Channels;
use millstream::connector::{Connector, Connectors, TableDescriptor};
use millstream::plan::{CompileOptions, Query, StateTtls, compile};
use millstream::runtime::Circuit;
use millstream::runtime::circuit::{NodeKind, SinkSpec};
use millstream::sql::parse::parse_script;
use millstream::sql::{Outcome, Session};
use rand::{Rng, SeedableRng};

use super::Random;
use super::edges::{Edges, Splits};
use super::world::World;
use crate::law;
use crate::law::exec::{Schedule, run};
use crate::law::rows::{Row, batch_rows, difference, sorted};

/// A circuit, its tables' rows, and the rows that each of its sinks has in the end.
pub struct Case {
    pub text: String,
    pub circuit: Arc<Circuit>,
    pub tables: Arc<BTreeMap<String, Splits>>,
    expected: Vec<Vec<Row>>,
}

/// Queries whose answer does not depend on the order in which splits are read, and those for which there is one split.
const ANY_ORDER: [&str; 6] = [
    "SELECT id, UPPER(k), v * 2 FROM t WHERE v > 10",
    "SELECT k, window_start, SUM(v), COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
     GROUP BY k, window_start, window_end",
    "SELECT k, COUNT(*), SUM(v), MAX(v), COUNT(DISTINCT v) FROM t GROUP BY k",
    "SELECT a.id, b.id FROM t AS a JOIN t AS b ON a.k = b.k \
     AND a.ts BETWEEN b.ts - INTERVAL '3' SECOND AND b.ts + INTERVAL '1' SECOND",
    "SELECT * FROM (SELECT k, id, v, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC, id) AS place FROM t) \
     WHERE place <= 2",
    "SELECT a.id, b.id, b.v FROM t AS a LEFT JOIN (SELECT * FROM t WHERE v > 60) AS b ON a.v = b.v",
];
const ONE_ORDER: [&str; 4] = [
    "SELECT k, v, id, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS place FROM t) \
     WHERE place = 1",
    "SELECT id, SUM(v) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) FROM t",
    "SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts MEASURES A.id AS first_id, LAST(B.id) AS last_id \
     ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (A B+ C) \
     DEFINE B AS B.v > A.v, C AS C.v < A.v) AS m",
    "SELECT k, window_start, window_end, COUNT(*) FROM TABLE(SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), \
     INTERVAL '2' SECOND)) GROUP BY k, window_start, window_end",
];

impl Case {
    /// The case of a seed, `None` where the generator has none of a size that is worth it.
    pub fn random(seed: u64) -> Option<Self> {
        let mut rng = Random::seed_from_u64(seed ^ 0x51_3a_7e);
        match rng.random_range(0..3) {
            0 => {
                let number = rng.random_range(0..ANY_ORDER.len() + ONE_ORDER.len());
                let rows = rng.random_range(1..120);
                Some(Self::fixed(number, rows, &mut rng))
            }
            _ => {
                let law::Material { text, circuit, tables, any_order } = law::material(seed, &mut rng)?;
                if tables.values().map(ChangeBatch::num_rows).sum::<usize>() > 250 {
                    return None;
                }
                let most = if any_order { 3 } else { 1 };
                Some(Self::new(text, &circuit, &tables, most, &mut rng))
            }
        }
    }

    /// One of the queries above.
    pub fn fixed(number: usize, rows: usize, rng: &mut Random) -> Self {
        let (query, most) = match number {
            n if n < ANY_ORDER.len() => (ANY_ORDER[n], 3),
            n => (ONE_ORDER[n - ANY_ORDER.len()], 1),
        };
        let mut connectors = Connectors::default();
        connectors.register(Arc::new(Channels::default()));
        let mut session = Session::new(connectors);
        let table = "CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) \
                     WITH ('connector' = 'channel')";
        session.execute(&parse_script(table).unwrap()[0]).unwrap();
        let Outcome::Query(planned) = session.execute(&parse_script(query).unwrap()[0]).unwrap() else { panic!() };
        let planned = Query { plan: planned.plan, target: None, state_ttls: StateTtls::new() };
        let circuit = compile(vec![planned], CompileOptions::default()).unwrap();
        let tables = HashMap::from([("t".to_string(), ChangeBatch::append(payments(rows, rng)))]);
        Self::new(query.into(), &circuit, &tables, most, rng)
    }

    fn new(
        text: String,
        circuit: &Circuit,
        tables: &HashMap<String, ChangeBatch>,
        most_splits: usize,
        rng: &mut Random,
    ) -> Self {
        let counts = tables.iter().map(|(name, rows)| (name.clone(), rows.num_rows())).collect();
        let circuit = Arc::new(circuit.clone());
        let observed = run(&circuit, tables, &Schedule::at_once(&counts)).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let sink = |sink: usize| {
            let changes = observed.steps.iter().flat_map(|step| step[sink].clone()).collect::<Vec<_>>();
            folded(&changes).unwrap_or_else(|e| panic!("{e}\n{text}"))
        };
        let expected = (0..circuit.sinks.len()).map(sink).collect();
        let mut names: Vec<_> = tables.keys().collect();
        names.sort();
        let splits = names.into_iter().map(|name| {
            let count = rng.random_range(1..=most_splits);
            (name.clone(), split(&tables[name], count, rng))
        });
        Self { tables: Arc::new(splits.collect()), text, circuit, expected }
    }

    /// The circuit with these edges.
    pub fn with_edges(&self, edges: &Arc<Edges>) -> Circuit {
        self.with_sinks(edges, |_| edges.clone())
    }

    /// The circuit with these sources, and sinks that may be others.
    pub fn with_sinks(&self, edges: &Arc<Edges>, sink: impl Fn(&mut TableDescriptor) -> Arc<dyn Connector>) -> Circuit {
        let mut circuit = self.circuit.as_ref().clone();
        for source in circuit.sources.iter_mut().filter(|s| self.tables.contains_key(&s.table.name)) {
            source.connector = edges.clone();
        }
        for node in &self.circuit.nodes {
            let NodeKind::Sink(i) = node.kind else { continue };
            let mut table = TableDescriptor {
                name: sink_name(i),
                schema: Arc::clone(&node.schema),
                metadata: Vec::new(),
                options: Default::default(),
                partition_keys: Vec::new(),
                primary_key: Vec::new(),
            };
            let connector = sink(&mut table);
            circuit.sinks[i] = SinkSpec::Table { table: Arc::new(table), connector };
        }
        circuit
    }

    /// What is wrong with what a world shows in the end.
    pub fn difference(&self, world: &World) -> Option<String> {
        self.expected.iter().enumerate().find_map(|(sink, expected)| {
            let ours = match folded(&world.committed(&sink_name(sink))) {
                Ok(rows) => rows,
                Err(e) => return Some(format!("sink {sink}: {e}")),
            };
            difference(&ours, expected).map(|d| format!("sink {sink}: {d}"))
        })
    }
}

pub fn sink_name(sink: usize) -> String {
    format!("out{sink}")
}

/// What changes come to.
pub fn folded(changes: &[ChangeBatch]) -> Result<Vec<Row>, String> {
    let mut standing: HashMap<_, (Row, usize)> = HashMap::new();
    for batch in changes {
        for (i, row) in batch_rows(&batch.rows).into_iter().enumerate() {
            let key = row.exact();
            if batch.kind(i).is_addition() {
                standing.entry(key).or_insert((row, 0)).1 += 1;
                continue;
            }
            match standing.get_mut(&key) {
                Some((_, count)) if *count > 1 => *count -= 1,
                Some(_) => drop(standing.remove(&key)),
                None => return Err(format!("a row goes that is not there: {row:?}")),
            }
        }
    }
    Ok(sorted(standing.into_values().flat_map(|(row, count)| std::iter::repeat_n(row, count)).collect()))
}

/// Deals rows out to splits, each in its order.
fn split(changes: &ChangeBatch, count: usize, rng: &mut Random) -> Splits {
    if count == 1 {
        return vec![changes.clone()];
    }
    let mut rows = vec![Vec::new(); count];
    (0..changes.num_rows()).for_each(|row| rows[rng.random_range(0..count)].push(row as u32));
    rows.into_iter().map(|rows| changes.take(&rows.into()).unwrap()).collect()
}

/// Rows that are out of order by less than the watermark is behind.
fn payments(count: usize, rng: &mut Random) -> RecordBatch {
    let mut clock = 0;
    let mut ts = Vec::new();
    for _ in 0..count {
        clock += rng.random_range(0..1500);
        ts.push(clock - rng.random_range(0..4000));
    }
    let ids = Int64Array::from_iter_values(0..count as i64);
    let keys = StringArray::from_iter_values((0..count).map(|_| ["a", "b", "c"][rng.random_range(0..3)]));
    let values = Int64Array::from_iter_values((0..count).map(|_| rng.random_range(0..100)));
    let columns: [(&str, ArrayRef, bool); 4] = [
        ("id", Arc::new(ids), true),
        ("k", Arc::new(keys), true),
        ("v", Arc::new(values), true),
        ("ts", Arc::new(TimestampMillisecondArray::from(ts)), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}
