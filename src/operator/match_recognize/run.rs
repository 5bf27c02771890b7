//! The search for the match that begins at one row.

use std::collections::HashSet;

use super::automaton::{Automaton, Edge};
use super::history::{Histories, NONE};
use super::program::{Condition, Current, Program};
use super::scalar::Scalar;
use super::slot::{Frame, Matched};
use super::tape::Tape;
use super::trace::Trace;
use super::zone::{BLOCK, LEVELS, Zone, Zones, block_rows};
use crate::state::RowStore;
use crate::{Error, Result};

/// How many ways to match there may be at once from one row on.
const MAX_THREADS: usize = 100_000;
/// Up to so many threads are held against each other one by one.
const FEW_THREADS: usize = 8;

/// A way to match the rows so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Thread {
    /// Where the last row stands; [`NONE`] before the first.
    position: u32,
    history: u32,
}

/// A match that was found, if none is that is preferred to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// The ordinal behind its last row.
    pub end: u64,
    pub history: u32,
}

/// All ways to match from one row on, the preferred first.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// The ordinal of the first row.
    pub start: u64,
    /// The ordinal of the next row to look at.
    pub next: u64,
    pub candidate: Option<Candidate>,
    threads: Vec<Thread>,
    /// What each thread remembers, one after the other.
    registers: Vec<Scalar>,
    pub histories: Histories,
    /// From which row on each thread has stood where it stands.
    still_since: u64,
    /// Where the threads, of this search or one before it, stood still for long.
    still: Option<Still>,
    /// What became of a search before this one.
    before: Trace,
    /// What becomes of this one, if it has not come to go the way of that.
    own: Trace,
    /// Whether it goes the way of a search before it: then histories are not known.
    pub rejoined: bool,
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

/// Over fewer rows it is not noted that threads stood still.
const LONG: u64 = 16;

/// What a search needs besides its own state.
pub(super) struct Search<'a> {
    pub automaton: &'a Automaton,
    pub program: &'a Program,
    pub store: &'a dyn RowStore,
}

impl Search<'_> {
    /// Whether conditions ask for nothing of the rows bound so far.
    fn is_pure(&self) -> bool {
        self.program.registers == 0 && !self.program.general
    }
}

/// Kept between steps for its memory.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    threads: Vec<Thread>,
    registers: Vec<Scalar>,
    /// By position: the step in which a thread came to stand there last.
    seen: Vec<u64>,
    step: u64,
    many: HashSet<(u32, Vec<Scalar>)>,
    pub positions: Vec<u32>,
}

/// A thread's step: where it stands and what it remembers.
struct From<'a> {
    thread: Thread,
    registers: &'a [Scalar],
}

impl Run {
    /// Begins anew.
    pub fn begin(&mut self, start: u64, search: &Search<'_>) {
        (self.start, self.next, self.candidate) = (start, start, None);
        self.threads.clear();
        self.threads.push(Thread { position: NONE, history: NONE });
        self.registers.clear();
        self.registers.resize(search.program.registers, Scalar::Absent);
        self.histories.clear();
        self.still_since = start + 1;
        self.rejoined = false;
        self.own.clear();
        if search.automaton.empty {
            self.candidate = Some(Candidate { end: start, history: NONE });
        }
    }

