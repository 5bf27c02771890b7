//! Look-ups: rows joined with what is found for them, whenever the answers come; in steps cut anywhere, on any number of workers,
//! handed over with rows that are out.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray, UInt32Array};
use arrow::datatypes::{Int64Type, SchemaRef};
use millstream::Result;
use millstream::change::ChangeBatch;
use millstream::connector::channel::Channels;
use millstream::connector::lookup::{Lookup, LookupMode};
use millstream::connector::{Connector, Connectors, OptionSpec, Options, Sink, Source, TableDescriptor};
use millstream::operator::lookup_join::{Answer, Pairs};
use millstream::plan::{CompileOptions, Query, StateTtls, compile};
use millstream::runtime::{Circuit, Executor, LookupInput, SourceState, StepInput};
use millstream::sql::parse::parse_script;
use millstream::sql::{Outcome, Session};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::case::cases;

/// A table that the law answers for.
#[derive(Debug)]
struct Asked;

impl Connector for Asked {
    fn name(&self) -> &'static str {
        "asked"
    }

    fn options(&self, _table: &Options) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn lookup_mode(&self, _table: &TableDescriptor) -> Result<Option<LookupMode>> {
        Ok(Some(LookupMode::Keyed { cache: None, max_retries: 0 }))
    }

    fn lookup(&self, _: &TableDescriptor, _: SchemaRef, _: SchemaRef) -> Result<Box<dyn Lookup>> {
        unreachable!("no driver runs here")
    }

    fn source(&self, _: &TableDescriptor, _: SchemaRef) -> Result<Box<dyn Source>> {
        unreachable!("no driver runs here")
    }

    fn sink(&self, _: &TableDescriptor) -> Result<Box<dyn Sink>> {
        unreachable!("no driver runs here")
    }
}

const SCRIPT: [&str; 4] = [
    "CREATE TABLE l (k BIGINT, id BIGINT, ts TIMESTAMP(3), p AS PROCTIME(), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) \
     WITH ('connector' = 'channel')",
    "CREATE TABLE t (k BIGINT, v BIGINT) WITH ('connector' = 'asked')",
    "CREATE VIEW joined AS SELECT l.id, l.ts, t.v FROM l LEFT JOIN t FOR SYSTEM_TIME AS OF l.p AS t ON l.k = t.k AND t.v <> l.id",
    "CREATE VIEW strict AS SELECT l.id, t.v FROM l JOIN t FOR SYSTEM_TIME AS OF l.p AS t ON l.k = t.k",
];

fn circuit(query: &str) -> Arc<Circuit> {
    let mut connectors = Connectors::default();
    connectors.register(Arc::new(Channels::default()));
    connectors.register(Arc::new(Asked));
    let mut session = Session::new(connectors);
    for text in SCRIPT {
        session.execute(&parse_script(text).unwrap()[0]).unwrap();
    }
    let Outcome::Query(query) = session.execute(&parse_script(query).unwrap()[0]).unwrap() else { panic!("{query}") };
    let query = Query { plan: query.plan, target: None, state_ttls: StateTtls::new() };
    Arc::new(compile(vec![query], CompileOptions::default()).unwrap())
}

/// Rows that ask, and the table by key: values in their order.
struct Case {
    rows: Vec<(Option<i64>, i64, i64)>,
    table: Vec<Vec<i64>>,
}

impl Case {
    fn random(rng: &mut Xoshiro256PlusPlus) -> Self {
        let table = (0..5).map(|_| (0..rng.random_range(0..4)).map(|_| rng.random_range(0..40)).collect()).collect();
        let count = rng.random_range(0..40);
        let rows = (0..count).map(|id| {
            let key = rng.random_bool(0.9).then(|| rng.random_range(0..7));
            // Never as far behind as the watermark: nothing of the input is late.
            (key, id, id * 300 - rng.random_range(0..600))
        });
        Self { rows: rows.collect(), table }
    }

    fn found(&self, key: Option<i64>) -> &[i64] {
        let row = key.and_then(|k| usize::try_from(k).ok()).and_then(|k| self.table.get(k));
        row.map_or(&[], Vec::as_slice)
    }

