//! What a running job counts. Written by the driver and its workers, read by anyone at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::circuit::{Circuit, NodeId};
use crate::change::Watermark;
use crate::operator::OperatorStats;

/// The counters of one job.
#[derive(Debug)]
pub struct Metrics {
    nodes: Vec<NodeCounters>,
    sources: Vec<SourceCounters>,
    steps: AtomicU64,
    step_nanos: AtomicU64,
    checkpoints: CheckpointCounters,
}

#[derive(Debug, Default)]
struct CheckpointCounters {
    durable: AtomicU64,
    bytes: AtomicU64,
    total_bytes: AtomicU64,
    pause_nanos: AtomicU64,
    longest_pause_nanos: AtomicU64,
}

#[derive(Debug)]
struct NodeCounters {
    name: String,
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    nanos: AtomicU64,
    watermark: AtomicI64,
    /// What each worker's operator holds.
    workers: Vec<WorkerStats>,
}

#[derive(Debug, Default)]
struct WorkerStats {
    state_rows: AtomicU64,
    state_bytes: AtomicU64,
    late_rows: AtomicU64,
    disk_bytes: AtomicU64,
}

#[derive(Debug)]
struct SourceCounters {
    table: String,
    rows: AtomicU64,
    bytes: AtomicU64,
    skipped: AtomicU64,
    /// The part that has been read, in millionths; negative where it is not known.
    fraction: AtomicI64,
    watermark: AtomicI64,
    /// Rows' time behind the clock, in milliseconds; `i64::MIN` before the first row.
    lag: AtomicI64,
    ended: AtomicU64,
}

/// What a job has counted so far.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricsSnapshot {
    /// Steps run.
    pub steps: u64,
    /// Time spent in steps, by the clock.
    pub step_time: Duration,
    /// Each source.
    pub sources: Vec<SourceMetrics>,
    /// Each node of the circuit, sources and sinks included, in topological order.
    pub operators: Vec<OperatorMetrics>,
    /// The checkpoints.
    pub checkpoints: CheckpointMetrics,
}

/// What a job has counted of its checkpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckpointMetrics {
    /// How many have become durable.
    pub durable: u64,
    /// Bytes that the last durable one had to write.
    pub bytes: u64,
    /// Bytes that the last durable one has, those of earlier ones' files included.
    pub total_bytes: u64,
    /// For how long the last one, durable or not, held the steps up.
    pub pause: Duration,
    /// The longest that any has.
    pub longest_pause: Duration,
}

/// What a source has counted.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceMetrics {
    /// The table.
    pub table: String,
    /// Rows read.
    pub rows: u64,
    /// Bytes read from outside; 0 where that means nothing.
    pub bytes: u64,
    /// Records that could not be read and were skipped.
    pub skipped_records: u64,
    /// The part of a bounded input that has been read, 0 to 1.
    pub fraction: Option<f64>,
    /// Where its watermark stands.
    pub watermark: Watermark,
    /// How far the watermark is behind the clock, where there is one.
    pub lag: Option<Duration>,
    /// Whether it has ended.
    pub ended: bool,
}

/// What a node of the circuit has counted, over all workers.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorMetrics {
    /// Its name, as in `EXPLAIN`.
    pub name: String,
    /// Rows taken.
    pub rows_in: u64,
    /// Rows given.
    pub rows_out: u64,
    /// Time spent in it, by the clock.
    pub time: Duration,
    /// Where its watermark stands.
    pub watermark: Watermark,
    /// What it holds, and rows that came too late for it.
    pub stats: OperatorStats,
    /// Bytes of its state that were moved to disk, see `state.memory.limit`.
    pub disk_bytes: u64,
}

impl Metrics {
    pub(super) fn new(circuit: &Circuit, workers: usize) -> Arc<Self> {
        let node = |i: usize| NodeCounters {
            name: circuit.name(NodeId(i)),
            rows_in: AtomicU64::new(0),
            rows_out: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
            watermark: AtomicI64::new(i64::MIN),
            workers: (0..workers).map(|_| WorkerStats::default()).collect(),
        };
        let source = |table: &str| SourceCounters {
            table: table.to_string(),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            fraction: AtomicI64::new(-1),
            watermark: AtomicI64::new(i64::MIN),
            lag: AtomicI64::new(i64::MIN),
            ended: AtomicU64::new(0),
        };
        Arc::new(Self {
            nodes: (0..circuit.nodes.len()).map(node).collect(),
            sources: circuit.sources.iter().map(|s| source(&s.table.name)).collect(),
            steps: AtomicU64::new(0),
            step_nanos: AtomicU64::new(0),
            checkpoints: CheckpointCounters::default(),
        })
    }

    pub(super) fn paused(&self, time: Duration) {
        let nanos = time.as_nanos() as u64;
        self.checkpoints.pause_nanos.store(nanos, Relaxed);
        self.checkpoints.longest_pause_nanos.fetch_max(nanos, Relaxed);
    }

