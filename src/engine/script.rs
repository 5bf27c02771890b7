//! Scripts: statements in order, and the INSERTs among them side by side in one job.

use super::{Answer, Engine, Job};
use crate::plan::{Query, explain};
use crate::runtime::checkpoint::{Checkpoint, Restored};
use crate::sql::Outcome;
use crate::sql::ast::Located;
use crate::sql::parse::parse_script;
use crate::{Error, Result};

/// What a script's statements say as they are carried out.
#[derive(Debug)]
pub enum Progress {
    /// Something was declared or set; perhaps with notes for the user.
    Done(Vec<String>),
    /// Rows of text: SHOW, DESCRIBE, EXPLAIN.
    Rows {
        /// The columns' names.
        columns: Vec<String>,
        /// The rows.
        rows: Vec<Vec<String>>,
    },
    /// A bare query was started: its job and its results. The script goes on when this has been dealt with.
    Query(Box<Job>, super::Results),
}

/// The INSERTs of a script, checked and planned.
#[derive(Debug)]
pub struct Prepared {
    inserts: Vec<Query>,
    last: Option<Located>,
    /// Their texts, each with its place among the session's statements.
    texts: Vec<(usize, String)>,
}

impl Engine {
    /// Carries out a script: declarations and settings take effect, bare queries run one after another, each handed to
    /// `heed`, and at last all its INSERTs are started as one job: tables that several of them read are read once.
    ///
    /// # Errors
    /// The first error, with its place; what came before it has taken effect. And whatever `heed` gives.
    pub fn run(&mut self, script: &str, mut heed: impl FnMut(&Engine, Progress) -> Result<()>) -> Result<Option<Job>> {
        let mut prepared = Prepared { inserts: Vec::new(), last: None, texts: Vec::new() };
        self.free_clock()?;
        for statement in parse_script(script)? {
            self.run_statement(statement, &mut prepared, &mut heed)?;
        }
        let Some(last) = prepared.last else { return Ok(None) };
        let circuit = self.session.compile(prepared.inserts, &last)?;
        Ok(Some(self.start(circuit, script, &prepared.texts)?.0))
    }

    fn run_statement(
        &mut self,
        statement: Located,
        prepared: &mut Prepared,
        heed: &mut impl FnMut(&Engine, Progress) -> Result<()>,
    ) -> Result<()> {
        match self.session.execute(&statement)? {
            Outcome::Done { notes } => heed(self, Progress::Done(notes)),
            Outcome::Rows { columns, rows } => heed(self, Progress::Rows { columns, rows }),
            Outcome::Insert(inserts) => {
                let inserts = Outcome::Insert(inserts).queries()?;
                // Each by itself first, so that what cannot be planned is told with its own place.
                let circuit = self.session.compile(inserts.clone(), &statement)?;
                heed(self, Progress::Done(circuit.warnings))?;
                prepared.inserts.extend(inserts);
                prepared.texts.push((self.session.statements().end(), statement.text.clone()));
                prepared.last = Some(statement);
                Ok(())
            }
            Outcome::Explain(outcome) => {
                let circuit = self.session.compile(outcome.queries()?, &statement)?;
                let rows = explain(&circuit).lines().map(|l| vec![l.to_string()]).collect();
                heed(self, Progress::Rows { columns: vec!["plan".into()], rows })
            }
            Outcome::Query(query) => {
                let circuit = self.session.compile(Outcome::Query(query).queries()?, &statement)?;
                heed(self, Progress::Done(circuit.warnings.clone()))?;
                let text = vec![(self.session.statements().end(), statement.text.clone())];
                let (job, mut results) = self.start(circuit, &statement.text, &text)?;
                let results = results.pop().ok_or_else(|| Error::internal("a query without results"))?;
                heed(self, Progress::Query(Box::new(job), results))
            }
        }
    }

    /// What would become of the state of a checkpoint if the script's job went on from it: what is kept, starts empty, or is
    /// dropped, in sentences. Nothing runs.
    ///
    /// # Errors
    /// The script's first error, with its place; and what would keep the job from going on.
    pub fn compare(&mut self, script: &str, checkpoint: &Checkpoint) -> Result<Vec<String>> {
        let mut prepared = Prepared { inserts: Vec::new(), last: None, texts: Vec::new() };
        for statement in parse_script(script)? {
            if let Outcome::Insert(inserts) = self.session.execute(&statement)? {
                prepared.inserts.extend(Outcome::Insert(inserts).queries()?);
                prepared.last = Some(statement);
            }
        }
        let last = prepared.last.ok_or_else(|| Error::Option("the script has no INSERT".into()))?;
        let circuit = self.session.compile(prepared.inserts, &last)?;
        Ok(Restored::new(&circuit, checkpoint)?.report)
    }

    /// Checks a script without running anything: declarations take effect in this engine, queries and inserts are planned.
    /// Gives the notes that carrying it out would give.
    ///
    /// # Errors
    /// The first error, with its place.
    pub fn check(&mut self, script: &str) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for statement in parse_script(script)? {
            match self.session.execute(&statement)? {
                Outcome::Done { notes } => all.extend(notes),
                Outcome::Rows { .. } => {}
                Outcome::Explain(outcome) => {
                    all.extend(self.session.compile(outcome.queries()?, &statement)?.warnings);
                }
                outcome => all.extend(self.session.compile(outcome.queries()?, &statement)?.warnings),
            }
        }
        Ok(all)
    }

    /// The circuits of a script: of each bare query by itself, and of all INSERTs together, as text.
    ///
    /// # Errors
    /// The first error, with its place.
    pub fn explain(&mut self, script: &str) -> Result<String> {
        let mut text = String::new();
        let mut inserts = Vec::new();
        let mut last = None;
        for statement in parse_script(script)? {
            match self.session.execute(&statement)? {
                Outcome::Insert(planned) => {
                    inserts.extend(Outcome::Insert(planned).queries()?);
                    last = Some(statement);
                }
                Outcome::Query(query) => {
                    let circuit = self.session.compile(Outcome::Query(query).queries()?, &statement)?;
                    text.push_str(&explain(&circuit));
                }
                Outcome::Done { .. } | Outcome::Rows { .. } | Outcome::Explain(_) => {}
            }
        }
        if let Some(last) = last {
            text.push_str(&explain(&self.session.compile(inserts, &last)?));
        }
        Ok(text)
    }

    /// Carries out a script that declares tables and sets settings, and nothing else.
    ///
    /// # Errors
    /// The first error, with its place; also when a statement would start a job.
    pub fn declare(&mut self, script: &str) -> Result<()> {
        for statement in parse_script(script)? {
            match self.execute_located(&statement)? {
                Answer::Done(_) | Answer::Rows { .. } => {}
                Answer::Started(..) => return Err(Error::Option("the script starts a job".into())),
            }
        }
        Ok(())
    }
}