    /// Looks at the next row. Whether the search has come to its end: no thread is left.
    pub fn step(&mut self, tape: &Tape, search: &Search<'_>, scratch: &mut Scratch) -> Result<bool> {
        let Search { automaton, program, .. } = search;
        let width = program.registers;
        let row = self.next;
        scratch.threads.clear();
        scratch.registers.clear();
        scratch.many.clear();
        scratch.step += 1;
        scratch.seen.resize(automaton.positions.len(), 0);
        let mut ended = false;
        'threads: for at in 0..self.threads.len() {
            let thread = self.threads[at];
            let from = From { thread, registers: &self.registers[at * width..(at + 1) * width] };
            let edges = match thread.position {
                NONE => &automaton.first,
                position => &automaton.follow[position as usize],
            };
            for edge in edges {
                if !passes(&self.histories, self.start, edge, &from, row, tape, search, scratch)? {
                    continue;
                }
                let history = self.histories.add(thread.history, thread.position, edge.to, row);
                if automaton.accepts[edge.to as usize] {
                    self.candidate = Some(Candidate { end: row + 1, history });
                    if automaton.first_counts {
                        scratch.threads.clear();
                        ended = true;
                        break 'threads;
                    }
                }
                let goes_on = !automaton.follow[edge.to as usize].is_empty();
                if goes_on {
                    let next = Thread { position: edge.to, history };
                    let variable = automaton.positions[edge.to as usize].variable;
                    scratch.push(next, variable, from.registers, program, tape.values(row, program.cells.len()));
                }
                if automaton.accepts[edge.to as usize] {
                    // What is preferred less than this match is of no interest any more.
                    break 'threads;
                }
            }
        }
        if scratch.threads.len() > MAX_THREADS {
            return Err(Error::Execution(format!(
                "MATCH_RECOGNIZE: from one row on there are more than {MAX_THREADS} ways to match at once; make the conditions \
                 tell the variables apart, or add WITHIN"
            )));
        }
        if self.threads != scratch.threads || self.registers != scratch.registers {
            self.note_still(tape);
            self.still_since = row + 1;
        }
        std::mem::swap(&mut self.threads, &mut scratch.threads);
        std::mem::swap(&mut self.registers, &mut scratch.registers);
        self.next += 1;
        self.note_trace(search);
        if self.histories.is_large() {
            let threads = self.threads.iter_mut().map(|t| &mut t.history);
            self.histories.keep(threads.chain(self.candidate.iter_mut().map(|c| &mut c.history)));
        }
        Ok(ended || self.threads.is_empty())
    }

    /// Notes where threads stand.
    fn note_trace(&mut self, search: &Search<'_>) {
        if self.next >= self.start + LONG && search.is_pure() {
            let trace = if self.rejoined { &mut self.before } else { &mut self.own };
            trace.note(self.next, self.threads.iter().map(|t| t.position));
        }
    }

    /// Goes the way of a search before it at once, if all threads stand as they stood there. Whether no thread is left then.
    pub fn rejoin(&mut self, tape: &Tape, search: &Search<'_>) -> bool {
        if self.rejoined || self.next >= self.before.until || !search.is_pure() {
            return false;
        }
        let own = self.threads.iter().map(|t| t.position);
        let same = self.before.at(self.next).is_some_and(|list| own.eq(list.iter().copied()));
        // What is in time for a search is in time for one that began later.
        if !same || self.before.began > tape.row(self.start).time {
            return false;
        }
        if let Some(end) = self.before.candidate.filter(|end| *end > self.next) {
            self.candidate = Some(Candidate { end, history: NONE });
        }
        self.next = self.before.until;
        self.still_since = self.next;
        self.rejoined = true;
        self.threads.clear();
        if !self.before.died {
            let last = self.before.last().iter();
            self.threads.extend(last.map(|position| Thread { position: *position, history: NONE }));
        }
        self.threads.is_empty()
    }

    /// Notes how the search has ended.
    pub fn end(&mut self, tape: &Tape, search: &Search<'_>) {
        self.note_still(tape);
        if !search.is_pure() || (!self.rejoined && self.own.is_empty()) {
            return;
        }
        if !self.rejoined {
            std::mem::swap(&mut self.before, &mut self.own);
            self.before.began = tape.row(self.start).time;
        }
        self.before.until = self.next;
        self.before.died = self.threads.is_empty();
        self.before.candidate = self.candidate.map(|c| c.end);
        self.before.release(self.start);
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
            self.still = Some(Still {
                positions: self.threads.iter().map(|t| t.position).collect(),
                registers: self.registers.clone(),
                began: tape.row(self.start).time,
                since: self.still_since,
                until: self.next,
            });
        }
    }

    /// Passes over rows at which all threads stand still: where those of a search before did, and by blocks. `deadline` is
    /// the first time that is too late.
    pub fn stand_still(&mut self, tape: &Tape, search: &Search<'_>, zones: &mut Zones, deadline: Option<i64>) {
        if search.program.general {
            return;
        }
        let until = self.next.max(self.known_still(tape));
        self.pass(until, search);
        while let Some(rows) = self.still_block(tape, search, zones, deadline) {
            self.pass(self.next + rows, search);
        }
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
    fn known_still(&self, tape: &Tape) -> u64 {
        let Some(still) = &self.still else { return 0 };
        // What is in time for a search is in time for one that began later.
        let covers = still.since <= self.next && self.next < still.until && still.began <= tape.row(self.start).time;
        let same = self.threads.iter().map(|t| t.position).eq(still.positions.iter().copied());
        if covers && same && self.registers == still.registers { still.until } else { 0 }
    }

    /// How many of the next rows make a block at which all threads stand still.
    fn still_block(&self, tape: &Tape, search: &Search<'_>, zones: &mut Zones, deadline: Option<i64>) -> Option<u64> {
        if !self.next.is_multiple_of(BLOCK) || self.next < self.start + LONG {
            return None;
        }
        let width = search.program.cells.len();
        let mut found = None;
        for level in 0..LEVELS {
            let Some(zone) = zones.get(level, self.next, tape, width) else { break };
            if deadline.is_some_and(|deadline| zone.latest >= deadline) || !self.stands_still(zone, search) {
                break;
            }
            found = Some(block_rows(level));
        }
        found
    }

    fn stands_still(&self, zone: &Zone, search: &Search<'_>) -> bool {
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

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        let threads = self.threads.capacity() * size_of::<Thread>();
        let traces = self.before.bytes() + self.own.bytes();
        threads + self.registers.capacity() * size_of::<Scalar>() + self.histories.bytes() + traces
    }
}

