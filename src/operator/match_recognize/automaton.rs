//! A pattern as an automaton that takes a row at a time.

use super::pattern::Pattern;
use crate::{Error, Result};

/// How many variables a pattern may have when its repetitions are written out.
const MAX_POSITIONS: u64 = 10_000;
/// How many ways there may be from one variable to the next, in all.
const MAX_EDGES: usize = 1_000_000;

/// Where in the pattern a row may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The variable that the row is bound to.
    pub variable: u32,
    /// Whether the row is left out of `ALL ROWS PER MATCH`.
    pub excluded: bool,
}

/// A way on: the next row may stand at a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The position.
    pub to: u32,
    /// Variables whose conditions the row must not satisfy.
    pub unless: Box<[u32]>,
}

/// An automaton whose states are the pattern's positions, with the preferred way on first.
///
/// The match from a row on that is preferred is the one that SQL:2016 says, by the order of the ways; but for patterns that
/// Flink takes it is Flink's: what is repeated greedily takes each row that it can, and of all matches that are left the first
/// to be complete counts.
#[derive(Debug, Clone)]
pub struct Automaton {
    /// The positions.
    pub positions: Vec<Position>,
    /// The ways into the pattern.
    pub first: Vec<Edge>,
    /// The ways on from each position. What is preferred less than ending the match there is left out.
    pub follow: Vec<Vec<Edge>>,
    /// Whether a match may end at each position.
    pub accepts: Vec<bool>,
    /// Whether a match without rows is possible; what is preferred to it is in `first`.
    pub empty: bool,
    /// Whether the first match to be complete counts.
    pub first_counts: bool,
    /// The most rows that a match may have.
    pub longest: Option<u64>,
}

/// A step of the automaton while it is built; steps that take no row are then left out.
enum Step {
    Take {
        position: u32,
        next: usize,
    },
    /// The first is preferred.
    Either(usize, usize),
    /// Only where the next row does not satisfy a variable's condition.
    Unless {
        variable: u32,
        next: usize,
    },
    Accept,
}

struct Builder {
    steps: Vec<Step>,
    positions: Vec<Position>,
    /// Whether greedy repetitions take every row that they can.
    possessive: bool,
}

impl Automaton {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// When it is too large.
    pub fn try_new(pattern: &Pattern) -> Result<Self> {
        if pattern.positions() > MAX_POSITIONS {
            let message = format!(
                "PATTERN: it has more than {MAX_POSITIONS} variables when its repetitions are written out, which is the most"
            );
            return Err(Error::Unsupported(message));
        }
        let first_counts = pattern.is_flinks();
        let mut builder = Builder { steps: vec![Step::Accept], positions: Vec::new(), possessive: first_counts };
        let start = builder.add(pattern, 0, false);
        let mut edges = 0;
        let (first, empty) = builder.closure(start, first_counts, &mut edges)?;
        let mut follow = vec![Vec::new(); builder.positions.len()];
        let mut accepts = vec![false; builder.positions.len()];
        for step in &builder.steps {
            if let Step::Take { position, next } = step {
                let at = *position as usize;
                (follow[at], accepts[at]) = builder.closure(*next, first_counts, &mut edges)?;
            }
        }
        let longest = pattern.longest();
        Ok(Self { positions: builder.positions, first, follow, accepts, empty, first_counts, longest })
    }
}

impl Builder {
    fn step(&mut self, step: Step) -> usize {
        self.steps.push(step);
        self.steps.len() - 1
    }

    /// Adds what matches a pattern and then goes on with `next`; gives where it begins.
    fn add(&mut self, pattern: &Pattern, next: usize, excluded: bool) -> usize {
        match pattern {
            Pattern::Variable(variable) => {
                let position = self.positions.len() as u32;
                self.positions.push(Position { variable: *variable as u32, excluded });
                self.step(Step::Take { position, next })
            }
            Pattern::Concat(parts) => parts.iter().rev().fold(next, |next, part| self.add(part, next, excluded)),
            Pattern::Alternation(parts) => {
                let mut ways = parts.iter().rev().map(|part| self.add(part, next, excluded)).collect::<Vec<_>>();
                ways.reverse();
                let Some(last) = ways.pop() else { return next };
                ways.into_iter().rev().fold(last, |rest, way| self.step(Step::Either(way, rest)))
            }
            Pattern::Exclude(inner) => self.add(inner, next, true),
            Pattern::Repeat { inner, min, max, greedy } => self.repeat(inner, (*min, *max), *greedy, next, excluded),
        }
    }

    fn repeat(
        &mut self,
        inner: &Pattern,
        (min, max): (u32, Option<u32>),
        greedy: bool,
        next: usize,
        excluded: bool,
    ) -> usize {
        // Of matches that are complete at the same row Flink takes the one that stays longer with what comes first.
        let more_first = greedy || self.possessive;
        let either =
            |more: usize, less: usize| if more_first { Step::Either(more, less) } else { Step::Either(less, more) };
        let ranged = greedy && max != Some(min) && (min, max) != (0, Some(1));
        let next = match inner {
            Pattern::Variable(variable) if self.possessive && ranged => {
                self.step(Step::Unless { variable: *variable as u32, next })
            }
            _ => next,
        };
        let mut begin = next;
        let mut copies = min;
        match max {
            None => {
                // The loop goes through a step that is put in when its body is known.
                let again = self.step(Step::Accept);
                let body = self.add(inner, again, excluded);
                self.steps[again] = either(body, next);
                begin = if min == 0 { again } else { body };
                copies = min.saturating_sub(1);
            }
            Some(max) => {
                for _ in min..max {
                    let body = self.add(inner, begin, excluded);
                    begin = self.step(either(body, next));
                }
            }
        }
        (0..copies).fold(begin, |begin, _| self.add(inner, begin, excluded))
    }

