//! One partition: its rows in order, and the searches for matches in them, one after the other.

use super::MatchRecognize;
use super::automaton::Position;
use super::run::{Candidate, Run, Scratch, Search};
use super::slot::{Frame, Matched, Segment, Variables};
use super::tape::{Held, Tape};
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
    ToFirst(Variables, String),
    /// At its last row that is bound to one of some variables.
    ToLast(Variables, String),
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
    /// Their rows, and those beside them that they look back and ahead to.
    pub matched: Matched,
    /// One for each match.
    pub matches: Vec<Match>,
    /// The ordinals of the partition's rows that stand last in it, and where they begin there.
    shared: Option<(u64, u64, usize)>,
}

impl Found {
    /// Begins with another partition.
    fn begin(&mut self) {
        self.shared = None;
    }

    /// Adds those of a partition's rows that are not there yet; gives where the first of them stands.
    fn share(&mut self, tape: &Tape, from: u64, end: u64) -> usize {
        let ids = &mut self.matched.ids;
        let (first, known, offset) = match self.shared {
            Some((first, known, offset)) if first <= from && from <= known => (first, known, offset),
            _ => (from, from, ids.len()),
        };
        ids.extend((known..end.max(known)).map(|ordinal| tape.row(ordinal).id));
        self.shared = Some((first, known.max(end), offset));
        offset + (from - first) as usize
    }
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
    /// Where the search begins that is under way, or the next one.
    pub start: u64,
    /// How it stands. Of short searches this is not kept: they are made anew when more rows come.
    run: Option<Box<Run>>,
    /// How many matches there have been.
    pub matches: i64,
    /// Whether it has got rows that no search has looked at.
    pub touched: bool,
    /// When it is looked at again at the latest, if that is known to the operator.
    pub deadline: Option<i64>,
}

/// Searches of fewer rows are made anew when more rows come: with many keys there are many of them.
const SHORT: u64 = 4;

impl Partition {
    /// Whether there are rows that a search may still match.
    pub fn is_searched(&self) -> bool {
        self.start < self.tape.end()
    }

    /// Whether nothing of it needs to be kept.
    pub fn is_idle(&self, numbered: bool) -> bool {
        self.tape.len() == 0 && !(numbered && self.matches > 0)
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
        if !self.is_searched() {
            return Ok(None);
        }
        let until = if reached.ended { self.tape.end() } else { self.tape.end().saturating_sub(plan.program.after) };
        let (automaton, program) = (plan.automaton.as_ref(), plan.program.as_ref());
        let search = Search { automaton, program, names: &plan.names, store, until };
        let mut run = match self.run.take() {
            Some(run) => run,
            None => {
                let mut run = scratch.run.take().unwrap_or_default();
                run.begin(self.start, &search);
                run
            }
        };
        found.begin();
        let mut now = i64::MIN;
        let deadline = loop {
            let deadline = plan.within.map(|within| self.tape.row(run.start).time.saturating_add(within));
            let Some((time, id)) = self.advance(&search, &mut run, deadline, reached, scratch)? else {
                // Where rows wait for those behind them the time decides nothing.
                break deadline.filter(|_| program.after == 0);
            };
            now = now.max(time);
            run.end(&self.tape, &search);
            if let Some(candidate) = run.candidate.filter(|_| run.rejoined) {
                run.retrace(candidate.end, &self.tape, &search, scratch)?;
            }
            self.start = match run.candidate {
                Some(candidate) => self.add_match(plan, &run, candidate, (now, id), scratch, found)?,
                None => run.start + 1,
            };
            if !self.is_searched() {
                break None;
            }
            run.begin(self.start, &search);
        };
        if self.is_searched() && run.next - run.start >= SHORT {
            self.run = Some(run);
        } else {
            run.forget();
            scratch.run = Some(run);
        }
        Ok(deadline)
    }