/// Whether a row satisfies what a way on asks of it.
#[expect(clippy::too_many_arguments, reason = "the parts of a run that a step changes are lent one by one")]
fn passes(
    histories: &Histories,
    start: u64,
    edge: &Edge,
    from: &From<'_>,
    row: u64,
    tape: &Tape,
    search: &Search<'_>,
    scratch: &mut Scratch,
) -> Result<bool> {
    let variable = search.automaton.positions[edge.to as usize].variable;
    let mut holds = |variable: u32| -> Result<bool> {
        let place = tape.place(row);
        let cells = tape.cells();
        let width = search.program.cells.len();
        Ok(match &search.program.conditions[variable as usize] {
            Condition::Always => true,
            Condition::Cell(cell) => cells[place * width + cell].is_true(),
            Condition::Term(term) => {
                let current = Current { cells, width, row: place, registers: from.registers };
                term.evaluate(&current).is_true()
            }
            Condition::General(general) => {
                scratch.positions.clear();
                histories.positions(from.thread.history, row, &mut scratch.positions);
                let begin = tape.begin();
                let rows = (begin..=row).map(|ordinal| tape.row(ordinal).id).collect();
                let bound = scratch.positions.iter().map(|p| search.automaton.positions[*p as usize].variable);
                let before = (begin..start).map(|_| NONE);
                let variables = before.chain(bound).chain([variable]).collect();
                let first = (start - begin) as usize;
                let end = (row + 1 - begin) as usize;
                let frames = vec![Frame { begin: 0, first, end, whole: end, number: 0, time: tape.row(row).time }];
                general.holds(&Matched { ids: rows, variables, frames }, search.store)?
            }
        })
    };
    for other in &edge.unless {
        if holds(*other)? {
            return Ok(false);
        }
    }
    holds(variable)
}

impl Scratch {
    /// Adds a thread that binds a row to a variable, unless one that is preferred to it will do all that it does.
    fn push(&mut self, thread: Thread, variable: u32, registers: &[Scalar], program: &Program, cells: &[Scalar]) {
        let again = std::mem::replace(&mut self.seen[thread.position as usize], self.step) == self.step;
        let begin = self.registers.len();
        if !registers.is_empty() {
            self.registers.extend_from_slice(registers);
            program.bind(variable, cells, &mut self.registers[begin..]);
        }
        if !program.general && self.is_covered(thread.position, again, begin) {
            self.registers.truncate(begin);
            return;
        }
        self.threads.push(thread);
    }

    /// Whether there is a thread at a position already that remembers the same.
    fn is_covered(&mut self, position: u32, again: bool, begin: usize) -> bool {
        let (others, own) = self.registers.split_at(begin);
        let width = own.len();
        if width == 0 {
            return again;
        }
        if self.threads.len() < FEW_THREADS {
            let mut others = self.threads.iter().zip(others.chunks(width));
            return again && others.any(|(t, registers)| t.position == position && registers == own);
        }
        if self.many.is_empty() {
            let others = self.threads.iter().zip(others.chunks(width));
            self.many.extend(others.map(|(t, registers)| (t.position, registers.to_vec())));
        }
        !self.many.insert((position, own.to_vec()))
    }
}
