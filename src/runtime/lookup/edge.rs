//! The driver's side of a look-up.

use std::task::Context;

use tokio::runtime::Handle;

use super::LookupInput;
use super::asking::Asking;
use super::whole::Whole;
use crate::Result;
use crate::connector::lookup::LookupMode;
use crate::runtime::circuit::LookupSpec;
use crate::runtime::executor::Executor;

/// Where what is looked up comes from.
pub(in crate::runtime) enum LookupEdge {
    /// The table is kept whole.
    Whole(Box<Whole>),
    /// The table is asked by key.
    Asking(Box<Asking>),
}

impl LookupEdge {
    /// # Errors
    /// When the table cannot be asked.
    pub fn open(spec: &LookupSpec, runtime: &Handle) -> Result<Self> {
        Ok(match &spec.mode {
            LookupMode::Whole { reload, max_retries } => {
                LookupEdge::Whole(Box::new(Whole::open(spec, *reload, *max_retries, runtime)))
            }
            LookupMode::Keyed { cache, max_retries } => {
                LookupEdge::Asking(Box::new(Asking::open(spec, *cache, *max_retries, runtime)?))
            }
        })
    }

    /// Whether there is room for more probes of look-up `number`: the table is there, and all that are out have been asked for.
    pub fn has_room(&self, executor: &Executor, number: usize) -> bool {
        match self {
            LookupEdge::Whole(whole) => whole.is_there(),
            LookupEdge::Asking(asking) => asking.next() == executor.next_probes(number),
        }
    }

    /// Whether probes can be taken at all.
    pub fn is_open(&self) -> bool {
        match self {
            LookupEdge::Whole(whole) => whole.is_there(),
            LookupEdge::Asking(_) => true,
        }
    }

    /// Asks for the probes that are out, and takes what has come; wakes `context` when there is more.
    ///
    /// # Errors
    /// When a table cannot be read or asked.
    pub fn poll(
        &mut self,
        executor: &Executor,
        number: usize,
        context: &mut Context<'_>,
        now: i64,
    ) -> Result<LookupInput> {
        match self {
            LookupEdge::Whole(whole) => Ok(LookupInput { table: whole.poll(context, now)?, answers: Vec::new() }),
            LookupEdge::Asking(asking) => {
                // What has come makes room for more requests.
                loop {
                    asking.ask(executor.probes(number, asking.next()), now)?;
                    if !asking.receive(context, now)? {
                        break;
                    }
                }
                Ok(LookupInput { table: None, answers: asking.answers() })
            }
        }
    }
}

impl LookupInput {
    /// Whether it brings anything.
    pub(in crate::runtime) fn is_news(&self) -> bool {
        self.table.is_some() || !self.answers.is_empty()
    }
}
