//! What is done where an operator's state has no bound: `millstream.state.unbounded`.

use crate::runtime::Held;
use crate::runtime::circuit::{Circuit, NodeId, NodeKind};
use crate::{Error, Result};

/// What to do with a query whose state grows without a bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnboundedState {
    /// Run it.
    #[default]
    Allow,
    /// Run it, and say so.
    Warn,
    /// Do not plan it.
    Refuse,
}

/// Looks through a circuit for state without a bound, as the setting says.
///
/// # Errors
/// [`Error::Unbounded`] where such state is refused.
pub(super) fn check(circuit: &mut Circuit, what: UnboundedState) -> Result<()> {
    if what == UnboundedState::Allow {
        return Ok(());
    }
    let endless = endless(circuit);
    let mut warnings = Vec::new();
    for (id, node) in circuit.nodes.iter().enumerate() {
        let bound = node.notes.bound.as_ref().filter(|_| endless[id]);
        let Some(held) = bound.and_then(|b| b.unbounded()) else { continue };
        let message = message(&circuit.name(NodeId(id)), held);
        if what == UnboundedState::Refuse {
            let NodeKind::Operator(factory) = &node.kind else { continue };
            return Err(Error::Unbounded { sql: clause(factory.name()).into(), message });
        }
        warnings.push(message);
    }
    circuit.warnings.extend(warnings);
    Ok(())
}

/// By node: whether its input may go on for ever. What ends bounds all state.
fn endless(circuit: &Circuit) -> Vec<bool> {
    let mut endless = Vec::with_capacity(circuit.nodes.len());
    for node in &circuit.nodes {
        endless.push(match node.kind {
            NodeKind::Source(i) => {
                let source = &circuit.sources[i];
                !source.connector.is_bounded(&source.table)
            }
            _ => node.inputs.iter().any(|i| endless[i.0]),
        });
    }
    endless
}

fn message(operator: &str, held: &Held) -> String {
    format!(
        "the state of {operator} is {held}; a window, an interval over time attributes, WITHIN or a state TTL \
         (table.exec.state.ttl) bounds it"
    )
}

/// The clause of a query that an operator comes from.
fn clause(operator: &str) -> &str {
    match operator {
        "Join" => "JOIN",
        "GroupAggregate" => "GROUP BY",
        "MatchRecognize" => "MATCH_RECOGNIZE",
        "OverAggregate" | "OverUpdating" => "OVER",
        "TopN" => "ORDER BY",
        "SetOperation" => "EXCEPT",
        other => other,
    }
}
