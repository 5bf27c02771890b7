//! Partial aggregates by session.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};

use super::sessions::{NONE, SessionWindow};
use crate::Result;
use crate::operator::grouped::{Accumulators, Grouping, Inputs};
use crate::state::{Lists, RowStore, row_store};

/// How many parts a session may have before they are made one.
const PARTS: u32 = 8;

/// Partial aggregates, in parts: a session has one that rows are added to, and those of sessions that went into it. When one
/// ends, all running aggregates become columns, for accumulators give away everything or nothing; each is then begun anew.
pub(super) struct Partials {
    grouping: Arc<Grouping>,
    /// Running aggregates of the parts behind the frozen ones.
    live: Accumulators,
    /// The session that each of them was made for.
    owners: Vec<u32>,
    frozen: Box<dyn RowStore>,
    /// The parts of each session: frozen ones by their row, live ones by the row that they will be.
    parts: Lists,
    /// By session: its live part, [`NONE`] if it has none.
    live_part: Vec<u32>,
    groups: Vec<usize>,
}

impl Partials {
    pub fn try_new(grouping: Arc<Grouping>) -> Result<Self> {
        Ok(Self {
            live: Accumulators::try_new(&grouping)?,
            owners: Vec::new(),
            frozen: row_store(Arc::clone(&grouping.partial)),
            parts: Lists::default(),
            live_part: Vec::new(),
            groups: Vec::new(),
            grouping,
        })
    }

    pub fn grouping(&self) -> &Arc<Grouping> {
        &self.grouping
    }

    pub fn bytes(&self) -> usize {
        self.live.bytes() + self.frozen.bytes() + self.parts.bytes() + self.live_part.capacity() * 4
    }

    /// Adds rows to sessions.
    pub fn update(&mut self, sessions: &[u32], inputs: &Inputs) -> Result<()> {
        if self.grouping.aggregates.is_empty() {
            return Ok(());
        }
        let frozen = self.frozen.ids();
        self.groups.clear();
        for session in sessions {
            let part = match self.live_part.get(*session as usize) {
                Some(part) if *part != NONE => *part,
                _ => self.begin(*session),
            };
            self.groups.push((part - frozen) as usize);
        }
        self.live.update(&self.groups, inputs, self.owners.len())
    }

    fn begin(&mut self, session: u32) -> u32 {
        let part = self.frozen.ids() + self.owners.len() as u32;
        if self.live_part.len() <= session as usize {
            self.live_part.resize(session as usize + 1, NONE);
        }
        self.live_part[session as usize] = part;
        self.owners.push(session);
        self.parts.push(session, part);
        part
    }

    /// Puts one session's parts to another's.
    pub fn merge(&mut self, from: u32, into: u32) {
        self.parts.join(from, into);
        let live = self.live_part.get_mut(from as usize).map_or(NONE, |part| std::mem::replace(part, NONE));
        if self.live_part.len() <= into as usize {
            self.live_part.resize(into as usize + 1, NONE);
        }
        let part = &mut self.live_part[into as usize];
        if *part == NONE {
            *part = live;
        }
    }

    /// Makes columns of all running aggregates.
    fn freeze(&mut self) -> Result<()> {
        if self.owners.is_empty() {
            return Ok(());
        }
        let states = self.live.state()?;
        self.append(states, self.owners.len())?;
        let owners = std::mem::take(&mut self.owners);
        self.live_part.fill(NONE);
        let mut crowded: Vec<u32> = owners.into_iter().filter(|s| self.parts.len(*s) >= PARTS).collect();
        crowded.sort_unstable();
        crowded.dedup();
        self.unite(&crowded)?;
        self.compact()
    }

    fn append(&mut self, states: Vec<ArrayRef>, rows: usize) -> Result<u32> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.grouping.partial), states, &options)?;
        self.frozen.append(&rows)
    }

    /// Makes one part of each of some sessions' frozen ones.
    fn unite(&mut self, sessions: &[u32]) -> Result<()> {
        if sessions.is_empty() {
            return Ok(());
        }
        let states = self.take(sessions)?.state()?;
        let first = self.append(states, sessions.len())?;
        sessions.iter().zip(first..).for_each(|(session, part)| self.parts.push(*session, part));
        Ok(())
    }

    /// Takes the frozen parts of some sessions out, as running aggregates by their places among these.
    fn take(&mut self, sessions: &[u32]) -> Result<Accumulators> {
        let mut taken = Vec::new();
        self.groups.clear();
        for (place, session) in sessions.iter().enumerate() {
            self.parts.take(*session, &mut taken);
            self.groups.resize(taken.len(), place);
        }
        let mut united = Accumulators::try_new(&self.grouping)?;
        united.merge(&self.groups, self.frozen.take(&taken)?.columns(), sessions.len())?;
        taken.into_iter().for_each(|part| self.frozen.remove(part));
        Ok(united)
    }

    fn compact(&mut self) -> Result<()> {
        if self.frozen.wants_compaction() {
            let remap = self.frozen.compact()?;
            self.parts.remap_rows(&remap);
        }
        Ok(())
    }

    /// The aggregates of sessions that have ended; nothing of them is kept.
    pub fn finish(&mut self, ended: &[SessionWindow]) -> Result<Vec<ArrayRef>> {
        let sessions: Vec<u32> = ended.iter().map(|e| e.session).collect();
        let is_live = |s: &u32| self.live_part.get(*s as usize).is_some_and(|part| *part != NONE);
        if sessions.iter().any(is_live) {
            self.freeze()?;
        }
        self.take(&sessions)?.evaluate()
    }

    /// All parts of some sessions: for each its session's place among these, and their partial aggregates.
    pub fn snapshot(&mut self, open: &[SessionWindow]) -> Result<(Vec<usize>, RecordBatch)> {
        self.freeze()?;
        let (mut places, mut parts) = (Vec::new(), Vec::new());
        for (place, session) in open.iter().enumerate() {
            parts.extend(self.parts.iter(session.session));
            places.resize(parts.len(), place);
        }
        Ok((places, self.frozen.take(&parts)?))
    }

    /// Takes over parts that were handed out, each for a session.
    pub fn restore(&mut self, sessions: &[u32], states: Vec<ArrayRef>) -> Result<()> {
        let first = self.append(states, sessions.len())?;
        sessions.iter().zip(first..).for_each(|(session, part)| self.parts.push(*session, part));
        Ok(())
    }
}
