//! One partition: its rows in order, and the searches for matches in them, one after the other.

use super::MatchRecognize;
use super::history::NONE;
use super::run::{Candidate, Run, Scratch, Search};
use super::slot::{Frame, Matched};
use super::tape::Tape;
use super::zone::Zones;
use crate::state::RowStore;
use crate::{Error, Result};

/// Where the search goes on behind a match.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Skip {
    /// Behind its last row.
    PastLastRow,
    /// At the row behind its first.
    ToNextRow,
    /// At its first row that is bound to one of some variables; the name is for errors.
    ToFirst(super::slot::Variables, String),
    /// At its last row that is bound to one of some variables.
    ToLast(super::slot::Variables, String),
}

/// How far time has come for a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    /// The watermark, or the clock.
    pub time: i64,
    /// Whether no row will come any more.
    pub ended: bool,
}

/// The matches that a step has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Their rows, behind those before them that they look back to. Those of a match stand together.
    pub matched: Matched,
    /// One for each match.
    pub matches: Vec<Match>,
    /// Where rows stand that `ALL ROWS PER MATCH` leaves out, in ascending order.
    pub excluded: Vec<usize>,
}

/// A match.
#[derive(Debug, Clone, Copy)]
pub(super) struct Match {
    /// When it was found, and the row that made it: matches go out in this order.
    pub found: (i64, u32),
    /// The row that it begins with, or would begin with if it has none.
    pub first: u32,
    /// Its rows, all of them.
    pub frame: Frame,
}

/// A partition.
#[derive(Debug, Default)]
pub(super) struct Partition {
    pub tape: Tape,
    pub run: Run,
    zones: Zones,
    /// Whether a search is under way.
    pub running: bool,
    /// Where the next one begins.
    pub start: u64,
    /// How many matches there have been.
    pub matches: i64,
    /// Whether it has got rows that no search has looked at.
    pub touched: bool,
    /// When it is looked at again at the latest, if that is known to the operator.
    pub deadline: Option<i64>,
}

impl Partition {
    /// Whether nothing of it needs to be kept.
    pub fn is_idle(&self, numbered: bool) -> bool {
        self.tape.len() == 0 && !self.running && !(numbered && self.matches > 0)
    }

    /// Searches as far as the rows reach. Gives when the search that is then under way runs out of time, if it does.
    pub fn drive(
        &mut self,
        plan: &MatchRecognize,
        store: &dyn RowStore,
        reached: Reached,
        scratch: &mut Scratch,
        found: &mut Found,
    ) -> Result<Option<i64>> {
        let search = Search { automaton: &plan.automaton, program: &plan.program, store };
        let mut now = i64::MIN;
        loop {
            if !self.running {
                if self.start >= self.tape.end() {
                    return Ok(None);
                }
                self.run.begin(self.start, &search);
                self.running = true;
            }
            let first = self.tape.row(self.run.start);
            let deadline = plan.within.map(|within| first.time.saturating_add(within));
            let mut over = None;
            while self.run.next < self.tape.end() {
                if self.run.next > self.run.start {
                    self.run.stand_still(&self.tape, &search, &mut self.zones, deadline);
                    if self.run.next >= self.tape.end() {
                        break;
                    }
                }
                let row = self.tape.row(self.run.next);
                if let Some(deadline) = deadline.filter(|deadline| row.time >= *deadline) {
                    over = Some((deadline, first.id));
                    break;
                }
                if self.run.step(&self.tape, &search, scratch)? {
                    over = Some((row.time, row.id));
                    break;
                }
                if self.run.rejoin(&self.tape, &search) {
                    let last = self.tape.row(self.run.next - 1);
                    over = Some((last.time, last.id));
                    break;
                }
            }
            if over.is_none() {
                let last = self.tape.row(self.tape.end() - 1);
                over = match deadline {
                    Some(deadline) if deadline <= reached.time => Some((deadline, first.id)),
                    // Flink waits for ever.
                    _ if reached.ended && !plan.automaton.first_counts => Some((last.time, last.id)),
                    _ => None,
                };
            }
            let Some((time, id)) = over else { return Ok(deadline) };
            now = now.max(time);
            self.run.end(&self.tape, &search);
            if let Some(candidate) = self.run.candidate.filter(|_| self.run.rejoined) {
                self.run.retrace(candidate.end, &self.tape, &search, scratch)?;
            }
            self.running = false;
            self.start = match self.run.candidate {
                Some(candidate) => self.add_match(plan, candidate, (now, id), scratch, found)?,
                None => self.run.start + 1,
            };
        }
    }

    /// Adds a match to those that were found; gives where the next search begins.
    fn add_match(
        &mut self,
        plan: &MatchRecognize,
        candidate: Candidate,
        by: (i64, u32),
        scratch: &mut Scratch,
        found: &mut Found,
    ) -> Result<u64> {
        let (start, end) = (self.run.start, candidate.end);
        self.matches += 1;
        let matched = &mut found.matched;
        let begin = matched.ids.len();
        let from = start.saturating_sub(plan.program.before).max(self.tape.begin());
        matched.ids.extend((from..end).map(|ordinal| self.tape.row(ordinal).id));
        matched.variables.extend((from..start).map(|_| NONE));
        let first = matched.variables.len();
        let positions = &mut scratch.positions;
        positions.clear();
        self.run.histories.positions(candidate.history, end, positions);
        let bound = positions.iter().map(|p| plan.automaton.positions[*p as usize]);
        matched.variables.extend(bound.clone().map(|p| p.variable));
        found.excluded.extend(bound.enumerate().filter(|(_, p)| p.excluded).map(|(at, _)| first + at));
        let end_place = matched.ids.len();
        let frame = Frame { begin, first, end: end_place, whole: end_place, number: self.matches, time: by.0 };
        found.matches.push(Match { found: by, first: self.tape.row(start).id, frame });
        if end == start {
            return Ok(start + 1);
        }
        let variables = &matched.variables[first..];
        let target = match &plan.skip {
            Skip::PastLastRow => return Ok(end),
            Skip::ToNextRow => return Ok(start + 1),
            Skip::ToFirst(wanted, name) => (variables.iter().position(|v| wanted.contains(*v)), name),
            Skip::ToLast(wanted, name) => (variables.iter().rposition(|v| wanted.contains(*v)), name),
        };
        match target {
            (Some(0), name) => Err(Error::Execution(format!(
                "AFTER MATCH SKIP TO {name}: the row is the first of the match, so that the same match would be found again"
            ))),
            (Some(at), _) => Ok(start + at as u64),
            (None, name) => {
                Err(Error::Execution(format!("AFTER MATCH SKIP TO {name}: a match has no row that is bound to {name}")))
            }
        }
    }

    /// Lets go of the rows that no search can reach any more.
    pub fn release(&mut self, plan: &MatchRecognize, gone: impl FnMut(u32)) {
        let needed = if self.running { self.run.start } else { self.start };
        self.tape.release(needed.saturating_sub(plan.program.before), plan.program.cells.len(), gone);
        self.zones.release(self.tape.begin());
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.tape.bytes() + self.run.bytes() + self.zones.bytes() + size_of::<Self>()
    }
}
