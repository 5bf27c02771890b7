//! What stands at the head of each segment of a journal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::runtime::checkpoint::node_ids;
use crate::runtime::circuit::{Circuit, NodeId};

/// The version of the layout. A later version of the library reads all earlier ones.
pub const FORMAT: u32 = 1;

/// A run, described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The version of the layout.
    pub format: u32,
    /// The version of the library that wrote it.
    pub version: String,
    /// The job's name.
    pub job: String,
    /// Which run of the job it is, from 1 on.
    pub run: u64,
    /// The number of the first step in this segment, from 1 on.
    pub first_step: u64,
    /// When the run began, by the job's clock: milliseconds since the epoch.
    pub began_at: i64,
    /// All statements that the job is planned from: declarations, settings, and its queries.
    pub script: String,
    /// How many workers there were.
    pub workers: usize,
    /// The session's time zone.
    pub time_zone: String,
    /// The session's settings.
    pub settings: BTreeMap<String, String>,
    /// The circuit's nodes.
    pub nodes: Vec<NodeEntry>,
    /// The checkpoint that the run went on from, where it did.
    pub checkpoint: Option<CheckpointMark>,
}

/// A node of the circuit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeEntry {
    /// The same in every run as long as it computes the same from the same.
    pub id: String,
    /// As in `EXPLAIN`.
    pub name: String,
    /// As in `EXPLAIN`.
    pub detail: String,
}

/// A checkpoint behind a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointMark {
    /// The step behind which it was taken; 0 before the first.
    pub step: u64,
    /// Its number.
    pub id: u64,
    /// Its folder.
    pub address: String,
}

/// What can be read of every version.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl Header {
    /// Reads a header; what is wrong with it is told in words.
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let wrong = |e: serde_json::Error| format!("the header cannot be read: {e}");
        let Version { format } = serde_json::from_slice(bytes).map_err(wrong)?;
        if format != FORMAT {
            return Err(format!("it has the layout of version {format}, and this library knows version {FORMAT}"));
        }
        let header: Self = serde_json::from_slice(bytes).map_err(wrong)?;
        if header.first_step == 0 || header.workers == 0 {
            return Err("the header names no first step or no worker".into());
        }
        Ok(header)
    }
}

/// The nodes of a circuit, as a header has them.
pub(super) fn nodes_of(circuit: &Circuit) -> Vec<NodeEntry> {
    let entry = |(number, id)| NodeEntry {
        id,
        name: circuit.name(NodeId(number)),
        detail: circuit.nodes[number].notes.detail.clone(),
    };
    node_ids(circuit).into_iter().enumerate().map(entry).collect()
}
