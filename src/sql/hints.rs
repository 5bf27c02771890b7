//! Query hints: `SELECT /*+ STATE_TTL('a' = '1d', 'b' = '6h') */ …`. Others than `STATE_TTL` are passed over.

use std::ops::ControlFlow;

use datafusion_common::{Result, plan_err};
use datafusion_sql::sqlparser::ast::{ObjectName, OptimizerHintStyle, Query, Select, TableFactor, Visit, Visitor};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::place::unknown;
use crate::plan::StateTtls;
use crate::table::options::parse_duration;

/// Adds what the hints of a query say to `ttls`.
pub(super) fn read_state_ttls(query: &Query, ttls: &mut StateTtls) -> Result<()> {
    match query.visit(&mut Hints(ttls)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(message) => plan_err!("{message}"),
    }
}

struct Hints<'a>(&'a mut StateTtls);

impl Visitor for Hints<'_> {
    type Break = String;

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        match self.read(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(message) => ControlFlow::Break(message),
        }
    }
}

impl Hints<'_> {
    fn read(&mut self, select: &Select) -> std::result::Result<(), String> {
        let hints = select.optimizer_hints.iter();
        for hint in hints.filter(|h| h.style == OptimizerHintStyle::MultiLine && h.prefix.is_empty()) {
            for (name, span) in state_ttls(&hint.text)? {
                let known = relations(select);
                if !known.contains(&name) {
                    let unknown = unknown("table or alias", &name, known.iter().map(String::as_str));
                    return Err(format!("the hint STATE_TTL: {unknown}"));
                }
                let Some(ttl) = parse_duration(span.trim()).and_then(|d| i64::try_from(d.as_millis()).ok()) else {
                    return Err(format!("'{span}' in the hint STATE_TTL is no time span such as '1 d'"));
                };
                let ttl = Some(ttl).filter(|ttl| *ttl > 0);
                if self.0.insert(name.clone(), ttl).is_some_and(|before| before != ttl) {
                    return Err(format!("the hints STATE_TTL of this statement give '{name}' two time spans"));
                }
            }
        }
        Ok(())
    }
}

/// The names and time spans in the `STATE_TTL`s of a hint's text.
fn state_ttls(text: &str) -> std::result::Result<Vec<(String, String)>, String> {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize().map_err(|e| format!("the hint {text}: {e}"))?;
    let tokens: Vec<Token> = tokens.into_iter().filter(|t| !matches!(t, Token::Whitespace(_))).collect();
    let mut found = Vec::new();
    let mut rest = tokens.as_slice();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if !matches!(first, Token::Word(w) if w.value.eq_ignore_ascii_case("STATE_TTL")) {
            continue;
        }
        let end = rest.iter().position(|t| *t == Token::RParen).unwrap_or(rest.len());
        let (arguments, behind) = rest.split_at(end);
        let pairs = arguments.strip_prefix(&[Token::LParen]).unwrap_or_default().split(|t| *t == Token::Comma);
        for pair in pairs {
            found.push(match pair {
                [Token::Word(name), Token::Eq, Token::SingleQuotedString(span)] => (name.value.clone(), span.clone()),
                [Token::SingleQuotedString(name), Token::Eq, Token::SingleQuotedString(span)] => {
                    (name.clone(), span.clone())
                }
                _ => return Err("the hint STATE_TTL is written STATE_TTL('table' = '1 d', …)".into()),
            });
        }
        rest = behind;
    }
    Ok(found)
}

/// What the relations in a FROM are called.
fn relations(select: &Select) -> Vec<String> {
    let all = select.from.iter().flat_map(|t| std::iter::once(&t.relation).chain(t.joins.iter().map(|j| &j.relation)));
    all.flat_map(names).collect()
}

fn names(relation: &TableFactor) -> Vec<String> {
    let last = |name: &ObjectName| Some(name.0.last()?.as_ident()?.value.clone());
    match relation {
        TableFactor::Table { name, alias, .. } => match alias {
            Some(alias) => vec![alias.name.value.clone()],
            None => last(name).into_iter().collect(),
        },
        TableFactor::NestedJoin { table_with_joins: nested, .. } => {
            let all = std::iter::once(&nested.relation).chain(nested.joins.iter().map(|j| &j.relation));
            all.flat_map(names).collect()
        }
        TableFactor::Derived { alias, .. }
        | TableFactor::TableFunction { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::MatchRecognize { alias, .. } => alias.iter().map(|a| a.name.value.clone()).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_read_and_others_passed_over() {
        let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
        let text = " BROADCAST(x, y), state_ttl('a' = '1d', b='6 h'), OPTIONS('STATE_TTL' = 'x') ";
        assert_eq!(state_ttls(text).unwrap(), [pair("a", "1d"), pair("b", "6 h")]);
        for wrong in ["STATE_TTL", "STATE_TTL()", "STATE_TTL('a')", "STATE_TTL('a' = 1", "STATE_TTL('a' = '1d',)"] {
            assert!(state_ttls(wrong).is_err(), "{wrong}");
        }
        assert!(state_ttls("STATE_TTL('a").is_err());
    }
}
