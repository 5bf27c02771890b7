//! A circuit's description: a DAG of nodes, immutable, from which each worker makes its own operators.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;

use super::bound::{Bound, Count, Held};
use super::paging::StateMemory;
use crate::change::StepClock;
use crate::connector::lookup::LookupMode;
use crate::connector::{Connector, TableDescriptor};
use crate::operator::Factory;
use crate::operator::lookup_join::LookupJoin;
use crate::operator::watermark::WatermarkStrategy;
use crate::runtime::late::LateColumn;

/// A node's place in [`Circuit::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub usize);

/// A DAG of operators. Every node stands behind its inputs.
#[derive(Debug, Clone, Default)]
pub struct Circuit {
    /// The nodes, in topological order.
    pub nodes: Vec<Node>,
    /// Where rows come in, as [`NodeKind::Source`] counts them.
    pub sources: Vec<SourceSpec>,
    /// Where changes go out, as [`NodeKind::Sink`] counts them.
    pub sinks: Vec<SinkSpec>,
    /// What whoever runs it should know, in sentences.
    pub warnings: Vec<String>,
    /// Where rows leave to be looked up for and come back, as [`NodeKind::Lookup`] counts them.
    pub lookups: Vec<LookupSpec>,
    /// What functions such as `CURRENT_TIMESTAMP` read; set to the step's time before each step.
    pub clock: StepClock,
    /// How much memory state may take; `None` is without a limit.
    pub memory: Option<StateMemory>,
}

/// One node of a circuit.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it does.
    pub kind: NodeKind,
    /// Where its input comes from.
    pub inputs: Vec<NodeId>,
    /// The rows that it gives.
    pub schema: SchemaRef,
    /// What `EXPLAIN` says of it.
    pub notes: NodeNotes,
}

/// What a node does.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// Gives what the source of this number reads.
    Source(usize),
    /// Runs an operator.
    Operator(Factory),
    /// Sends each row to the worker that its key columns' values belong to; without columns, to the first.
    Exchange(Vec<usize>),
    /// Gives the rows that operators before it dropped as late in the same step, in these columns.
    Late(Vec<LateColumn>),
    /// Gives its input's rows joined with what the look-up of this number finds for them: at once in a table that is kept
    /// whole, else in a later step.
    Lookup(usize),
    /// Hands its input to the sink of this number.
    Sink(usize),
}

/// What the analysis found out about a node, for `EXPLAIN`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeNotes {
    /// What it computes, in short.
    pub detail: String,
    /// Columns that are time attributes.
    pub rowtimes: Vec<usize>,
    /// Columns that hold the step's processing time: `PROCTIME()` in a table's declaration.
    pub proctimes: Vec<usize>,
    /// Pairs of columns that hold a window's start and end.
    pub windows: Vec<(usize, usize)>,
    /// Of the time attributes, those that hold a window's last millisecond: all that is left of them once the window has closed.
    pub window_times: Vec<usize>,
    /// Columns that hold a window's end as the watermark counts it: like a time attribute, later than the watermark when a row comes.
    pub window_ends: Vec<usize>,
    /// How its rows change.
    pub changelog: Changelog,
    /// Unique keys: sets of columns of which no two rows that stand at the same time have equal values (NULLs equal). An
    /// empty set says that there is one row at most.
    pub keys: Vec<Vec<usize>>,
    /// Whether its changes are net by step: of one of `keys` at most one change, and never to an equal row.
    pub net: bool,
    /// What bounds its state; `None` for operators without state.
    pub bound: Option<Bound>,
}

impl NodeNotes {
    /// What is known of times and windows in the same rows with other columns; `places` says where a column stands there.
    pub fn carried(&self, places: impl Fn(usize) -> Vec<usize>) -> Self {
        let all = |columns: &[usize]| columns.iter().flat_map(|c| places(*c)).collect();
        let pairs = self.windows.iter().flat_map(|(s, e)| places(*s).into_iter().zip(places(*e)));
        Self {
            rowtimes: all(&self.rowtimes),
            proctimes: all(&self.proctimes),
            windows: pairs.collect(),
            window_times: all(&self.window_times),
            window_ends: all(&self.window_ends),
            ..Self::default()
        }
    }
}

/// How the rows that cross an edge change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Changelog {
    /// Rows only come: batches have no kinds.
    #[default]
    Append,
    /// Rows come and go. What goes is given whole, as it came (`-U`, `-D`), and never before it came: folded in order, the
    /// changes are a multiset of rows at every point.
    Retract,
}

impl Changelog {
    /// What comes of joining streams of both kinds.
    pub fn or(self, other: Self) -> Self {
        if self == Changelog::Append { other } else { self }
    }
}

/// A table that is read.
#[derive(Debug, Clone)]
pub struct SourceSpec {
    /// The table.
    pub table: Arc<TableDescriptor>,
    /// What reads it.
    pub connector: Arc<dyn Connector>,
    /// The columns that are read.
    pub projection: SchemaRef,
    /// Its watermark, over the columns that are read.
    pub watermark: Option<WatermarkStrategy>,
}

