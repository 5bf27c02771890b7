//! Where rows leave the circuit to be looked up for, and come back in a later step.
//!
//! The executor keeps the rows that are out, the *probes*, in order ([`InFlight`]), and so they are part of its snapshots. The
//! driver's side ([`LookupEdge`]) finds what belongs to them and hands it in with a step, the oldest first. What waits behind
//! the probes is their watermark: it goes on when the rows before it are back.

mod asking;
mod assemble;
mod cache;
mod edge;
mod in_flight;
mod pursuit;
mod request;
mod whole;

use std::sync::Arc;

use arrow::array::RecordBatch;

pub(super) use self::edge::LookupEdge;
pub(super) use self::in_flight::{InFlight, InFlightState, LookupWork};
use crate::change::ChangeBatch;
use crate::operator::OperatorStats;
use crate::operator::lookup_join::{Answer, LookupTable};

/// What a step takes in for one look-up.
#[derive(Debug, Clone, Default)]
pub struct LookupInput {
    /// The table, where it is kept whole and has been read anew.
    pub table: Option<Arc<LookupTable>>,
    /// The rows that the table was made of, for whoever has to make it again.
    pub read: Vec<RecordBatch>,
    /// Answers to the oldest probes that are out, in their order.
    pub answers: Vec<Answer>,
    /// What the cache of answers holds.
    pub cache: OperatorStats,
}

/// Probes that are out.
#[derive(Debug, Clone)]
pub struct Probes {
    /// Their number: probes are counted from 0 on, in the order in which they left.
    pub number: u64,
    /// The rows.
    pub rows: ChangeBatch,
}
