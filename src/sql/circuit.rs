//! From what a statement came to, to the circuit that runs it.

use std::sync::Arc;

use super::ast::Located;
use super::locate::locate_refusal;
use super::settings::LATE_SINK;
use super::stack::with_large_stack;
use super::{Outcome, PlannedInsert, Session};
use crate::plan::{CompileOptions, Query, StreamTable, compile};
use crate::runtime::Circuit;
use crate::{Error, Result};

impl Outcome {
    /// The queries that are to run; of `EXPLAIN` those that are to be explained.
    ///
    /// # Errors
    /// When the statement runs none.
    pub fn queries(self) -> Result<Vec<Query>> {
        match self {
            Outcome::Query(query) => Ok(vec![Query { plan: query.plan, target: None, state_ttls: query.state_ttls }]),
            Outcome::Insert(inserts) => {
                let query = |i: PlannedInsert| Query { plan: i.plan, target: Some(i.table), state_ttls: i.state_ttls };
                Ok(inserts.into_iter().map(query).collect())
            }
            Outcome::Explain(outcome) => outcome.queries(),
            Outcome::Done { .. } | Outcome::Rows { .. } => {
                Err(Error::internal("a statement without a query was to be run"))
            }
        }
    }
}

impl Session {
    /// Compiles queries into one circuit, as the session's settings say.
    ///
    /// # Errors
    /// What cannot be planned, with its place in `statement`.
    pub fn compile(&self, queries: Vec<Query>, statement: &Located) -> Result<Circuit> {
        let settings = self.settings();
        let options = CompileOptions {
            state_ttl: settings.state_ttl().map(|ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)),
            cdc_events_duplicate: settings.cdc_events_duplicate(),
            unbounded: settings.unbounded_state(),
            lookup: settings.lookup(),
            emit: settings.emit(),
            late_sink: settings.late_sink().map(|name| self.late_sink(name)).transpose()?,
        };
        let circuit = with_large_stack(|| compile(queries, options));
        let circuit = circuit.map_err(|e| locate_refusal(e, statement))?;
        let clock = self.functions().clock().clone();
        Ok(Circuit { clock, ..circuit }.within(settings.state_memory()))
    }

    fn late_sink(&self, name: &str) -> Result<Arc<StreamTable>> {
        let table = self.table(name);
        table.ok_or_else(|| Error::Option(format!("'{LATE_SINK}' = '{name}': there is no such table")))
    }
}
