//! Time attributes, and the operators over windows of them: by event time or by processing time.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::{Column, DFSchema};
use datafusion_expr::UserDefinedLogicalNodeCore;

use super::compile::Compiler;
use super::window_tvf::WindowTvf;
use crate::change::WallClock;
use crate::operator::processing_time::{ByProcessingTime, ClosingFactory};
use crate::operator::window_assign::WindowAssign;
use crate::runtime::circuit::{NodeId, NodeNotes};
use crate::{Error, Result};

/// A column that is a time attribute.
#[derive(Debug, Clone, Copy)]
pub(super) enum TimeAttribute {
    /// Of event time.
    Event(usize),
    /// Of processing time.
    Processing(usize),
}

impl TimeAttribute {
    /// The column.
    pub(super) fn column(self) -> usize {
        match self {
            TimeAttribute::Event(column) | TimeAttribute::Processing(column) => column,
        }
    }

    /// What `EXPLAIN` adds to its name.
    pub(super) fn shown(self) -> &'static str {
        match self {
            TimeAttribute::Event(_) => "",
            TimeAttribute::Processing(_) => " (processing time)",
        }
    }
}

impl Compiler {
    /// A window function by itself: each row once for each of its windows.
    pub(super) fn window_assign(&mut self, tvf: &WindowTvf) -> Result<NodeId> {
        let input = self.lower(&tvf.input)?;
        let time = self.time_attribute(input, &tvf.time, tvf.input.schema())?;
        let before = self.circuit.node(input);
        let width = before.schema.fields().len();
        let own = tvf.schema().fields().iter().skip(tvf.input.schema().fields().len()).cloned();
        let schema = Arc::new(Schema::new(before.schema.fields().iter().cloned().chain(own).collect::<Vec<_>>()));
        let mut window_ends = before.notes.window_ends.clone();
        if WallClock::of(schema.field(width + 2).data_type())?.is_watermarks() {
            window_ends.push(width + 1);
        }
        let notes = NodeNotes {
            detail: format!("{}, time={}{}", tvf.spec, tvf.time.name, time.shown()),
            windows: vec![(width, width + 1)],
            window_times: vec![width + 2],
            window_ends,
            keys: Vec::new(),
            bound: None,
            ..before.notes.clone()
        };
        let factory = WindowAssign::try_new(tvf.spec, time.column(), Arc::clone(&schema))?;
        Ok(self.over_time(factory, time, Some(width + 2), input, schema, notes))
    }

    /// An operator over windows of a time; the column at `shown` of its result is its windows' time.
    pub(super) fn over_time(
        &mut self,
        factory: impl ClosingFactory + 'static,
        time: TimeAttribute,
        shown: Option<usize>,
        input: NodeId,
        schema: SchemaRef,
        mut notes: NodeNotes,
    ) -> NodeId {
        match time {
            TimeAttribute::Event(_) => {
                notes.rowtimes.extend(shown);
                self.operator(factory, vec![input], schema, notes)
            }
            TimeAttribute::Processing(time) => {
                notes.proctimes.extend(shown);
                // A watermark does not close them.
                (notes.windows, notes.window_times, notes.window_ends) = Default::default();
                let shown = notes.proctimes.clone();
                let factory = ByProcessingTime { windows: Arc::new(factory), time, shown };
                self.operator(factory, vec![input], schema, notes)
            }
        }
    }

    /// The column that a window function windows by, if it is a time attribute.
    pub(super) fn time_attribute(&self, input: NodeId, time: &Column, schema: &DFSchema) -> Result<TimeAttribute> {
        let index = schema.index_of_column(time)?;
        let notes = &self.circuit.node(input).notes;
        if notes.rowtimes.contains(&index) {
            return Ok(TimeAttribute::Event(index));
        }
        if notes.proctimes.contains(&index) {
            return Ok(TimeAttribute::Processing(index));
        }
        Err(Error::Execution(format!(
            "the time column '{}' of the window function is no time attribute; declare a WATERMARK for it in its table, or take a \
             PROCTIME() column, and pass it on unchanged",
            time.name
        )))
    }
}
