//! A row pattern: what MATCH_RECOGNIZE looks for, over variables by number.

/// How deep a pattern may be nested.
pub const MAX_DEPTH: usize = 200;

/// A row pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// A row that satisfies a variable's condition.
    Variable(usize),
    /// One pattern after the other.
    Concat(Vec<Pattern>),
    /// One of several patterns; the first is preferred.
    Alternation(Vec<Pattern>),
    /// A pattern several times.
    Repeat {
        /// What is repeated.
        inner: Box<Pattern>,
        /// How often at least.
        min: u32,
        /// How often at most; `None` without a limit.
        max: Option<u32>,
        /// Whether more is preferred to less.
        greedy: bool,
    },
    /// Rows that are matched, and left out of `ALL ROWS PER MATCH`.
    Exclude(Box<Pattern>),
}

impl Pattern {
    /// How many variables there are when all repetitions are written out.
    pub fn positions(&self) -> u64 {
        match self {
            Pattern::Variable(_) => 1,
            Pattern::Concat(parts) | Pattern::Alternation(parts) => {
                parts.iter().fold(0, |sum, p| sum.saturating_add(p.positions()))
            }
            Pattern::Repeat { inner, min, max, .. } => {
                let times = max.unwrap_or_else(|| (*min).max(1)).max(1);
                inner.positions().saturating_mul(u64::from(times))
            }
            Pattern::Exclude(inner) => inner.positions(),
        }
    }

    /// Whether it matches no rows at all.
    pub fn matches_nothing(&self) -> bool {
        match self {
            Pattern::Variable(_) => false,
            Pattern::Concat(parts) => parts.iter().all(Pattern::matches_nothing),
            Pattern::Alternation(parts) => parts.iter().any(Pattern::matches_nothing),
            Pattern::Repeat { inner, min, .. } => *min == 0 || inner.matches_nothing(),
            Pattern::Exclude(inner) => inner.matches_nothing(),
        }
    }

    /// The most rows that a match may have; `None` without a limit.
    pub fn longest(&self) -> Option<u64> {
        match self {
            Pattern::Variable(_) => Some(1),
            Pattern::Concat(parts) => parts.iter().try_fold(0u64, |sum, p| Some(sum.saturating_add(p.longest()?))),
            Pattern::Alternation(parts) => parts.iter().try_fold(0u64, |most, p| Some(most.max(p.longest()?))),
            Pattern::Repeat { inner, max, .. } => Some(inner.longest()?.saturating_mul(u64::from((*max)?))),
            Pattern::Exclude(inner) => inner.longest(),
        }
    }

    /// The fewest rows that a match may have.
    pub fn shortest(&self) -> u64 {
        match self {
            Pattern::Variable(_) => 1,
            Pattern::Concat(parts) => parts.iter().fold(0u64, |sum, p| sum.saturating_add(p.shortest())),
            Pattern::Alternation(parts) => parts.iter().map(Pattern::shortest).min().unwrap_or(0),
            Pattern::Repeat { inner, min, .. } => inner.shortest().saturating_mul(u64::from(*min)),
            Pattern::Exclude(inner) => inner.shortest(),
        }
    }

    /// Whether Flink takes it: single variables one after the other, each once, none of them with a quantifier that Flink's
    /// automaton does not know.
    pub fn is_flinks(&self) -> bool {
        let parts = match self {
            Pattern::Concat(parts) => parts.as_slice(),
            one => std::slice::from_ref(one),
        };
        let mut seen = Vec::new();
        let mut greedy_before = false;
        for (at, part) in parts.iter().enumerate() {
            let (variable, min, max, greedy) = match part {
                Pattern::Variable(variable) => (*variable, 1, Some(1), false),
                Pattern::Repeat { inner, min, max, greedy } => match inner.as_ref() {
                    Pattern::Variable(variable) => (*variable, *min, *max, *greedy),
                    _ => return false,
                },
                _ => return false,
            };
            let optional = (min, max) == (0, Some(1));
            let holds_on = greedy && !optional && max != Some(min);
            let last = at + 1 == parts.len();
            let refused = seen.contains(&variable)
                || max == Some(0)
                || (optional && !greedy)
                || (holds_on && last)
                || (min == 0 && greedy_before);
            if refused {
                return false;
            }
            seen.push(variable);
            greedy_before = holds_on;
        }
        !self.matches_nothing()
    }
}
