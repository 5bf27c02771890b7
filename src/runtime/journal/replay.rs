//! Running a journaled run again: its circuit, with neither sources nor sinks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use tokio::runtime::Handle;

use super::damaged;
use super::encode::Recorded;
use super::header::{CheckpointMark, NodeEntry, nodes_of};
use super::read::{Entry, JournalReader};
use crate::change::ChangeBatch;
use crate::connector::lookup::LookupMode;
use crate::operator::lookup_join::LookupTable;
use crate::runtime::checkpoint::{Checkpoint, CheckpointOptions, Restored};
use crate::runtime::circuit::{Circuit, NodeId};
use crate::runtime::executor::{Executor, StepInput, StepOutput};
use crate::{Error, Result};

/// A journaled run that is run again, step by step.
pub struct Replay {
    reader: JournalReader,
    executor: Executor,
    /// The step behind which it began.
    began_behind: u64,
    base: Option<CheckpointMark>,
}

/// A step that was run again.
#[derive(Debug)]
pub struct ReplayedStep {
    /// Its number.
    pub step: u64,
    /// Its time: milliseconds since the epoch.
    pub processing_time: i64,
    /// How many rows the sources brought.
    pub rows: usize,
    /// What it gave; see [`Replay::tap`].
    pub output: StepOutput,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("header", self.reader.header()).finish_non_exhaustive()
    }
}

impl Replay {
    /// Makes ready to run the steps of a journal with a circuit planned from its script. Where the run went on from a checkpoint, or the
    /// oldest segments are gone, the checkpoint that the journal names is loaded; `checkpoints` says in which store.
    ///
    /// # Errors
    /// [`Error::Journal`] when the circuit is not the one that was journaled, with what differs; or when a checkpoint is needed and cannot
    /// be restored.
    pub fn open(
        circuit: Circuit,
        mut reader: JournalReader,
        folder: &Path,
        checkpoints: &CheckpointOptions,
        runtime: &Handle,
    ) -> Result<Self> {
        compare(&reader.header().nodes, &nodes_of(&circuit)).map_err(|reason| damaged(reader.place(), reason))?;
        let workers = reader.header().workers;
        // More threads than a machine can have would only fail one by one.
        if workers > MOST_WORKERS {
            return Err(damaged(reader.place(), format!("it claims {workers} workers")));
        }
        let circuit = Arc::new(circuit);
        let mut executor = Executor::try_new(Arc::clone(&circuit), workers)?;
        let scratch = circuit.memory.as_ref().map(|memory| memory.dir.clone());
        let checkpoints = CheckpointOptions { scratch, ..checkpoints.clone() };
        let base = base(&reader, folder, |mark| runtime.block_on(checkpoints.load(&mark.address)))?;
        let mut began_behind = 0;
        if let Some((checkpoint, mark)) = &base {
            restore(&mut executor, &circuit, checkpoint)?;
            began_behind = mark.step;
        }
        while reader.next_step() <= began_behind {
            if reader.next()?.is_none() {
                break;
            }
        }
        Ok(Self { reader, executor, began_behind, base: base.map(|(_, mark)| mark) })
    }

    /// What is run.
    pub fn circuit(&self) -> &Arc<Circuit> {
        self.executor.circuit()
    }

    /// The journal.
    pub fn journal(&self) -> &JournalReader {
        &self.reader
    }

    /// The step behind which the replay began; 0 unless a checkpoint took the place of steps that are gone.
    pub fn began_behind(&self) -> u64 {
        self.began_behind
    }

    /// The checkpoint from which the replay began.
    pub fn checkpoint(&self) -> Option<&CheckpointMark> {
        self.base.as_ref()
    }

    /// The number of the next step.
    pub fn next_step(&self) -> u64 {
        self.reader.next_step()
    }

    /// Puts what a node gives into [`StepOutput::tapped`], from the next step on; `None` puts an end to that.
    pub fn tap(&mut self, node: Option<NodeId>) {
        self.executor.tap(node);
    }

    /// Runs the next step; `None` behind the last.
    ///
    /// # Errors
    /// [`Error::Journal`] when the journal is damaged there, and what the step itself fails with: a run that failed fails again.
    pub fn step(&mut self) -> Result<Option<ReplayedStep>> {
        let (recorded, tables) = loop {
            match self.reader.next()? {
                None => return Ok(None),
                Some(Entry::Checkpoint(_)) => {}
                Some(Entry::Step(recorded, tables)) => break (recorded, tables),
            }
        };
        let Recorded { step, after_snapshot, mut input } = recorded;
        self.check(&mut input, &tables).map_err(|e| damaged(self.reader.place(), format!("step {step}: {e}")))?;
        if after_snapshot {
            self.executor.snapshot()?;
        }
        let rows = input.batches.iter().flatten().map(ChangeBatch::num_rows).sum();
        let processing_time = input.processing_time;
        let output = self.executor.step(input)?;
        Ok(Some(ReplayedStep { step, processing_time, rows, output }))
    }

