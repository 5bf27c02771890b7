//! The driver's side of a look-up.

use std::task::Context;

use tokio::runtime::Handle;

use super::LookupInput;
use super::asking::Asking;
use super::whole::Whole;
use crate::Result;
use crate::connector::lookup::LookupMode;
use crate::operator::OperatorStats;
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

    /// Asks for the probes that are out, and takes what has come, if there is room for the answers; wakes `context` when there is
    /// more.
    ///
    /// # Errors
    /// When a table cannot be read or asked.
    pub fn poll(
        &mut self,
        probes: (&Executor, usize),
        room: bool,
        context: &mut Context<'_>,
        now: i64,
    ) -> Result<LookupInput> {
        let (executor, number) = probes;
        let asking = match self {
            LookupEdge::Whole(whole) => {
                let (table, read) = whole.poll(context, now)?.unzip();
                return Ok(LookupInput { table, read: read.unwrap_or_default(), ..LookupInput::default() });
            }
            LookupEdge::Asking(asking) => asking,
        };
        asking.ask_again(now)?;
        let mut answers = Vec::new();
        loop {
            asking.ask(executor.probes(number, asking.next()), now)?;
            let came = asking.receive(context, now)?;
            let before = answers.len();
            if room {
                answers.extend(asking.answers());
            }
            // What has come or gone makes room for more requests.
            if !came && answers.len() == before {
                break;
            }
        }
        Ok(LookupInput { answers, cache: asking.cached(), ..LookupInput::default() })
    }

    /// When the clock is waited for.
    pub fn next_timer(&self) -> Option<i64> {
        match self {
            LookupEdge::Whole(_) => None,
            LookupEdge::Asking(asking) => asking.next_timer(),
        }
    }

    /// What is brought by a step for which nothing is asked.
    pub fn nothing(&self) -> LookupInput {
        let cache = match self {
            LookupEdge::Whole(_) => OperatorStats::default(),
            LookupEdge::Asking(asking) => asking.cached(),
        };
        LookupInput { cache, ..LookupInput::default() }
    }
}

impl LookupInput {
    /// Whether it brings anything.
    pub(in crate::runtime) fn is_news(&self) -> bool {
        self.table.is_some() || !self.answers.is_empty()
    }
}
