//! Running a journaled run again.

use std::path::Path;

use super::Engine;
use crate::plan::Query;
use crate::runtime::journal::{Header, JournalReader};
pub use crate::runtime::journal::{Replay, ReplayedStep};
use crate::runtime::{CheckpointOptions, Circuit};
use crate::sql::parse::parse_script;
use crate::sql::{Outcome, Session};
use crate::{Error, Result};

impl Engine {
    /// Makes ready to run again what a folder's journal holds (`millstream.journal.dir`): its script is planned anew, in a session that knows
    /// the connectors, functions and tables which the program has added to this engine, and none of its own declarations. Nothing is
    /// read but the journal and the checkpoint that it may name, and nothing is written.
    ///
    /// # Errors
    /// [`Error::Journal`] when there is no journal or it is damaged, and when its script makes another circuit here than the one that ran.
    pub fn replay(&self, folder: impl AsRef<Path>) -> Result<Replay> {
        let folder = folder.as_ref();
        let reader = JournalReader::open(folder)?;
        let mut session = self.session.anew();
        let circuit = plan(&mut session, reader.header()).map_err(|e| Error::Journal {
            place: folder.display().to_string(),
            reason: format!("its script cannot be planned: {e}"),
        })?;
        // The keys to a store are not in the journal.
        let own = self.session.settings().checkpoints(&[], "");
        let checkpoints = CheckpointOptions { store: self.checkpoint_store.clone(), ..own };
        Replay::open(circuit, reader, folder, &checkpoints, self.handle())
    }
}

/// The circuit of a journaled script: that of the bare query which it holds, or of its INSERTs.
fn plan(session: &mut Session, header: &Header) -> Result<Circuit> {
    let mut inserts: Vec<Query> = Vec::new();
    let mut last = None;
    for statement in parse_script(&header.script)? {
        match session.execute(&statement)? {
            Outcome::Insert(planned) => {
                inserts.extend(Outcome::Insert(planned).queries()?);
                last = Some(statement);
            }
            Outcome::Query(query) => {
                return session.compile(Outcome::Query(query).queries()?, &statement);
            }
            Outcome::Done { .. } | Outcome::Rows { .. } | Outcome::Explain(_) => {}
        }
    }
    let last = last.ok_or_else(|| Error::Option("there is no query in it".into()))?;
    session.compile(inserts, &last)
}