/// A table that is looked up.
#[derive(Debug, Clone)]
pub struct LookupSpec {
    /// The table.
    pub table: Arc<TableDescriptor>,
    /// What reads it.
    pub connector: Arc<dyn Connector>,
    /// The columns that are read.
    pub projection: SchemaRef,
    /// The columns that it is asked by, of the types that it has; empty where it is kept whole.
    pub keys: SchemaRef,
    /// Whether it is kept whole or asked by key.
    pub mode: LookupMode,
    /// How it is asked.
    pub policy: LookupPolicy,
    /// How rows are joined with what is found.
    pub join: Arc<LookupJoin>,
}

/// How many rows are looked up for in one request at most.
pub const REQUEST_ROWS: usize = 1024;

/// How a table is asked by key, as the session and the query's hints say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupPolicy {
    /// How many requests are under way at most, those included whose answers wait for their turn.
    pub capacity: usize,
    /// How long a request may take, its repetitions included.
    pub timeout: Duration,
    /// Whether and how keys for which nothing is found are asked for again.
    pub retry_miss: Option<RetryMiss>,
}

/// How keys for which nothing is found are asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Hash)]
pub struct RetryMiss {
    /// After how long.
    pub delay: Duration,
    /// How often, after the first time.
    pub attempts: u32,
}

impl Default for LookupPolicy {
    fn default() -> Self {
        Self { capacity: 100, timeout: Duration::from_secs(180), retry_miss: None }
    }
}

/// A table, or a consumer, that is written to.
#[derive(Debug, Clone)]
pub enum SinkSpec {
    /// A table.
    Table {
        /// The table.
        table: Arc<TableDescriptor>,
        /// What writes it.
        connector: Arc<dyn Connector>,
    },
    /// The one who asked: the result of a bare query.
    Result,
}

impl Circuit {
    /// Adds a node behind its inputs.
    pub fn add(&mut self, node: Node) -> NodeId {
        debug_assert!(node.inputs.iter().all(|i| i.0 < self.nodes.len()));
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The circuit with a limit to the memory that its state takes, and a warning of each node that it does not hold for.
    pub fn within(self, memory: Option<StateMemory>) -> Self {
        let Some(memory) = memory else { return self };
        let is_small = |held: &Held| matches!(held.count, Count::AtMost(..)) && held.keys.is_empty();
        let stays = |id: &NodeId| {
            let bound = self.node(*id).notes.bound.as_ref();
            bound.is_some_and(|b| !b.parts.iter().all(is_small)) && self.keys_apart(*id).is_none()
        };
        let warning = |id: NodeId| {
            let detail = &self.node(id).notes.detail;
            format!("'state.memory.limit': the state of {} ({detail}) stays in memory", self.name(id))
        };
        let stay = (0..self.nodes.len()).map(NodeId).filter(stays).map(warning);
        let warnings = self.warnings.iter().cloned().chain(stay).collect();
        Self { memory: Some(memory), warnings, ..self }
    }

    /// By input the key columns of a node that works key by key, behind exchanges; `None` for others.
    pub(super) fn keys_apart(&self, id: NodeId) -> Option<Vec<Vec<usize>>> {
        let NodeKind::Operator(factory) = &self.node(id).kind else { return None };
        let keys = self.node(id).inputs.iter().map(|input| match &self.node(*input).kind {
            NodeKind::Exchange(keys) if !keys.is_empty() => Some(keys.clone()),
            _ => None,
        });
        keys.collect::<Option<Vec<_>>>().filter(|_| factory.works_by_key())
    }

    /// The circuit without nodes whose rows no sink takes.
    pub fn without_unread(self) -> Self {
        let mut is_read = vec![false; self.nodes.len()];
        for (id, node) in self.nodes.iter().enumerate().rev() {
            is_read[id] |= matches!(node.kind, NodeKind::Sink(_));
            if is_read[id] {
                node.inputs.iter().for_each(|i| is_read[i.0] = true);
            }
        }
        let mut places = Vec::with_capacity(self.nodes.len());
        let mut kept = 0;
        for read in &is_read {
            places.push(NodeId(kept));
            kept += usize::from(*read);
        }
        let nodes = self.nodes.into_iter().zip(is_read).filter(|(_, read)| *read);
        let moved = nodes.map(|(node, _)| {
            let inputs = node.inputs.iter().map(|i| places[i.0]).collect();
            Node { inputs, ..node }
        });
        Self { nodes: moved.collect(), ..self }
    }

    /// A node's name in `EXPLAIN` and in metrics.
    pub fn name(&self, id: NodeId) -> String {
        match &self.node(id).kind {
            NodeKind::Source(i) => format!("Source({})", self.sources[*i].table.name),
            NodeKind::Operator(factory) => factory.name().to_string(),
            NodeKind::Exchange(_) => "Exchange".to_string(),
            NodeKind::Late(_) => "LateRows".to_string(),
            NodeKind::Lookup(i) => format!("LookupJoin({})", self.lookups[*i].table.name),
            NodeKind::Sink(i) => match &self.sinks[*i] {
                SinkSpec::Table { table, .. } => format!("Sink({})", table.name),
                SinkSpec::Result => "Result".to_string(),
            },
        }
    }
}
