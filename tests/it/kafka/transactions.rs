//! Exactly once: the protocol of the sink by itself, cut at every point.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use millstream::change::ChangeBatch;
use millstream::connector::kafka::Kafka;
use millstream::connector::{Connector, Options, Prepared, Sink, SinkRecovery, TableDescriptor};
use millstream::{Engine, Result};

use super::broker::{self, values};

/// How many rows come between two checkpoints.
const ROWS: i64 = 20;
/// How many checkpoints there are.
const CHECKPOINTS: u64 = 3;

fn sink(topic: &str, options: &[(&str, &str)]) -> Box<dyn Sink> {
    let mut all = Options::default();
    let servers = broker::address();
    let own = [
        ("topic", topic),
        ("properties.bootstrap.servers", &servers),
        ("format", "csv"),
        ("sink.delivery-guarantee", "exactly-once"),
        ("sink.transactional-id-prefix", topic),
    ];
    own.iter().chain(options).for_each(|(key, value)| all.set(*key, *value));
    let table = TableDescriptor {
        name: "t".into(),
        schema: Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)])),
        metadata: vec![],
        options: all,
        partition_keys: vec![],
        primary_key: vec![],
    };
    Kafka::log().sink(&table).unwrap()
}

fn rows(from: i64) -> ChangeBatch {
    let n: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + ROWS));
    ChangeBatch::append(RecordBatch::try_from_iter_with_nullable([("n", n, false)]).unwrap())
}

fn recovery(prepared: &[Prepared]) -> SinkRecovery {
    SinkRecovery { id: "job-sink".into(), prepared: prepared.to_vec() }
}

/// Where a run is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// In the middle of the rows for that checkpoint.
    Rows(u64),
    /// Prepared, and the checkpoint does not become durable.
    Prepared(u64),
    /// The checkpoint is durable, and nothing committed.
    Durable(u64),
    /// While that is committed, after so many waits.
    Commit(u64, usize),
    /// Committed, and nothing more.
    Committed(u64),
    /// While the next run recovers, after so many waits; the run before was cut off when the checkpoint was durable.
    Recover(u64, usize),
    Never,
}

/// What outlives a process.
#[derive(Default)]
struct Durable {
    checkpoint: u64,
    next: i64,
    prepared: Vec<Prepared>,
}