    pub(super) fn durable(&self, bytes: u64, total_bytes: u64) {
        self.checkpoints.durable.fetch_add(1, Relaxed);
        self.checkpoints.bytes.store(bytes, Relaxed);
        self.checkpoints.total_bytes.store(total_bytes, Relaxed);
    }

    pub(super) fn step(&self, time: Duration) {
        self.steps.fetch_add(1, Relaxed);
        self.step_nanos.fetch_add(time.as_nanos() as u64, Relaxed);
    }

    pub(super) fn node(&self, node: usize, rows_in: usize, rows_out: usize, time: Duration) {
        let n = &self.nodes[node];
        n.rows_in.fetch_add(rows_in as u64, Relaxed);
        n.rows_out.fetch_add(rows_out as u64, Relaxed);
        n.nanos.fetch_add(time.as_nanos() as u64, Relaxed);
    }

    pub(super) fn stats(&self, node: usize, worker: usize, stats: OperatorStats) {
        let w = &self.nodes[node].workers[worker];
        w.state_rows.store(stats.state_rows, Relaxed);
        w.state_bytes.store(stats.state_bytes, Relaxed);
        w.late_rows.store(stats.late_rows, Relaxed);
    }

    pub(super) fn on_disk(&self, node: usize, worker: usize, bytes: u64) {
        self.nodes[node].workers[worker].disk_bytes.store(bytes, Relaxed);
    }

    /// What a node holds that no worker keeps.
    pub(super) fn state_rows(&self, node: usize, rows: u64) {
        self.nodes[node].workers[0].state_rows.store(rows, Relaxed);
    }

    pub(super) fn watermark(&self, node: usize, watermark: Watermark) {
        self.nodes[node].watermark.store(watermark.0, Relaxed);
    }

    pub(super) fn read(&self, source: usize, rows: usize, bytes: u64) {
        self.sources[source].rows.fetch_add(rows as u64, Relaxed);
        self.sources[source].bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn progress(&self, source: usize, progress: crate::connector::SourceProgress) {
        let s = &self.sources[source];
        s.skipped.store(progress.skipped_records, Relaxed);
        s.fraction.store(progress.fraction.map_or(-1, |f| (f * 1e6) as i64), Relaxed);
    }

    pub(super) fn source_time(&self, source: usize, watermark: Watermark, now: i64) {
        let s = &self.sources[source];
        s.watermark.store(watermark.0, Relaxed);
        if watermark != Watermark::MIN && watermark != Watermark::MAX {
            s.lag.store(now.saturating_sub(watermark.0), Relaxed);
        }
    }

    pub(super) fn ended(&self, source: usize) {
        self.sources[source].ended.store(1, Relaxed);
    }

    /// All counters as they stand.
    pub fn snapshot(&self) -> MetricsSnapshot {
        let lag = |millis: i64| u64::try_from(millis).ok().map(Duration::from_millis);
        let sources = self.sources.iter().map(|s| SourceMetrics {
            table: s.table.clone(),
            rows: s.rows.load(Relaxed),
            bytes: s.bytes.load(Relaxed),
            skipped_records: s.skipped.load(Relaxed),
            fraction: Some(s.fraction.load(Relaxed)).filter(|f| *f >= 0).map(|f| f as f64 / 1e6),
            watermark: Watermark(s.watermark.load(Relaxed)),
            lag: lag(s.lag.load(Relaxed)),
            ended: s.ended.load(Relaxed) != 0,
        });
        MetricsSnapshot {
            steps: self.steps.load(Relaxed),
            step_time: Duration::from_nanos(self.step_nanos.load(Relaxed)),
            sources: sources.collect(),
            operators: self.nodes.iter().map(NodeCounters::snapshot).collect(),
            checkpoints: self.checkpoints.snapshot(),
        }
    }
}

impl CheckpointCounters {
    fn snapshot(&self) -> CheckpointMetrics {
        CheckpointMetrics {
            durable: self.durable.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            total_bytes: self.total_bytes.load(Relaxed),
            pause: Duration::from_nanos(self.pause_nanos.load(Relaxed)),
            longest_pause: Duration::from_nanos(self.longest_pause_nanos.load(Relaxed)),
        }
    }
}

impl NodeCounters {
    fn snapshot(&self) -> OperatorMetrics {
        let sum = |f: fn(&WorkerStats) -> &AtomicU64| self.workers.iter().map(|w| f(w).load(Relaxed)).sum();
        OperatorMetrics {
            name: self.name.clone(),
            rows_in: self.rows_in.load(Relaxed),
            rows_out: self.rows_out.load(Relaxed),
            time: Duration::from_nanos(self.nanos.load(Relaxed)),
            watermark: Watermark(self.watermark.load(Relaxed)),
            stats: OperatorStats {
                state_rows: sum(|w| &w.state_rows),
                state_bytes: sum(|w| &w.state_bytes),
                late_rows: sum(|w| &w.late_rows),
            },
            disk_bytes: sum(|w| &w.disk_bytes),
        }
    }
}
