//! Searches that go on over many rows: they pass over rows at which nothing changes, and go the way of one before them at once.

use super::{Candidate, Run, Scratch, Search, Thread};
use crate::operator::match_recognize::automaton::Edge;
use crate::operator::match_recognize::history::NONE;
use crate::operator::match_recognize::scalar::Scalar;
use crate::operator::match_recognize::tape::Tape;
use crate::operator::match_recognize::trace::Trace;
use crate::operator::match_recognize::zone::{Zone, Zones};
use crate::{Error, Result};

/// What is known of a partition's long searches.
#[derive(Debug, Default)]
pub(super) struct LongSearches {
    /// Where the threads, of this search or some before it, stood still for long.
    still: Vec<Still>,
    /// What became of a search before this one.
    before: Trace,
    /// What becomes of this one, if it has not come to go the way of that.
    own: Trace,
    zones: Zones,
    /// Where the search before this one ended, if it was long: this one may stand still as far.
    reach: u64,
    /// Before this row it is not worth looking for rows to pass over.
    look_from: u64,
}

/// Rows over which all threads stood still.
#[derive(Debug)]
struct Still {
    positions: Vec<u32>,
    registers: Vec<Scalar>,
    /// From the time on at which that search began.
    began: i64,
    since: u64,
    until: u64,
}

/// Of so many lists it is remembered where they stood still.
const MAX_STILL: usize = 8;
/// Over fewer rows it is not noted that threads stood still.
const LONG: u64 = 16;
/// So many rows earlier than the search before it one may end that does not end where that did.
const NEAR: u64 = 64;

impl LongSearches {
    /// About how many bytes they take.
    pub fn bytes(&self) -> usize {
        self.before.bytes() + self.own.bytes() + self.zones.bytes() + size_of::<Self>()
    }

    /// Forgets what becomes of the search that is over.
    pub fn begin(&mut self) {
        self.own.clear();
        self.look_from = 0;
    }
}

impl Run {
    /// Notes where threads stand.
    pub(super) fn note_trace(&mut self, search: &Search<'_>) {
        if self.next >= self.start + LONG && search.is_pure() {
            let long = self.long.get_or_insert_default();
            let trace = if self.rejoined { &mut long.before } else { &mut long.own };
            trace.note(self.next, self.threads.iter().map(|t| t.position));
        }
    }

    /// Goes the way of a search before it at once, if all threads stand as they stood there. Whether no thread is left then.
    pub fn rejoin(&mut self, tape: &Tape, search: &Search<'_>) -> bool {
        let Some(before) = self.long.as_deref().map(|l| &l.before).filter(|b| self.next < b.until) else {
            return false;
        };
        if self.rejoined || !search.is_pure() {
            return false;
        }
        let own = self.threads.iter().map(|t| t.position);
        let same = before.at(self.next).is_some_and(|list| own.eq(list.iter().copied()));
        // What is in time for a search is in time for one that began later.
        if !same || before.began > tape.row(self.start).time {
            return false;
        }
        if let Some(end) = before.candidate.filter(|end| *end > self.next) {
            self.candidate = Some(Candidate { end, history: NONE });
        }
        self.next = before.until;
        self.still_since = self.next;
        self.rejoined = true;
        self.threads.clear();
        if !before.died {
            self.threads.extend(before.last().iter().map(|position| Thread { position: *position, history: NONE }));
        }
        self.threads.is_empty()
    }

    /// Notes how the search has ended.
    pub fn end(&mut self, tape: &Tape, search: &Search<'_>) {
        self.note_still(tape);
        let Some(long) = self.long.as_deref_mut() else { return };
        long.reach = if self.next >= self.start + LONG { self.next } else { 0 };
        if !search.is_pure() {
            return;
        }
        if !self.rejoined && long.own.is_empty() {
            return;
        }
        if !self.rejoined {
            std::mem::swap(&mut long.before, &mut long.own);
            long.before.began = tape.row(self.start).time;
        }
        long.before.until = self.next;
        long.before.died = self.threads.is_empty();
        long.before.candidate = self.candidate.map(|c| c.end);
        long.before.release(self.start);
    }

    /// Lets go of what is known of rows that are gone.
    pub fn release(&mut self, tape: &Tape) {
        if let Some(long) = &mut self.long {
            long.zones.release(tape.begin());
        }
    }

    /// Forgets the partition.
    pub fn forget(&mut self) {
        self.long = None;
    }

    /// Finds the rows of a match anew, after the search has gone the way of another.
    pub fn retrace(&mut self, end: u64, tape: &Tape, search: &Search<'_>, scratch: &mut Scratch) -> Result<()> {
        let mut again = Run::default();
        again.begin(self.start, search);
        while again.next < end {
            again.step(tape, search, scratch)?;
        }
        self.histories = again.histories;
        match again.candidate.filter(|c| c.end == end) {
            Some(candidate) => self.candidate = Some(candidate),
            None => return Err(Error::internal("a match that is not found again")),
        }
        Ok(())
    }

