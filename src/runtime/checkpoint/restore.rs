//! From a checkpoint to the state of a circuit, which may have changed since.

use std::collections::{HashMap, HashSet};

use super::identity::{loose_ids, node_ids, sink_ids, source_ids};
use super::manifest::{LIBRARY, OperatorEntry};
use super::read::Checkpoint;
use crate::change::Watermark;
use crate::connector::{Prepared, SinkRecovery};
use crate::runtime::circuit::{Circuit, NodeId, NodeKind};
use crate::runtime::executor::Snapshot;
use crate::runtime::lookup::InFlightState;
use crate::runtime::paging::NodeState;
use crate::{Error, Result};

use super::coordinate::Positions;

/// What a job said of the checkpoint that it goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// The checkpoint's number.
    pub checkpoint: u64,
    /// Whether the job had come to its end there: then there is nothing more to do.
    pub ended: bool,
    /// Which state is kept, which operators start empty, what is dropped; in sentences.
    pub report: Vec<String>,
}

/// What a job goes on with.
pub struct Restored {
    /// The operators' state.
    pub snapshot: Snapshot,
    /// By source.
    pub(in crate::runtime) positions: Vec<Positions>,
    /// By sink: what it may still have to commit.
    pub recoveries: Vec<SinkRecovery>,
    /// By source: whether it had ended.
    pub ended: Vec<bool>,
    /// What is kept, what starts empty, what is dropped; in sentences.
    pub report: Vec<String>,
}

impl Restored {
    /// Gives each node of the circuit the state of the node that computed the same, and each source its positions.
    ///
    /// # Errors
    /// When output that was prepared would be lost, because its sink is no longer there; or when the checkpoint does not hold
    /// what it says.
    pub fn new(circuit: &Circuit, checkpoint: &Checkpoint) -> Result<Self> {
        let manifest = &checkpoint.manifest;
        let mut report = checkpoint.passed_over.clone();
        if !report.is_empty() {
            report.push(format!(
                "what was committed after checkpoint {} comes again: that had gone out before the damage was found",
                manifest.id
            ));
        }
        // Exact names hold for one version of the library only.
        let same_version = manifest.library == LIBRARY;
        let id_of = |o: &'_ OperatorEntry| if same_version { o.id.clone() } else { o.loose.clone() };
        let ids = if same_version { node_ids(circuit) } else { loose_ids(circuit) };
        let known: HashMap<String, usize> = manifest.operators.iter().enumerate().map(|(i, o)| (id_of(o), i)).collect();
        let mut taken = HashSet::new();
        let mut tables = Vec::with_capacity(ids.len());
        let mut nodes = Vec::with_capacity(ids.len());
        let mut lookups = vec![InFlightState::default(); circuit.lookups.len()];
        for (number, id) in ids.iter().enumerate() {
            let node = circuit.node(NodeId(number));
            let described = || format!("{} ({})", circuit.name(NodeId(number)), node.notes.detail);
            let Some(entry) = known.get(id).map(|i| &manifest.operators[*i]) else {
                if node.notes.bound.is_some() {
                    report.push(format!("starts empty: {}", described()));
                }
                tables.push(NodeState::default());
                nodes.push(Watermark::MIN);
                continue;
            };
            taken.insert(id.as_str());
            if node.notes.bound.is_some() {
                let rows: usize = entry.tables.iter().flat_map(|t| &t.chunks).map(|c| c.rows).sum();
                report.push(format!("keeps its state of {rows} rows: {}", described()));
            }
            tables.push(checkpoint.state(&entry.tables)?);
            nodes.push(Watermark(entry.watermark));
            if let (Some(out), NodeKind::Lookup(lookup)) = (&entry.in_flight, &node.kind) {
                let rows = out.rows.as_ref().map(|rows| checkpoint.changes(rows)).transpose()?.unwrap_or_default();
                if rows.len() != out.behind.len() {
                    return Err(checkpoint.wrong("what a look-up had out is not complete".into()));
                }
                let out_rows = rows.into_iter().zip(out.behind.iter().map(|b| Watermark(*b)));
                lookups[*lookup] = InFlightState::of(out_rows, Watermark(out.latest));
            }
        }
        for entry in manifest.operators.iter().filter(|o| !taken.contains(id_of(o).as_str())) {
            let rows: usize = entry.tables.iter().flat_map(|t| &t.chunks).map(|c| c.rows).sum();
            if rows > 0 {
                report.push(format!("is dropped, with {rows} rows: {} ({})", entry.name, entry.detail));
            }
        }
        let mut restored = Self {
            snapshot: Snapshot { workers: vec![tables], sources: Vec::new(), nodes, lookups },
            positions: Vec::new(),
            recoveries: Vec::new(),
            ended: Vec::new(),
            report,
        };
        restored.take_sources(circuit, checkpoint)?;
        restored.take_sinks(circuit, checkpoint)?;
        Ok(restored)
    }

    fn take_sources(&mut self, circuit: &Circuit, checkpoint: &Checkpoint) -> Result<()> {
        for (source, id) in circuit.sources.iter().zip(source_ids(circuit)) {
            let name = &source.table.name;
            let Some(entry) = checkpoint.manifest.sources.iter().find(|s| s.id == id) else {
                self.report.push(format!("is read from its beginning: table '{name}'"));
                self.snapshot.sources.push(Vec::new());
                self.positions.push(Positions::default());
                self.ended.push(false);
                continue;
            };
            if !entry.replayable {
                self.report.push(format!(
                    "cannot be read again: table '{name}'; what it gave after the checkpoint is to be given again"
                ));
            }
            self.snapshot.sources.push(entry.watermarks.iter().map(|w| Watermark(*w)).collect());
            self.positions.push(Positions::from_entry(entry));
            self.ended.push(entry.ended);
        }
        Ok(())
    }

    fn take_sinks(&mut self, circuit: &Circuit, checkpoint: &Checkpoint) -> Result<()> {
        let manifest = &checkpoint.manifest;
        let mut found = HashSet::new();
        for id in sink_ids(circuit) {
            let entry = manifest.sinks.iter().find(|s| s.id == id);
            let mut recovery = SinkRecovery { id: id.clone(), prepared: Vec::new() };
            for prepared in entry.iter().flat_map(|e| &e.prepared) {
                let rows = prepared.rows.as_ref().map(|rows| checkpoint.changes(rows)).transpose()?;
                recovery.prepared.push(Prepared { note: prepared.note.clone(), rows: rows.unwrap_or_default() });
            }
            found.insert(id);
            self.recoveries.push(recovery);
        }
        let lost = manifest.sinks.iter().find(|s| !s.prepared.is_empty() && !found.contains(&s.id));
        match lost {
            None => Ok(()),
            Some(sink) => Err(Error::Checkpoint {
                place: format!("{} of job '{}'", manifest.id, manifest.job),
                reason: format!(
                    "table '{}' has output that was prepared and may not have been committed, and the script no longer writes \
                     to it as it did; start the former script once and suspend it",
                    sink.table
                ),
            }),
        }
    }
}