    fn batch(&self, from: usize, until: usize, schema: &SchemaRef) -> ChangeBatch {
        let rows = &self.rows[from..until];
        let column = |name: &str| -> ArrayRef {
            match name {
                "k" => Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.0))),
                "id" => Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1))),
                "ts" => Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.2))),
                other => panic!("{other}"),
            }
        };
        let columns = schema.fields().iter().map(|f| column(f.name())).collect();
        ChangeBatch::append(RecordBatch::try_new(Arc::clone(schema), columns).unwrap())
    }

    /// The answer to some probes, in what columns the circuit asked for.
    fn answer(&self, circuit: &Circuit, probes: &ChangeBatch) -> Answer {
        let spec = &circuit.lookups[0];
        let keys = probes.rows.column(spec.join.keys[0]).as_primitive::<Int64Type>();
        let (mut of, mut key, mut value) = (Vec::new(), Vec::new(), Vec::new());
        for (row, k) in (0u32..).zip(keys) {
            for v in self.found(k) {
                of.push(row);
                key.push(k);
                value.push(*v);
            }
        }
        let found = UInt32Array::from_iter_values(0..of.len() as u32);
        let column = |name: &str| -> ArrayRef {
            if name == "k" {
                Arc::new(Int64Array::from(key.clone()))
            } else {
                Arc::new(Int64Array::from(value.clone()))
            }
        };
        let columns = spec.projection.fields().iter().map(|f| column(f.name())).collect();
        let rows = RecordBatch::try_new(Arc::clone(&spec.projection), columns).unwrap();
        Answer { rows, pairs: Pairs { probes: of.into(), found } }
    }

    /// Runs it, answering when the dice say so; gives the rows of the result, those of each batch in order.
    fn run(
        &self,
        circuit: &Arc<Circuit>,
        rng: &mut Xoshiro256PlusPlus,
        workers: usize,
        restoring: bool,
    ) -> Vec<Vec<Option<i64>>> {
        let mut executor = Executor::try_new(Arc::clone(circuit), workers).unwrap();
        let (mut fed, mut out, mut step) = (0, Vec::new(), 0);
        while fed < self.rows.len() || step == 0 || !executor.is_settled() {
            let take = rng.random_range(0..=8).min(self.rows.len() - fed);
            let batch = self.batch(fed, fed + take, &circuit.sources[0].projection);
            fed += take;
            let waiting: Vec<_> = executor.probes(0, 0).collect();
            let count = rng.random_range(0..=waiting.len());
            let answers = waiting[..count].iter().map(|p| self.answer(circuit, &p.rows)).collect();
            let ended = fed == self.rows.len();
            let input = StepInput {
                batches: vec![vec![batch]],
                sources: vec![if ended { SourceState::Ended } else { SourceState::Active }],
                lookups: vec![LookupInput { answers, ..LookupInput::default() }],
                processing_time: step,
                ..StepInput::default()
            };
            for changes in executor.step(input).unwrap().sinks.remove(0) {
                let columns = changes.rows.columns().iter().filter_map(|c| c.as_primitive_opt::<Int64Type>());
                let columns: Vec<_> = columns.collect();
                out.extend(
                    (0..changes.num_rows()).map(|row| columns.iter().map(|c| c.iter().nth(row).unwrap()).collect()),
                );
            }
            if restoring && rng.random_bool(0.3) {
                let snapshot = executor.snapshot().unwrap();
                executor = Executor::try_new(Arc::clone(circuit), rng.random_range(1..=4)).unwrap();
                executor.restore(snapshot).unwrap();
            }
            step += 1;
            assert!(step < 10_000, "the circuit never settles");
        }
        let late: u64 = executor.metrics().snapshot().operators.iter().map(|o| o.stats.late_rows).sum();
        assert_eq!(late, 0, "a row was late because it had been looked up");
        out
    }
}

fn check(seed: u64) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let case = Case::random(&mut rng);
    let outer = case.rows.iter().flat_map(|(k, id, _)| {
        let found: Vec<_> = case.found(*k).iter().filter(|v| *v != id).map(|v| vec![Some(*id), Some(*v)]).collect();
        if found.is_empty() { vec![vec![Some(*id), None]] } else { found }
    });
    let outer: Vec<_> = outer.collect();
    let inner = case.rows.iter().flat_map(|(k, id, _)| case.found(*k).iter().map(|v| vec![Some(*id), Some(*v)]));
    let inner: Vec<_> = inner.collect();
    let count = outer.len() as i64;
    for workers in 1..=4 {
        let restoring = rng.random_bool(0.5);
        let mut run = |query: &str| case.run(&circuit(query), &mut rng, workers, restoring);
        assert_eq!(run("SELECT id, v FROM joined"), outer, "LEFT, seed {seed}, {workers} workers");
        assert_eq!(run("SELECT id, v FROM strict"), inner, "INNER, seed {seed}, {workers} workers");
        let windows = run(
            "SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE joined, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY window_start, window_end",
        );
        let counted: i64 = windows.iter().flatten().flatten().sum();
        assert_eq!(counted, count, "windows, seed {seed}, {workers} workers");
    }
}

#[test]
fn rows_find_what_the_table_holds_whenever_the_answer_comes() {
    let first: u64 = std::env::var("MILLSTREAM_SEED").ok().and_then(|c| c.parse().ok()).unwrap_or(1);
    (first..first + cases()).for_each(check);
}
