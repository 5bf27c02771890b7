//! Joins as of a time: by a rowtime with a versioned table, by processing time with what a table holds now.

use super::as_of::TemporalJoin;
use super::compile::Compiler;
use super::lookup;
use crate::runtime::circuit::NodeId;
use crate::{Error, Result};

/// A join as of a time that gives some columns of its plan's schema. What kind of time it is, the notes of the left side say.
pub(super) fn lower(compiler: &mut Compiler, join: &TemporalJoin, columns: &[usize]) -> Result<NodeId> {
    let left = compiler.lower(&join.left)?;
    let notes = &compiler.circuit.node(left).notes;
    let time = join.left.schema().index_of_column(&join.time)?;
    if notes.rowtimes.contains(&time) {
        return Err(Error::Unsupported("FOR SYSTEM_TIME: temporal joins by event time are not planned yet".into()));
    }
    if notes.proctimes.contains(&time) {
        return lookup::lower(compiler, join, left, columns);
    }
    Err(Error::Unsupported(format!(
        "FOR SYSTEM_TIME: '{}' is no time attribute of the join's left side; declare a WATERMARK for it in its table, or take a \
         PROCTIME() column, and pass it on unchanged",
        join.time.name
    )))
}
