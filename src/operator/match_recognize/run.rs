//! The search for the match that begins at one row.

mod long;

use std::collections::HashSet;

use self::long::LongSearches;
use super::automaton::{Automaton, Edge};
use super::history::{Histories, NONE};
use super::program::{Condition, Current, Program};
use super::scalar::Scalar;
use super::slot::{Frame, Matched, Segment};
use super::tape::Tape;
use super::term::Row;
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
    /// Whether it goes the way of a search before it: then histories are not known.
    pub rejoined: bool,
    /// What is known of long searches, where there have been some.
    long: Option<Box<LongSearches>>,
}

/// What a search needs besides its own state.
pub(super) struct Search<'a> {
    pub automaton: &'a Automaton,
    pub program: &'a Program,
    /// The variables' names.
    pub names: &'a [String],
    pub store: &'a dyn RowStore,
    /// The ordinal behind the last row that can be looked at: of those behind it rows are missing that are looked ahead to.
    pub until: u64,
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
    pub positions: Vec<(u32, u64, u64)>,
    /// A search that is not under way.
    pub run: Option<Box<Run>>,
}

/// A thread's step: where it stands and what it remembers.
struct Origin<'a> {
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
        if let Some(long) = &mut self.long {
            long.begin();
        }
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
            let from = Origin { thread, registers: &self.registers[at * width..(at + 1) * width] };
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
                    scratch.push(next, variable, &current(tape, row, program, from.registers), program);
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

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        let threads = self.threads.capacity() * size_of::<Thread>();
        let long = self.long.as_deref().map_or(0, LongSearches::bytes);
        threads + self.registers.capacity() * size_of::<Scalar>() + self.histories.bytes() + long
    }
}

/// A row, as a thread sees it.
fn current<'a>(tape: &'a Tape, row: u64, program: &Program, registers: &'a [Scalar]) -> Current<'a> {
    Current { cells: tape.cells(), width: program.cells.len(), row: tape.place(row), registers }
}

/// Whether a row satisfies what a way on asks of it.
#[expect(clippy::too_many_arguments, reason = "the parts of a run that a step changes are lent one by one")]
fn passes(
    histories: &Histories,
    start: u64,
    edge: &Edge,
    from: &Origin<'_>,
    row: u64,
    tape: &Tape,
    search: &Search<'_>,
    scratch: &mut Scratch,
) -> Result<bool> {
    let variable = search.automaton.positions[edge.to as usize].variable;
    let mut holds = |variable: u32| -> Result<bool> {
        let current = current(tape, row, search.program, from.registers);
        Ok(match &search.program.conditions[variable as usize] {
            Condition::Always => true,
            Condition::Cell(cell) => current.cell(*cell).is_true(),
            Condition::Term(term) => term.evaluate(&current).is_true(),
            Condition::General(general) => {
                histories.positions(from.thread.history, row, &mut scratch.positions);
                let begin = tape.begin();
                let until = row.saturating_add(search.program.after).min(tape.end() - 1);
                let ids: Vec<u32> = (begin..=until).map(|ordinal| tape.row(ordinal).id).collect();
                let place = |ordinal: u64| (ordinal - begin) as usize;
                let bound = scratch.positions.iter().map(|(position, from, to)| Segment {
                    variable: search.automaton.positions[*position as usize].variable,
                    excluded: false,
                    rows: (place(*from), place(*to)),
                });
                let own = Segment { variable, excluded: false, rows: (place(row), place(row + 1)) };
                let segments: Vec<Segment> = bound.chain([own]).collect();
                let (first, end) = (place(start), place(row + 1));
                let all = (0, segments.len());
                let time = tape.row(row).time;
                let at_hand = (0, ids.len());
                let frames = vec![Frame { at_hand, first, end, whole: end, segments: all, number: 0, time }];
                general.holds(&Matched { ids, segments, frames }, search.names, search.store)?
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
    fn push(&mut self, thread: Thread, variable: u32, row: &Current<'_>, program: &Program) {
        let again = std::mem::replace(&mut self.seen[thread.position as usize], self.step) == self.step;
        let begin = self.registers.len();
        if !row.registers.is_empty() {
            self.registers.extend_from_slice(row.registers);
            program.bind(variable, row, &mut self.registers[begin..]);
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