    /// Searches on as far as the rows reach. When the search is over: when that was known, and by which row.
    fn advance(
        &self,
        search: &Search<'_>,
        run: &mut Run,
        deadline: Option<i64>,
        reached: Reached,
        scratch: &mut Scratch,
    ) -> Result<Option<(i64, u32)>> {
        let tape = &self.tape;
        let first = tape.row(run.start);
        while run.next < tape.end() {
            if run.next > run.start {
                run.stand_still(tape, search, deadline);
                if run.next >= tape.end() {
                    break;
                }
            }
            let row = tape.row(run.next);
            if let Some(deadline) = deadline.filter(|deadline| row.time >= *deadline) {
                return Ok(Some((self.told_at(run, search, deadline), first.id)));
            }
            if run.next >= search.until {
                return Ok(None);
            }
            if run.step(tape, search, scratch)? || run.rejoin(tape, search) {
                let last = self.told_by(run.next - 1, search);
                return Ok(Some((last.time, last.id)));
            }
        }
        let last = tape.row(tape.end() - 1);
        Ok(match deadline {
            Some(deadline) if deadline <= reached.time => Some((self.told_at(run, search, deadline), first.id)),
            // Flink waits for ever.
            _ if reached.ended && !search.automaton.first_counts => Some((last.time, last.id)),
            _ => None,
        })
    }

    /// The row that lets one be looked at: the last of those that are looked ahead to from it.
    fn told_by(&self, ordinal: u64, search: &Search<'_>) -> Held {
        self.tape.row(ordinal.saturating_add(search.program.after).min(self.tape.end() - 1))
    }

    /// When a search is over that runs out of time: not before its last row can be looked at.
    fn told_at(&self, run: &Run, search: &Search<'_>, deadline: i64) -> i64 {
        let last = run.next.checked_sub(1).filter(|last| *last >= run.start);
        last.map_or(deadline, |last| self.told_by(last, search).time.max(deadline))
    }

    /// Adds a match to those that were found; gives where the next search begins.
    fn add_match(
        &mut self,
        plan: &MatchRecognize,
        run: &Run,
        candidate: Candidate,
        by: (i64, u32),
        scratch: &mut Scratch,
        found: &mut Found,
    ) -> Result<u64> {
        let (start, end) = (run.start, candidate.end);
        self.matches += 1;
        let from = start.saturating_sub(plan.program.before).max(self.tape.begin());
        let until = end.saturating_add(plan.program.after).min(self.tape.end());
        let offset = found.share(&self.tape, from, until);
        let place = |ordinal: u64| offset + (ordinal - from) as usize;
        let positions = &mut scratch.positions;
        run.histories.positions(candidate.history, end, positions);
        let first_segment = found.matched.segments.len();
        found.matched.segments.extend(positions.iter().map(|(position, from, to)| {
            let Position { variable, excluded } = plan.automaton.positions[*position as usize];
            Segment { variable, excluded, rows: (place(*from), place(*to)) }
        }));
        let frame = Frame {
            at_hand: (place(from), place(until)),
            first: place(start),
            end: place(end),
            whole: place(end),
            segments: (first_segment, found.matched.segments.len()),
            number: self.matches,
            time: by.0,
        };
        found.matches.push(Match { found: by, first: self.tape.row(start).id, frame });
        if end == start {
            return Ok(start + 1);
        }
        let segments = &found.matched.segments[first_segment..];
        let bound = |wanted: &Variables, last: bool| {
            let mut rows = segments.iter().filter(|s| wanted.contains(s.variable)).map(|s| s.rows);
            let row = if last { rows.next_back().map(|(_, to)| to - 1) } else { rows.next().map(|(from, _)| from) };
            row.map(|row| row - frame.first)
        };
        let target = match &plan.skip {
            Skip::PastLastRow => return Ok(end),
            Skip::ToNextRow => return Ok(start + 1),
            Skip::ToFirst(wanted, name) => (bound(wanted, false), name),
            Skip::ToLast(wanted, name) => (bound(wanted, true), name),
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
        self.tape.release(self.start.saturating_sub(plan.program.before), plan.program.cells.len(), gone);
        if let Some(run) = &mut self.run {
            run.release(&self.tape);
        }
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.tape.bytes() + self.run.as_deref().map_or(0, Run::bytes) + size_of::<Self>()
    }
}
