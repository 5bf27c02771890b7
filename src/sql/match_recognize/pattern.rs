//! Patterns and the names of their variables.

use std::collections::HashMap;

use datafusion_common::{DataFusionError, plan_datafusion_err};
use datafusion_sql::sqlparser::ast::{
    Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, MatchRecognizePattern,
    MatchRecognizeSymbol, RepetitionQuantifier,
};

use super::{DfResult, at};
use crate::operator::match_recognize::{MAX_DEPTH, Pattern, Variables};

/// How many variables PERMUTE takes.
const MAX_PERMUTED: usize = 6;

/// The variables of a pattern, numbered in the order in which they are mentioned.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Vec<String>,
    numbers: HashMap<String, usize>,
    subsets: HashMap<String, Variables>,
}

impl Names {
    /// A variable's number, if there is such a variable.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// The variables that a name stands for, if it stands for any.
    pub fn variables(&self, name: &str) -> Option<Variables> {
        let one = self.number(name).map(|number| Variables::Some(vec![number as u32]));
        one.or_else(|| self.subsets.get(name).cloned())
    }

    /// A variable's number.
    pub fn find(&self, name: &Ident) -> DfResult<usize> {
        let known = self.number(&name.value);
        known.ok_or_else(|| at(name.span, format!("PATTERN has no variable '{}'", name.value)))
    }

    /// Adds a name for several variables: `ROW(name, A, B)`.
    pub fn add_subset(&mut self, subset: &SqlExpr) -> DfResult<()> {
        let name = |arg: &FunctionArg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::Identifier(name))) => Some(name.clone()),
            _ => None,
        };
        let args = match subset {
            SqlExpr::Function(Function { args: FunctionArguments::List(list), .. }) => {
                list.args.iter().map(name).collect()
            }
            _ => None,
        };
        let args: Vec<Ident> = args.ok_or_else(|| plan_datafusion_err!("SUBSET takes names of variables"))?;
        let Some((name, members)) = args.split_first() else { return Ok(()) };
        if self.variables(&name.value).is_some() {
            return Err(at(name.span, format!("there is a variable or a subset '{}' already", name.value)));
        }
        let mut variables = members.iter().map(|m| Ok(self.find(m)? as u32)).collect::<DfResult<Vec<_>>>()?;
        variables.sort_unstable();
        variables.dedup();
        self.subsets.insert(name.value.clone(), Variables::Some(variables));
        Ok(())
    }

    pub fn into_names(self) -> Vec<String> {
        self.names
    }

    /// Reads a pattern, and the names of its variables with it.
    pub fn read(&mut self, pattern: &MatchRecognizePattern) -> DfResult<Pattern> {
        self.read_at(pattern, 0)
    }

    fn read_at(&mut self, pattern: &MatchRecognizePattern, depth: usize) -> DfResult<Pattern> {
        if depth > MAX_DEPTH {
            return Err(plan_datafusion_err!("PATTERN is nested more than {MAX_DEPTH} deep"));
        }
        let depth = depth + 1;
        Ok(match pattern {
            MatchRecognizePattern::Symbol(symbol) => self.symbol(symbol)?,
            MatchRecognizePattern::Exclude(symbol) => Pattern::Exclude(Box::new(self.symbol(symbol)?)),
            MatchRecognizePattern::Permute(symbols) => self.permute(symbols)?,
            MatchRecognizePattern::Concat(parts) => Pattern::Concat(self.all(parts, depth)?),
            MatchRecognizePattern::Alternation(parts) => Pattern::Alternation(self.all(parts, depth)?),
            MatchRecognizePattern::Group(inner) => self.read_at(inner, depth)?,
            MatchRecognizePattern::Repetition(inner, quantifier) => {
                let (inner, quantifier, greedy) = reluctant(inner, quantifier);
                let (min, max) = bounds(quantifier)?;
                let inner = Box::new(self.read_at(inner, depth)?);
                Pattern::Repeat { inner, min, max, greedy }
            }
        })
    }

    fn all(&mut self, parts: &[MatchRecognizePattern], depth: usize) -> DfResult<Vec<Pattern>> {
        parts.iter().map(|part| self.read_at(part, depth)).collect()
    }

    fn symbol(&mut self, symbol: &MatchRecognizeSymbol) -> DfResult<Pattern> {
        let name = match symbol {
            MatchRecognizeSymbol::Named(name) => name,
            MatchRecognizeSymbol::Start => return Err(unsupported("^")),
            MatchRecognizeSymbol::End => return Err(unsupported("$")),
        };
        let known = self.number(&name.value);
        let number = known.unwrap_or_else(|| {
            self.names.push(name.value.clone());
            self.numbers.insert(name.value.clone(), self.names.len() - 1);
            self.names.len() - 1
        });
        Ok(Pattern::Variable(number))
    }

    /// All orders of some variables; those in which earlier ones come first are preferred.
    fn permute(&mut self, symbols: &[MatchRecognizeSymbol]) -> DfResult<Pattern> {
        if symbols.len() > MAX_PERMUTED {
            return Err(plan_datafusion_err!("PERMUTE takes {MAX_PERMUTED} variables at most"));
        }
        let all = symbols.iter().map(|symbol| self.symbol(symbol)).collect::<DfResult<Vec<_>>>()?;
        Ok(Pattern::Alternation(orders(&all).into_iter().map(Pattern::Concat).collect()))
    }
}

fn orders(all: &[Pattern]) -> Vec<Vec<Pattern>> {
    if all.is_empty() {
        return vec![Vec::new()];
    }
    let with_first = |first: usize| {
        let rest: Vec<Pattern> =
            all.iter().enumerate().filter(|(at, _)| *at != first).map(|(_, p)| p.clone()).collect();
        orders(&rest).into_iter().map(move |order| std::iter::once(all[first].clone()).chain(order).collect())
    };
    (0..all.len()).flat_map(with_first).collect()
}

fn unsupported(anchor: &str) -> DataFusionError {
    plan_datafusion_err!(
        "PATTERN: the anchor {anchor} is not supported: a stream's partition has no end, and its first row is not kept"
    )
}

/// `A+?` is read as a repetition directly around another.
fn reluctant<'a>(
    inner: &'a MatchRecognizePattern,
    quantifier: &'a RepetitionQuantifier,
) -> (&'a MatchRecognizePattern, &'a RepetitionQuantifier, bool) {
    match (inner, quantifier) {
        (MatchRecognizePattern::Repetition(inner, own), RepetitionQuantifier::AtMostOne) => (inner, own, false),
        _ => (inner, quantifier, true),
    }
}

fn bounds(quantifier: &RepetitionQuantifier) -> DfResult<(u32, Option<u32>)> {
    let bounds = match quantifier {
        RepetitionQuantifier::ZeroOrMore => (0, None),
        RepetitionQuantifier::OneOrMore => (1, None),
        RepetitionQuantifier::AtMostOne => (0, Some(1)),
        RepetitionQuantifier::Exactly(n) => (*n, Some(*n)),
        RepetitionQuantifier::AtLeast(n) => (*n, None),
        RepetitionQuantifier::AtMost(n) => (0, Some(*n)),
        RepetitionQuantifier::Range(n, m) => (*n, Some(*m)),
    };
    match bounds {
        (_, Some(0)) => Err(plan_datafusion_err!("PATTERN: a repetition must take one row at least")),
        (n, Some(m)) if n > m => Err(plan_datafusion_err!("PATTERN: in {{{n},{m}}} the least is more than the most")),
        bounds => Ok(bounds),
    }
}
