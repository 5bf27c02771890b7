//! What a node computes, as a name that is the same in every run.

use std::fmt::Write;

use crate::runtime::circuit::{Circuit, NodeId, NodeKind, SinkSpec, SourceSpec};
use crate::table::TableDescriptor;

/// The names of a circuit's parts.
#[derive(Debug)]
pub(super) struct Identities {
    pub nodes: Vec<String>,
    pub loose: Vec<String>,
    pub sources: Vec<String>,
    pub sinks: Vec<String>,
}

impl Identities {
    pub fn of(circuit: &Circuit) -> Self {
        Self {
            nodes: node_ids(circuit),
            loose: loose_ids(circuit),
            sources: source_ids(circuit),
            sinks: sink_ids(circuit),
        }
    }
}

/// For each node a name that follows from all that it was made with and from what it reads: nodes of two circuits that have the
/// same one may take over each other's state. Nodes of one circuit that compute the same are counted.
///
/// Such a name holds for one version of the library: what operators are made of may change from version to version.
pub fn node_ids(circuit: &Circuit) -> Vec<String> {
    named(circuit, |number| match &circuit.nodes[number].kind {
        // All that a factory was made with: what `EXPLAIN` prints is only the short of it.
        NodeKind::Operator(factory) => format!("{factory:?}"),
        NodeKind::Lookup(i) => {
            let spec = &circuit.lookups[*i];
            format!("{} {:?} {:?}", described(&spec.table), spec.keys, spec.join)
        }
        NodeKind::Exchange(keys) => format!("{keys:?}"),
        NodeKind::Late(columns) => format!("{columns:?}"),
        NodeKind::Source(_) | NodeKind::Sink(_) => String::new(),
    })
}

/// As [`node_ids`], from what `EXPLAIN` says of the nodes: the same in all versions in which that is worded alike. Takes a
/// checkpoint of another version to the same script.
pub(super) fn loose_ids(circuit: &Circuit) -> Vec<String> {
    named(circuit, |number| circuit.nodes[number].notes.detail.clone())
}

/// Names of nodes by what is said of each, their schemas, and their inputs' names.
fn named(circuit: &Circuit, said: impl Fn(usize) -> String) -> Vec<String> {
    let mut hashes: Vec<u128> = Vec::with_capacity(circuit.nodes.len());
    for (number, node) in circuit.nodes.iter().enumerate() {
        let mut text = format!("{} {} {:?}", circuit.name(NodeId(number)), said(number), node.schema);
        match &node.kind {
            NodeKind::Source(i) => text += &source_id(&circuit.sources[*i]),
            NodeKind::Sink(i) => text += &sink_id(&circuit.sinks[*i]),
            _ => {}
        }
        for input in &node.inputs {
            let _ = write!(text, " {:032x}", hashes[input.0]);
        }
        hashes.push(fnv(text.as_bytes()));
    }
    told_apart(hashes.iter().map(|hash| format!("{hash:032x}")))
}

/// Names the sources by what they read.
pub(super) fn source_ids(circuit: &Circuit) -> Vec<String> {
    told_apart(circuit.sources.iter().map(source_id))
}

/// Names the sinks by what they write.
pub(super) fn sink_ids(circuit: &Circuit) -> Vec<String> {
    told_apart(circuit.sinks.iter().map(sink_id))
}

/// Names of which no two are the same: equal ones are counted.
fn told_apart(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = std::collections::HashMap::<String, usize>::new();
    let count = |name: String| {
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        if *count == 1 { name } else { format!("{name}-{count}") }
    };
    names.map(count).collect()
}

fn source_id(source: &SourceSpec) -> String {
    format!("{:032x}", fnv(format!("{} {:?}", described(&source.table), source.watermark).as_bytes()))
}

fn sink_id(sink: &SinkSpec) -> String {
    match sink {
        SinkSpec::Table { table, .. } => format!("{:032x}", fnv(described(table).as_bytes())),
        SinkSpec::Result => "result".into(),
    }
}

fn described(table: &TableDescriptor) -> String {
    let options: Vec<_> = table.options.iter().collect();
    format!("{} {options:?}", table.name)
}

/// FNV-1a of 128 bits, by Fowler, Noll and Vo: fixed for good, as ids stand in checkpoints.
fn fnv(bytes: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}
