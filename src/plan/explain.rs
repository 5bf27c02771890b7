//! `EXPLAIN`: a circuit in words.

use std::fmt::Write;

use crate::runtime::circuit::{Changelog, Circuit, Node, NodeId};

/// A circuit as a tree for each sink, its inputs below it. A node that several read is printed once and referred to.
pub fn explain(circuit: &Circuit) -> String {
    let mut text = String::new();
    let mut seen = vec![false; circuit.nodes.len()];
    let read: Vec<bool> = {
        let mut read = vec![false; circuit.nodes.len()];
        circuit.nodes.iter().flat_map(|n| &n.inputs).for_each(|i| read[i.0] = true);
        read
    };
    for (id, _) in read.iter().enumerate().filter(|(_, read)| !**read) {
        print(circuit, NodeId(id), 0, &mut seen, &mut text);
    }
    text
}

fn print(circuit: &Circuit, id: NodeId, depth: usize, seen: &mut [bool], text: &mut String) {
    let node = circuit.node(id);
    let indent = "  ".repeat(depth);
    let name = circuit.name(id);
    // Writing into a String cannot fail.
    let _ = write!(text, "{indent}#{} {name}", id.0);
    if std::mem::replace(&mut seen[id.0], true) {
        text.push_str(" (as above)\n");
        return;
    }
    if !node.notes.detail.is_empty() {
        let _ = write!(text, ": {}", node.notes.detail);
    }
    text.push('\n');
    let column = |i: &usize| node.schema.field(*i).name().as_str();
    let rowtimes: Vec<&str> = node.notes.rowtimes.iter().map(column).collect();
    let _ = write!(text, "{indent}   changelog: {}", changelog(node));
    if !rowtimes.is_empty() {
        let _ = write!(text, "; time attributes: {}", rowtimes.join(", "));
    }
    if let Some(bound) = &node.notes.bound {
        let _ = write!(text, "; state: {bound}");
    }
    text.push('\n');
    for input in &node.inputs {
        print(circuit, *input, depth + 1, seen, text);
    }
}

/// Flink's changelog modes: what changes and has a unique key could be kept up to date by that key alone.
fn changelog(node: &Node) -> String {
    let shortest = node.notes.keys.iter().min_by_key(|key| key.len());
    match (node.notes.changelog, shortest) {
        (Changelog::Append, _) => "append".into(),
        (Changelog::Retract, None) => "retract".into(),
        (Changelog::Retract, Some(key)) => {
            let names: Vec<&str> = key.iter().map(|c| node.schema.field(*c).name().as_str()).collect();
            format!("upsert by ({})", names.join(", "))
        }
    }
}
