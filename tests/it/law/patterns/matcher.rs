//! Matches by trying everything, as slow as that is.

use super::pattern::{Bound, Condition, Pattern, Row};

/// What is looked for, and how.
#[derive(Debug, Clone)]
pub struct Query {
    pub pattern: Pattern,
    /// By variable.
    pub conditions: Vec<Option<Condition>>,
    pub within: Option<i64>,
    pub skip: Skip,
    /// Whether Flink takes the pattern.
    pub flink: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Skip {
    PastLast,
    ToNext,
    ToFirst(usize),
    ToLast(usize),
}

/// A match: its first row, and the variables of its rows.
#[derive(Debug, Clone)]
pub struct Match {
    pub start: usize,
    pub variables: Vec<usize>,
}

struct Try<'a> {
    query: &'a Query,
    rows: &'a [Row],
    start: usize,
    bound: Vec<usize>,
    /// Whether a way was cut off by the end of the rows.
    cut: bool,
    steps: usize,
}

/// What is still to be matched: patterns, and guards of Flink's greedy repetitions.
#[derive(Clone)]
enum Rest<'a> {
    End,
    Then(&'a Pattern, std::rc::Rc<Rest<'a>>),
    /// Only if the next row does not satisfy the variable.
    Unless(usize, std::rc::Rc<Rest<'a>>),
    /// More of a repetition that has taken so many, the last of which began with so many rows.
    Again(&'a Pattern, usize, usize, std::rc::Rc<Rest<'a>>),
}

/// How many steps are tried from one row on.
const MAX_STEPS: usize = 200_000;

impl<'a> Try<'a> {
    fn holds(&mut self, variable: usize) -> Option<bool> {
        let at = self.start + self.bound.len();
        let row = self.rows.get(at)?;
        if self.query.within.is_some_and(|w| row.time - self.rows[self.start].time >= w) {
            return None;
        }
        let Some(condition) = &self.query.conditions[variable] else { return Some(true) };
        self.bound.push(variable);
        let holds = condition.of(&Bound { rows: self.rows, start: self.start, variables: &self.bound });
        self.bound.pop();
        Some(holds == Some(true))
    }

    /// Calls `found` with all matches, the preferred first, until it says that it is enough. Gives whether it is.
    fn go(&mut self, rest: &Rest<'a>, found: &mut dyn FnMut(&[usize]) -> bool) -> bool {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return true;
        }
        match rest {
            Rest::End => found(&self.bound),
            Rest::Unless(variable, rest) => match self.holds(*variable) {
                Some(true) => false,
                Some(false) => self.go(rest, found),
                // There is no next row to be taken, or none yet.
                None => self.go(rest, found),
            },
            Rest::Then(pattern, rest) => self.one(pattern, rest, found),
            Rest::Again(pattern, taken, began, rest) => {
                // Nothing is repeated that takes no rows.
                let empty = *taken > 0 && *began == self.bound.len();
                self.repeat(pattern, *taken, empty, rest, found)
            }
        }
    }

    fn one(
        &mut self,
        pattern: &'a Pattern,
        rest: &std::rc::Rc<Rest<'a>>,
        found: &mut dyn FnMut(&[usize]) -> bool,
    ) -> bool {
        match pattern {
            Pattern::Variable(variable) => match self.holds(*variable) {
                Some(true) => {
                    self.bound.push(*variable);
                    let enough = self.go(rest, found);
                    self.bound.pop();
                    enough
                }
                Some(false) => false,
                None => {
                    self.cut |= self.start + self.bound.len() >= self.rows.len();
                    false
                }
            },
            Pattern::Concat(parts) => {
                let rest = parts
                    .iter()
                    .rev()
                    .fold(std::rc::Rc::clone(rest), |rest, part| std::rc::Rc::new(Rest::Then(part, rest)));
                self.go(&rest, found)
            }
            Pattern::Either(parts) => parts.iter().any(|part| self.one(part, rest, found)),
            Pattern::Repeat(..) => self.repeat(pattern, 0, false, rest, found),
        }
    }

    fn repeat(
        &mut self,
        pattern: &'a Pattern,
        taken: usize,
        empty: bool,
        rest: &std::rc::Rc<Rest<'a>>,
        found: &mut dyn FnMut(&[usize]) -> bool,
    ) -> bool {
        let Pattern::Repeat(inner, min, max, greedy) = pattern else { return false };
        let may_more = max.is_none_or(|max| taken < max) && !(empty && taken >= *min);
        let may_less = taken >= *min;
        let ranged = *greedy && *max != Some(*min) && (*min, *max) != (0, Some(1));
        let after = match inner.as_ref() {
            Pattern::Variable(v) if self.query.flink && ranged => {
                std::rc::Rc::new(Rest::Unless(*v, std::rc::Rc::clone(rest)))
            }
            _ => std::rc::Rc::clone(rest),
        };
        let again = std::rc::Rc::new(Rest::Again(pattern, taken + 1, self.bound.len(), std::rc::Rc::clone(rest)));
        let more_first = *greedy || self.query.flink;
        [more_first, !more_first].into_iter().any(|more| match more {
            true => may_more && self.one(inner, &again, found),
            false => may_less && self.go(&after, found),
        })
    }
}

/// The matches in the rows of a partition; `None` where there is too much to try, or the query fails.
pub fn matches(query: &Query, rows: &[Row]) -> Option<Vec<Match>> {
    let mut all = Vec::new();
    let mut start = 0;
    while start < rows.len() {
        let mut search = Try { query, rows, start, bound: Vec::new(), cut: false, steps: 0 };
        let mut best: Option<Vec<usize>> = None;
        let flink = query.flink;
        search.go(&Rest::Then(&query.pattern, std::rc::Rc::new(Rest::End)), &mut |bound| {
            // Flink takes the first that is complete.
            if best.as_ref().is_none_or(|best| flink && bound.len() < best.len()) {
                best = Some(bound.to_vec());
            }
            !flink
        });
        if search.steps > MAX_STEPS {
            return None;
        }
        match best {
            Some(variables) => {
                let end = start + variables.len();
                let place = |wanted: usize, first: bool| {
                    let places = variables.iter().enumerate().filter(|(_, v)| **v == wanted).map(|(at, _)| at);
                    let mut places = places.collect::<Vec<_>>();
                    if !first {
                        places.reverse();
                    }
                    places.first().copied().filter(|at| *at > 0).map(|at| start + at)
                };
                let next = match query.skip {
                    _ if variables.is_empty() => start + 1,
                    Skip::PastLast => end,
                    Skip::ToNext => start + 1,
                    Skip::ToFirst(v) => place(v, true)?,
                    Skip::ToLast(v) => place(v, false)?,
                };
                all.push(Match { start, variables });
                start = next;
            }
            // Flink waits for rows that do not come.
            None if flink && query.within.is_none() && search.cut => return Some(all),
            None => start += 1,
        }
    }
    Some(all)
}