    /// The ways on from a step, and whether the match may end there. `all`: also those preferred less than ending.
    fn closure(&self, from: usize, all: bool, edges: &mut usize) -> Result<(Vec<Edge>, bool)> {
        let mut ways: Vec<Edge> = Vec::new();
        let mut accepts = false;
        let mut seen: std::collections::HashSet<(usize, Vec<u32>)> = std::collections::HashSet::new();
        let mut stack = vec![(from, Vec::new())];
        while let Some((at, unless)) = stack.pop() {
            if !seen.insert((at, unless.clone())) {
                continue;
            }
            match &self.steps[at] {
                Step::Take { position, .. } => {
                    *edges += 1;
                    if *edges > MAX_EDGES {
                        let message = "PATTERN: there are too many ways from one variable to the next; write it with fewer \
                                       optional parts in a row";
                        return Err(Error::Unsupported(message.into()));
                    }
                    ways.push(Edge { to: *position, unless: unless.into() });
                }
                Step::Either(first, second) => {
                    stack.push((*second, unless.clone()));
                    stack.push((*first, unless));
                }
                Step::Unless { variable, next } => {
                    let mut more = unless;
                    if !more.contains(variable) {
                        more.push(*variable);
                    }
                    stack.push((*next, more));
                }
                Step::Accept => {
                    accepts = true;
                    if !all {
                        break;
                    }
                }
            }
        }
        Ok((ways, accepts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeat(inner: Pattern, min: u32, max: Option<u32>, greedy: bool) -> Pattern {
        Pattern::Repeat { inner: Box::new(inner), min, max, greedy }
    }

    fn ways(edges: &[Edge]) -> Vec<u32> {
        edges.iter().map(|e| e.to).collect()
    }

    #[test]
    fn the_preferred_way_comes_first() {
        // (A | B)* C, of which Flink takes none.
        let either = Pattern::Alternation(vec![Pattern::Variable(0), Pattern::Variable(1)]);
        let pattern = Pattern::Concat(vec![repeat(either.clone(), 0, None, true), Pattern::Variable(2)]);
        let automaton = Automaton::try_new(&pattern).unwrap();
        let variables: Vec<u32> = automaton.first.iter().map(|e| automaton.positions[e.to as usize].variable).collect();
        assert_eq!(variables, [0, 1, 2]);
        assert!(automaton.first.iter().all(|e| e.unless.is_empty()) && !automaton.first_counts && !automaton.empty);
        let reluctant = Pattern::Concat(vec![repeat(either, 0, None, false), Pattern::Variable(2)]);
        let automaton = Automaton::try_new(&reluctant).unwrap();
        assert_eq!(automaton.positions[automaton.first[0].to as usize].variable, 2);
    }

    #[test]
    fn flinks_greedy_repetitions_do_not_give_back() {
        let pattern = Pattern::Concat(vec![
            Pattern::Variable(0),
            repeat(Pattern::Variable(1), 0, None, true),
            Pattern::Variable(2),
        ]);
        let automaton = Automaton::try_new(&pattern).unwrap();
        assert!(automaton.first_counts);
        let a = automaton.first[0].to as usize;
        let unless: Vec<&[u32]> = automaton.follow[a].iter().map(|e| e.unless.as_ref()).collect();
        assert_eq!(unless, [&[] as &[u32], &[1]]);
    }

    #[test]
    fn what_is_preferred_less_than_ending_is_left_out() {
        let reluctant = Automaton::try_new(&repeat(Pattern::Variable(0), 1, None, false)).unwrap();
        assert_eq!(reluctant.accepts, [true]);
        let greedy = Automaton::try_new(&repeat(Pattern::Variable(0), 1, None, true)).unwrap();
        assert_eq!((ways(&greedy.follow[0]), greedy.accepts[0]), (vec![0], true));
    }

    #[test]
    fn large_patterns_are_refused() {
        let million = repeat(Pattern::Variable(0), 1_000_000, Some(1_000_000), true);
        assert!(Automaton::try_new(&million).unwrap_err().to_string().contains("10000 variables"));
        let nested = (0..100).fold(Pattern::Variable(0), |p, _| repeat(p, 9, Some(9), true));
        assert!(Automaton::try_new(&nested).is_err());
        let optional = repeat(Pattern::Variable(0), 0, Some(9_000), true);
        assert!(Automaton::try_new(&Pattern::Concat(vec![optional, Pattern::Variable(1)])).is_ok());
        let options = (0..9_000).map(|v| repeat(Pattern::Variable(v), 0, Some(1), true)).collect();
        assert!(Automaton::try_new(&Pattern::Concat(options)).unwrap_err().to_string().contains("too many ways"));
    }
}