/// Waits for a future, but only so many times; `None` when it is not done by then. It is dropped then, while what it had others do
/// goes on.
async fn cut_after<F: Future>(waits: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = waits;
    std::future::poll_fn(move |context| match Pin::as_mut(&mut future).poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// A run of a job up to where it is cut off; the sink is as a process leaves it that is stopped but not gone. True when
/// it came to the cut.
async fn run(topic: &str, durable: &mut Durable, cut: Cut) -> Result<(Box<dyn Sink>, bool)> {
    let mut sink = sink(topic, &[]);
    sink.recover(recovery(&durable.prepared)).await?;
    let mut next = durable.next;
    for checkpoint in durable.checkpoint + 1..=CHECKPOINTS {
        sink.write(rows(next)).await?;
        if cut == Cut::Rows(checkpoint) {
            return Ok((sink, true));
        }
        next += ROWS;
        let prepared = sink.prepare(checkpoint).await?.expect("rows were written");
        // What follows must not wait for the commit.
        if cut == Cut::Prepared(checkpoint) {
            sink.write(rows(next)).await?;
            return Ok((sink, true));
        }
        *durable = Durable { checkpoint, next, prepared: vec![prepared.clone()] };
        match cut {
            Cut::Durable(at) | Cut::Recover(at, _) if at == checkpoint => return Ok((sink, true)),
            Cut::Commit(at, waits) if at == checkpoint => {
                let done = cut_after(waits, sink.commit(prepared)).await;
                let was_cut = done.is_none();
                done.transpose()?;
                if was_cut {
                    return Ok((sink, true));
                }
            }
            _ => sink.commit(prepared).await?,
        }
        if cut == Cut::Committed(checkpoint) {
            return Ok((sink, true));
        }
    }
    sink.close().await?;
    Ok((sink, false))
}

/// Runs a job that is cut off once, and then one that is not. False when there was nothing to cut.
fn scenario(engine: &Engine, cut: Cut) -> bool {
    let topic = broker::topic("once", 2);
    engine.block_on(cut_off(&topic, cut))
}

async fn cut_off(topic: &str, cut: Cut) -> bool {
    let mut durable = Durable::default();
    let (left, was_cut) = run(topic, &mut durable, cut).await.unwrap();
    let mut zombies = vec![left];
    let mut recovered = !was_cut;
    if let (Cut::Recover(_, waits), true) = (cut, was_cut) {
        let mut next = sink(topic, &[]);
        recovered = cut_after(waits, next.recover(recovery(&durable.prepared))).await.transpose().unwrap().is_some();
        zombies.push(next);
    }
    // What the one that was cut off had others do may still fence off the next; but that must end.
    let mut last = run(topic, &mut durable, Cut::Never).await;
    for _ in 0..10 {
        match last {
            Err(e) if e.to_string().contains("fenced") => last = run(topic, &mut durable, Cut::Never).await,
            _ => break,
        }
    }
    let (last, _) = last.unwrap();
    let mut found: Vec<i64> = values(topic).iter().map(|v| v.trim().parse().unwrap()).collect();
    found.sort();
    assert_eq!(found, (0..ROWS * CHECKPOINTS as i64).collect::<Vec<_>>(), "{cut:?}");
    drop((zombies, last));
    was_cut && !(matches!(cut, Cut::Recover(..)) && recovered)
}

#[test]
fn each_row_is_seen_once_wherever_the_run_is_cut() {
    let engine = Engine::new().unwrap();
    for checkpoint in 1..=2 {
        for cut in
            [Cut::Rows(checkpoint), Cut::Prepared(checkpoint), Cut::Durable(checkpoint), Cut::Committed(checkpoint)]
        {
            assert!(scenario(&engine, cut));
        }
    }
    assert!(!scenario(&engine, Cut::Never));
}

#[test]
fn each_row_is_seen_once_wherever_a_commit_is_cut() {
    let engine = Engine::new().unwrap();
    let cuts = (0..).take_while(|waits| scenario(&engine, Cut::Commit(2, *waits))).count();
    assert!(cuts > 0);
}

#[test]
fn each_row_is_seen_once_wherever_a_recovery_is_cut() {
    let engine = Engine::new().unwrap();
    let cuts = (0..).take_while(|waits| scenario(&engine, Cut::Recover(2, *waits))).count();
    assert!(cuts > 4, "{cuts}");
}

#[test]
fn a_run_that_was_taken_over_is_fenced_off() {
    let engine = Engine::new().unwrap();
    let topic = broker::topic("fenced", 1);
    engine.block_on(async {
        let mut old = sink(&topic, &[]);
        old.recover(recovery(&[])).await.unwrap();
        old.write(rows(0)).await.unwrap();
        let prepared = old.prepare(1).await.unwrap().unwrap();
        old.write(rows(ROWS)).await.unwrap();
        let mut new = sink(&topic, &[]);
        new.recover(recovery(std::slice::from_ref(&prepared))).await.unwrap();
        assert_eq!(values(&topic).len() as i64, ROWS);
        let error = old.commit(prepared).await.unwrap_err().to_string();
        assert!(error.contains("fenced"), "{error}");
        let error = old.prepare(2).await.unwrap_err().to_string();
        assert!(error.contains("fenced"), "{error}");
        assert_eq!(values(&topic).len() as i64, ROWS);
        new.write(rows(ROWS)).await.unwrap();
        let prepared = new.prepare(2).await.unwrap().unwrap();
        new.commit(prepared).await.unwrap();
        assert_eq!(values(&topic).len() as i64, 2 * ROWS);
    });
}

#[test]
fn checkpoints_may_fail_while_the_job_goes_on() {
    let engine = Engine::new().unwrap();
    let topic = broker::topic("tolerated", 1);
    engine.block_on(async {
        let mut sink = sink(&topic, &[]);
        sink.recover(recovery(&[])).await.unwrap();
        let mut prepared = Vec::new();
        for checkpoint in 1..=4 {
            sink.write(rows(prepared.len() as i64 * ROWS)).await.unwrap();
            prepared.push(sink.prepare(checkpoint).await.unwrap().unwrap());
        }
        assert_eq!(values(&topic).len(), 0);
        for prepared in prepared {
            sink.commit(prepared).await.unwrap();
        }
        assert_eq!(values(&topic).len() as i64, 4 * ROWS);
        assert!(sink.prepare(5).await.unwrap().is_none(), "nothing was written");
        sink.close().await.unwrap();
    });
}

#[test]
fn a_run_from_the_beginning_is_not_held_back_by_what_an_earlier_one_counted() {
    let engine = Engine::new().unwrap();
    let topic = broker::topic("again", 1);
    engine.block_on(async {
        for run in 1..=2 {
            let mut sink = sink(&topic, &[]);
            sink.recover(recovery(&[])).await.unwrap();
            sink.write(rows(0)).await.unwrap();
            let prepared = sink.prepare(if run == 1 { 70 } else { 1 }).await.unwrap().unwrap();
            if run == 1 {
                sink.commit(prepared).await.unwrap();
                continue;
            }
            drop(sink);
            let mut next = super::transactions::sink(&topic, &[]);
            next.recover(recovery(&[prepared])).await.unwrap();
        }
        assert_eq!(values(&topic).len() as i64, 2 * ROWS);
    });
}

#[test]
fn transactions_are_bounded() {
    let engine = Engine::new().unwrap();
    let topic = broker::topic("bounded", 1);
    engine.block_on(async {
        let mut sink = sink(&topic, &[("millstream.transaction.max-size", "100 b")]);
        sink.recover(recovery(&[])).await.unwrap();
        sink.write(rows(0)).await.unwrap();
        let error = loop {
            if let Err(e) = sink.write(rows(0)).await {
                break e.to_string();
            }
        };
        assert!(error.contains("execution.checkpointing.interval"), "{error}");
        drop(sink);
        // What was open is taken back at once.
        let mut next = super::transactions::sink(&topic, &[]);
        next.recover(recovery(&[])).await.unwrap();
        assert_eq!(values(&topic).len(), 0);
    });
}
