//! Jobs under a clock that is moved by hand: what is due goes out by the clock alone, with no new input.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
use millstream::Engine;
use millstream::change::ManualClock;
use millstream::engine::{Job, JobEnd, Results, lines};

fn engine(millis: i64) -> (Engine, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(millis));
    let mut engine = Engine::new().unwrap();
    engine.set_clock(Arc::clone(&clock) as _);
    (engine, clock)
}

fn number(k: i64) -> RecordBatch {
    let k: ArrayRef = Arc::new(Int64Array::from(vec![k]));
    RecordBatch::try_from_iter_with_nullable([("k", k, true)]).unwrap()
}

fn timed(k: i64, ts: i64) -> RecordBatch {
    let k: ArrayRef = Arc::new(Int64Array::from(vec![k]));
    let ts: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![ts]));
    RecordBatch::try_from_iter_with_nullable([("k", k, true), ("ts", ts, true)]).unwrap()
}

/// Waits until an operator has worked off so many rows.
fn taken(job: &Job, operator: &str, rows: u64) {
    let seen = || job.metrics().operators.iter().find(|o| o.name == operator).unwrap().rows_in;
    while seen() < rows {
        assert!(job.end().is_none(), "the job has ended: {:?}", job.end());
        std::thread::yield_now();
    }
}

/// The next changes; a job that waits for ever fails.
fn next(engine: &Engine, results: &mut Results) -> String {
    let next = async { tokio::time::timeout(Duration::from_secs(60), results.next()).await };
    lines(&engine.block_on(next).expect("nothing goes out").unwrap()).unwrap()
}

#[test]
fn a_window_of_processing_time_goes_out_when_it_ends() {
    let (mut engine, clock) = engine(1_000);
    engine.execute("CREATE TABLE t (k BIGINT, p AS PROCTIME()) WITH ('connector' = 'channel')").unwrap();
    let input = engine.input("t").unwrap();
    let query = "SELECT window_end, SUM(k) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(p), INTERVAL '10' SECOND)) \
                 GROUP BY window_start, window_end";
    let (job, mut results) = engine.query(query).unwrap();
    input.blocking_push(number(1)).unwrap();
    taken(&job, "ProcessingTimeWindow", 1);
    clock.set(9_999);
    input.blocking_push(number(2)).unwrap();
    taken(&job, "ProcessingTimeWindow", 2);
    clock.set(10_000);
    // Both rows at once: the window was not let out before.
    assert_eq!(next(&engine, &mut results), "+I[1970-01-01T00:00:10, 3]\n");
    clock.set(35_000);
    input.blocking_push(number(5)).unwrap();
    taken(&job, "ProcessingTimeWindow", 3);
    clock.set(39_999);
    clock.set(40_000);
    assert_eq!(next(&engine, &mut results), "+I[1970-01-01T00:00:40, 5]\n");
    drop(input);
    assert!(results.blocking_next().is_none());
    assert_eq!(engine.block_on(job.wait()).unwrap(), JobEnd::Finished);
}

#[test]
fn early_and_late_results_go_out_when_they_have_waited() {
    let (mut engine, clock) = engine(1_000);
    for (key, value) in [
        ("early-fire.enabled", "true"),
        ("early-fire.delay", "5 s"),
        ("late-fire.enabled", "true"),
        ("late-fire.delay", "2 s"),
        ("allow-lateness", "1 h"),
    ] {
        engine.set(&format!("table.exec.emit.{key}"), value).unwrap();
    }
    let table = "CREATE TABLE t (k BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'channel')";
    engine.execute(table).unwrap();
    let input = engine.input("t").unwrap();
    let query = "SELECT SUM(k) FROM t GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE)";
    let (job, mut results) = engine.query(query).unwrap();
    let mut pushed = 0;
    let mut push = |k, ts| {
        input.blocking_push(timed(k, ts)).unwrap();
        pushed += 1;
        taken(&job, "WindowAggregate", pushed);
    };
    push(1, 0);
    clock.set(3_000);
    push(2, 1);
    clock.set(6_000);
    // Both rows in one result: five seconds after the first.
    assert_eq!(next(&engine, &mut results), "+I[3]\n");
    push(4, 2);
    clock.set(10_999);
    push(8, 3);
    clock.set(11_000);
    assert_eq!(next(&engine, &mut results), "-U[3]\n+U[15]\n");
    // The watermark closes the window, and what waited goes out.
    push(16, 4);
    push(0, 60_000);
    assert_eq!(next(&engine, &mut results), "-U[15]\n+U[31]\n");
    clock.set(13_000);
    push(32, 5);
    clock.set(15_000);
    assert_eq!(next(&engine, &mut results), "-U[31]\n+U[63]\n");
    clock.set(16_000);
    assert_eq!(next(&engine, &mut results), "+I[0]\n", "the second window's early result");
    drop(input);
    assert!(results.blocking_next().is_none(), "nothing has changed since");
    assert_eq!(engine.block_on(job.wait()).unwrap(), JobEnd::Finished);
}

#[test]
fn a_clock_forgets_jobs_that_have_ended() {
    let (mut engine, clock) = engine(0);
    engine.execute("CREATE TABLE t (k BIGINT) WITH ('connector' = 'channel')").unwrap();
    for query in ["SELECT k FROM t", "SELECT 1 / k FROM t"] {
        for _ in 0..3 {
            let input = engine.input("t").unwrap();
            let (job, mut results) = engine.query(query).unwrap();
            input.blocking_push(number(1)).unwrap();
            results.blocking_next().unwrap();
            assert_eq!(clock.sleeping(), 1);
            input.blocking_push(number(0)).unwrap();
            drop(input);
            while results.blocking_next().is_some() {}
            assert_eq!(engine.block_on(job.wait()).is_err(), query.contains('/'));
            assert_eq!(clock.sleeping(), 0);
        }
    }
}
