//! What statements come to before anything runs: declarations take effect, queries become circuits.

use std::sync::Arc;

use crate::change::ManualClock;
use crate::connector::builtin;
use crate::connector::channel::Channels;
use crate::plan::{Query, StreamTable, explain};
use crate::runtime::Circuit;
use crate::sql::ast::Located;
use crate::sql::parse::parse_script;
use crate::sql::{Outcome, Session};
use crate::table::options::nearest;
use crate::{Error, Result};

/// A session whose sources and sinks are never opened.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    pub session: Session,
}

/// What a script of statements came to.
#[derive(Debug, Default)]
pub(super) struct Planned {
    /// What SHOW, DESCRIBE and EXPLAIN say, a text a row.
    pub rows: Option<Vec<String>>,
    /// The bare queries, and last all INSERTs together.
    pub circuits: Vec<Circuit>,
}

impl Desk {
    pub fn new() -> Self {
        let mut connectors = builtin(Arc::new(ManualClock::new(super::time::START)));
        connectors.register(Arc::new(Channels::default()));
        Self { session: Session::new(connectors) }
    }

    /// Carries out statements; INSERTs run side by side, as one circuit.
    pub fn carry_out(&mut self, sql: &str) -> Result<Planned> {
        let mut planned = Planned::default();
        let mut inserts: Vec<Query> = Vec::new();
        let mut last: Option<Located> = None;
        for statement in parse_script(sql)? {
            match self.session.execute(&statement)? {
                Outcome::Done { .. } => {}
                Outcome::Rows { rows, .. } => {
                    planned.rows.get_or_insert_default().extend(rows.iter().map(|r| r.join(", ")));
                }
                outcome @ Outcome::Explain(_) => {
                    let circuit = self.session.compile(outcome.queries()?, &statement)?;
                    planned.rows.get_or_insert_default().extend(explain(&circuit).lines().map(str::to_string));
                }
                outcome @ Outcome::Query(_) => {
                    planned.circuits.push(self.session.compile(outcome.queries()?, &statement)?);
                }
                outcome @ Outcome::Insert(_) => {
                    let queries = outcome.queries()?;
                    // Each by itself first, so that what cannot be planned is told with its own place.
                    self.session.compile(queries.clone(), &statement)?;
                    inserts.extend(queries);
                    last = Some(statement);
                }
            }
        }
        if let Some(last) = last {
            planned.circuits.push(self.session.compile(inserts, &last)?);
        }
        Ok(planned)
    }

    /// A table that rows can go into.
    pub fn table(&self, name: &str) -> Result<Arc<StreamTable>> {
        self.session.table(name).ok_or_else(|| Error::Option(format!("there is no table '{name}'")))
    }

    /// A table with a watermark.
    pub fn timed_table(&self, name: &str) -> Result<Arc<StreamTable>> {
        let table = self.table(name)?;
        if table.watermark.is_none() {
            return Err(Error::Option(format!("table '{name}' has no watermark; declare it with WATERMARK FOR")));
        }
        Ok(table)
    }
}

/// There is nothing of that name; what there is comes close, perhaps.
pub(super) fn unknown_output<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let hint = nearest(name, known).map_or(String::new(), |near| format!("; did you mean '{near}'?"));
    Error::Option(format!("no query or INSERT of the name '{name}' runs{hint}"))
}