    /// Notes over which rows threads stood still, when that is over.
    pub fn note_still(&mut self, tape: &Tape) {
        if self.next.saturating_sub(self.still_since) >= LONG {
            let positions: Vec<u32> = self.threads.iter().map(|t| t.position).collect();
            let still = &mut self.long.get_or_insert_default().still;
            still.retain(|s| s.positions != positions || s.registers != self.registers);
            if still.len() == MAX_STILL {
                still.remove(0);
            }
            let (began, registers) = (tape.row(self.start).time, self.registers.clone());
            still.push(Still { positions, registers, began, since: self.still_since, until: self.next });
        }
    }

    /// Passes over rows at which all threads stand still: where those of a search before did, and by blocks. `deadline` is
    /// the first time that is too late.
    pub fn stand_still(&mut self, tape: &Tape, search: &Search<'_>, deadline: Option<i64>) {
        if search.program.general {
            return;
        }
        let until = self.long.as_deref().map_or(0, |long| self.known_still(&long.still, tape));
        self.pass(until, search);
        let (reach, look_from) = self.long.as_deref().map_or((0, 0), |long| (long.reach, long.look_from));
        // Where the search before was short, this one may be.
        let patience = if reach > self.next { 1 } else { LONG };
        if self.next < look_from.max(self.still_since + patience) || self.next >= search.until {
            return;
        }
        let mut zones = std::mem::take(&mut self.long.get_or_insert_default().zones);
        zones.grow(tape, search.program);
        let stands_still =
            |zone: Zone<'_>| deadline.is_none_or(|deadline| zone.latest < deadline) && self.stands_still(zone, search);
        // Mostly a search ends where the one before it did, or somewhat earlier.
        let mut likely =
            [reach, reach.saturating_sub(NEAR)].into_iter().filter(|row| (self.next + 1..=search.until).contains(row));
        let from = likely.find(|row| stands_still(zones.between(self.next, *row, tape))).unwrap_or(self.next);
        let until = zones.first_not(from, search.until, tape, stands_still);
        let long = self.long.get_or_insert_default();
        long.zones = zones;
        if until < self.next + LONG {
            long.look_from = until + LONG;
        }
        self.pass(until, search);
    }

    fn pass(&mut self, until: u64, search: &Search<'_>) {
        if until > self.next {
            self.next = until;
            let accepting = self.threads.last().filter(|t| search.automaton.accepts[t.position as usize]);
            if let Some(Thread { history, .. }) = accepting {
                self.candidate = Some(Candidate { end: until, history: *history });
            }
        }
    }

    /// Up to where the threads of a search before stood still, if these are the same.
    fn known_still(&self, still: &[Still], tape: &Tape) -> u64 {
        // What is in time for a search is in time for one that began later.
        let began = tape.row(self.start).time;
        let covers = |s: &&Still| s.since <= self.next && self.next < s.until && s.began <= began;
        let own = self.threads.iter().map(|t| t.position);
        let same = |s: &&Still| own.clone().eq(s.positions.iter().copied()) && self.registers == s.registers;
        still.iter().filter(covers).find(same).map_or(0, |s| s.until)
    }

    fn stands_still(&self, zone: Zone<'_>, search: &Search<'_>) -> bool {
        let Search { automaton, program, .. } = search;
        let width = program.registers;
        self.threads.iter().enumerate().all(|(at, thread)| {
            if thread.position == NONE {
                return false;
            }
            let position = thread.position as usize;
            let registers = &self.registers[at * width..(at + 1) * width];
            let variable = |edge: &Edge| automaton.positions[edge.to as usize].variable as usize;
            let condition = |variable: usize| &program.conditions[variable];
            let mut stays = false;
            let others_fail = automaton.follow[position].iter().all(|edge| {
                if edge.to == thread.position {
                    let free = edge.unless.iter().all(|v| zone.never(condition(*v as usize), registers));
                    stays = free && zone.always(condition(variable(edge)), registers);
                    return true;
                }
                let barred = edge.unless.iter().any(|v| zone.always(condition(*v as usize), registers));
                barred || zone.never(condition(variable(edge)), registers)
            });
            let own = automaton.positions[position].variable as usize;
            // What ends a match there leaves no thread behind it.
            let accepts = automaton.accepts[position];
            let goes_on = !accepts || (!automaton.first_counts && at + 1 == self.threads.len());
            stays && others_fail && goes_on && program.updates[own].is_empty()
        })
    }
}
