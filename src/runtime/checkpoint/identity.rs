//! What a node computes, as a name that is the same in every run.

use std::fmt::Write;

use crate::runtime::circuit::{Circuit, NodeId, NodeKind, SinkSpec, SourceSpec};
use crate::table::TableDescriptor;

/// For each node a name that follows from what it computes and from what: nodes of two circuits that have the same one may
/// take over each other's state. Nodes of one circuit that compute the same are counted.
pub fn node_ids(circuit: &Circuit) -> Vec<String> {
    let mut hashes: Vec<u128> = Vec::with_capacity(circuit.nodes.len());
    let mut seen = std::collections::HashMap::<u128, usize>::new();
    let mut ids = Vec::with_capacity(circuit.nodes.len());
    for (number, node) in circuit.nodes.iter().enumerate() {
        let mut text = circuit.name(NodeId(number));
        match &node.kind {
            NodeKind::Source(i) => text += &source_id(&circuit.sources[*i]),
            // All that a factory was made with: what `EXPLAIN` prints is only the short of it.
            NodeKind::Operator(factory) => {
                let _ = write!(text, "{factory:?}");
            }
            NodeKind::Lookup(i) => {
                let spec = &circuit.lookups[*i];
                let _ = write!(text, "{} {:?} {:?}", described(&spec.table), spec.keys, spec.join);
            }
            NodeKind::Exchange(keys) => {
                let _ = write!(text, "{keys:?}");
            }
            NodeKind::Late(columns) => {
                let _ = write!(text, "{columns:?}");
            }
            NodeKind::Sink(i) => text += &sink_id(&circuit.sinks[*i]),
        }
        let _ = write!(text, "{:?}", node.schema);
        for input in &node.inputs {
            let _ = write!(text, " {:032x}", hashes[input.0]);
        }
        let hash = fnv(text.as_bytes());
        hashes.push(hash);
        let count = seen.entry(hash).or_default();
        *count += 1;
        ids.push(match *count {
            1 => format!("{hash:032x}"),
            n => format!("{hash:032x}-{n}"),
        });
    }
    ids
}

/// Names a source by what it reads.
pub(super) fn source_id(source: &SourceSpec) -> String {
    format!("{:032x}", fnv(format!("{} {:?}", described(&source.table), source.watermark).as_bytes()))
}

/// Names a sink by what it writes.
pub(super) fn sink_id(sink: &SinkSpec) -> String {
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