    /// Holds a step's input to the circuit, and makes tables of what was read for them.
    fn check(&self, input: &mut StepInput, tables: &[bool]) -> Result<(), String> {
        let circuit = self.executor.circuit();
        let sources = circuit.sources.len();
        let fits = |length: usize| length == 0 || length == sources;
        let all_fit = fits(input.watermarks.len()) && fits(input.partitions.len());
        if input.batches.len() != sources || input.sources.len() != sources || !all_fit {
            return Err(format!("it is not of the {sources} sources that the circuit has"));
        }
        for (number, (spec, batches)) in circuit.sources.iter().zip(&input.batches).enumerate() {
            let about = |e| format!("table '{}': {e}", spec.table.name);
            batches.iter().try_for_each(|b| same_types(b.rows.schema_ref(), &spec.projection)).map_err(about)?;
            if let Some(partitions) = input.partitions.get(number).filter(|p| !p.holds.is_empty()) {
                let known = partitions.of_batches.iter().all(|p| *p < partitions.holds.len());
                if !known || partitions.of_batches.len() != batches.len() {
                    return Err(about("batches of partitions that it does not have".into()));
                }
            }
        }
        if input.lookups.len() > circuit.lookups.len() || tables.len() != input.lookups.len() {
            return Err(format!("it is not of the {} look-ups that the circuit has", circuit.lookups.len()));
        }
        for (number, (lookup, has_table)) in input.lookups.iter_mut().zip(tables).enumerate() {
            let spec = &circuit.lookups[number];
            let about = |e: String| format!("table '{}': {e}", spec.table.name);
            let mut rows = lookup.read.iter().chain(lookup.answers.iter().map(|a| &a.rows));
            rows.try_for_each(|r| same_types(r.schema_ref(), &spec.projection)).map_err(about)?;
            let is_whole = matches!(spec.mode, LookupMode::Whole { .. });
            let is_otherwise =
                if is_whole { !lookup.answers.is_empty() } else { *has_table || !lookup.read.is_empty() };
            if is_otherwise {
                return Err(about("it was looked up in another way".into()));
            }
            if *has_table {
                let table = LookupTable::try_new(&spec.join, &spec.projection, &lookup.read);
                lookup.table = Some(Arc::new(table.map_err(|e| about(e.to_string()))?));
            }
            let mut probes = self.executor.probes(number, 0);
            for answer in &lookup.answers {
                let asked = probes.next().map_or(0, |p| p.rows.num_rows());
                if answer.pairs.probes.values().last().is_some_and(|last| *last as usize >= asked) {
                    return Err(about("an answer to rows that were not asked for".into()));
                }
            }
        }
        Ok(())
    }
}

/// More workers than any machine has.
const MOST_WORKERS: usize = 4096;

/// The checkpoint with which a replay has to begin: the one that the run went on from; or, where that or the oldest steps are gone, the first
/// in the journal that can be loaded. `None` where the run's first step began with nothing.
fn base(
    reader: &JournalReader,
    folder: &Path,
    load: impl Fn(&CheckpointMark) -> Result<Checkpoint>,
) -> Result<Option<(Checkpoint, CheckpointMark)>> {
    let first = reader.header().first_step;
    let mut why = String::new();
    if first == 1 {
        let Some(mark) = reader.header().checkpoint.clone() else { return Ok(None) };
        match load(&mark) {
            Ok(checkpoint) => return Ok(Some((checkpoint, mark))),
            Err(e) => why = format!(": {e}"),
        }
    }
    let mut scan = JournalReader::open(folder)?;
    while let Some(entry) = scan.next()? {
        let Entry::Checkpoint(mark) = entry else { continue };
        // Of a run whose steps are all there one behind any of them will do.
        if mark.step.saturating_add(1) < first || mark.step >= scan.next_step() {
            continue;
        }
        match load(&mark) {
            Ok(checkpoint) => return Ok(Some((checkpoint, mark))),
            Err(e) => why = format!(": {e}"),
        }
    }
    let reason = match first {
        1 => format!(
            "the run went on from a checkpoint, and neither this nor a later one in the journal can be restored{why}"
        ),
        _ => format!(
            "the steps before step {first} are gone, and no checkpoint in the journal that stands for them can be restored{why}"
        ),
    };
    Err(damaged(reader.place(), reason))
}

fn restore(executor: &mut Executor, circuit: &Circuit, checkpoint: &Checkpoint) -> Result<()> {
    // What stands in a file from outside may trip code that trusts its own state.
    let restored = catch_unwind(AssertUnwindSafe(|| executor.restore(Restored::new(circuit, checkpoint)?.snapshot)));
    restored.unwrap_or_else(|panic| Err(Error::panic("restoring", panic.as_ref())))
}

fn same_types(rows: &SchemaRef, projection: &Schema) -> Result<(), String> {
    let both = rows.fields().iter().zip(projection.fields());
    let same = rows.fields().len() == projection.fields().len()
        && both.into_iter().all(|(a, b)| a.data_type().equals_datatype(b.data_type()));
    if same { Ok(()) } else { Err(format!("rows of the columns {rows}, and the script reads {projection}")) }
}

/// How many nodes that differ are named.
const NAMED: usize = 8;

/// Whether two circuits are the same; in words where they are not.
fn compare(journaled: &[NodeEntry], planned: &[NodeEntry]) -> Result<(), String> {
    if journaled.iter().map(|n| &n.id).eq(planned.iter().map(|n| &n.id)) {
        return Ok(());
    }
    let missing = |from: &[NodeEntry], of: &[NodeEntry]| -> Vec<String> {
        let known: std::collections::HashSet<&str> = of.iter().map(|n| n.id.as_str()).collect();
        let describe = |(number, node): (usize, &NodeEntry)| match node.detail.as_str() {
            "" => format!("#{number} {}", node.name),
            detail => format!("#{number} {}: {detail}", node.name),
        };
        from.iter().enumerate().filter(|(_, n)| !known.contains(n.id.as_str())).take(NAMED).map(describe).collect()
    };
    let (lost, new) = (missing(journaled, planned), missing(planned, journaled));
    let list = |nodes: Vec<String>| if nodes.is_empty() { "none".into() } else { nodes.join("; ") };
    Err(format!(
        "this library plans the script into another circuit than the one that was journaled, so that a replay would not be the same run. \
         Only in the journal: {}. Only in the new circuit: {}",
        list(lost),
        list(new)
    ))
}
