//! Query hints: `SELECT /*+ STATE_TTL('a' = '1d', 'b' = '6h') */ …`, and `LOOKUP`, of which `lookup_hint.rs` knows more. Others are
//! passed over.
//!
//! Table hints: `FROM t /*+ OPTIONS('key' = 'value') */`. The tree has no place for them: the options travel as part of the
//! table's name, behind signs that no name has, until the table is looked up.

use std::ops::ControlFlow;

use datafusion_common::{Result, plan_err};
use datafusion_sql::sqlparser::ast::{
    Ident, ObjectName, OptimizerHintStyle, Query, Select, TableAlias, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::place::unknown;
use crate::plan::StateTtls;
use crate::table::options::parse_duration;

/// Stands before each option in the name of a table with a hint.
const OPTION: char = '\u{1}';
/// Stands between its key and its value.
const VALUE: char = '\u{2}';

/// The options in the text of a table hint.
pub(super) fn table_options(text: &str) -> std::result::Result<Vec<(String, String)>, String> {
    let expected = || "a table takes the hint OPTIONS('key' = 'value', …)".to_string();
    let tokens = Tokenizer::new(&GenericDialect {}, text.strip_prefix('+').unwrap_or(text)).tokenize();
    let tokens = tokens.map_err(|e| format!("the hint {text}: {e}"))?;
    let tokens: Vec<Token> = tokens.into_iter().filter(|t| !matches!(t, Token::Whitespace(_))).collect();
    let [Token::Word(name), Token::LParen, pairs @ .., Token::RParen] = tokens.as_slice() else {
        return Err(expected());
    };
    if !name.value.eq_ignore_ascii_case("OPTIONS") {
        return Err(expected());
    }
    let pair = |pair: &[Token]| match pair {
        [Token::SingleQuotedString(key), Token::Eq, Token::SingleQuotedString(value)] => {
            Ok((key.clone(), value.clone()))
        }
        _ => Err(expected()),
    };
    pairs.split(|t| *t == Token::Comma).map(pair).collect()
}

/// A table's name with the options of its hint.
pub(super) fn hinted(name: &str, options: &[(String, String)]) -> std::result::Result<String, String> {
    let mut hinted = name.to_string();
    for (key, value) in options {
        if [key, value].iter().any(|text| text.contains([OPTION, VALUE])) {
            return Err("the options of a table hint hold control characters".into());
        }
        hinted.extend([OPTION]);
        hinted.push_str(key);
        hinted.extend([VALUE]);
        hinted.push_str(value);
    }
    Ok(hinted)
}

/// Whether a name has the options of a hint.
pub(super) fn is_hinted(name: &str) -> bool {
    name.contains(OPTION)
}

/// A table's name without the options of its hint, and these.
pub(super) fn split(name: &str) -> (&str, Vec<(&str, &str)>) {
    let mut parts = name.split(OPTION);
    let bare = parts.next().unwrap_or(name);
    (bare, parts.filter_map(|p| p.split_once(VALUE)).collect())
}

/// Calls tables with hints by their own names, unless the query calls them otherwise.
pub(super) fn name_hinted(query: &mut Query) -> Result<()> {
    match VisitMut::visit(query, &mut OwnNames) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(message) => plan_err!("{message}"),
    }
}

struct OwnNames;

impl VisitorMut for OwnNames {
    type Break = String;

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<String> {
        if let TableFactor::Table { name, alias, .. } = table {
            match alias {
                Some(alias) if is_hinted(&alias.name.value) => {
                    return ControlFlow::Break(
                        "a table hint stands right behind the table's name, not its alias".into(),
                    );
                }
                Some(_) => {}
                None => *alias = own_name(name),
            }
        }
        ControlFlow::Continue(())
    }
}

/// What a table with a hint is called.
pub(super) fn own_name(name: &ObjectName) -> Option<TableAlias> {
    let ident = name.0.last()?.as_ident().filter(|ident| is_hinted(&ident.value))?;
    let name = Ident { value: split(&ident.value).0.to_string(), ..ident.clone() };
    Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None })
}

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
        for text in plain_hints(select) {
            for (name, span) in state_ttls(text)? {
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

/// The texts of a SELECT's hints.
pub(super) fn plain_hints(select: &Select) -> impl Iterator<Item = &str> {
    let hints = select.optimizer_hints.iter();
    hints.filter(|h| h.style == OptimizerHintStyle::MultiLine && h.prefix.is_empty()).map(|h| h.text.as_str())
}

/// The names and time spans in the `STATE_TTL`s of a hint's text.
fn state_ttls(text: &str) -> std::result::Result<Vec<(String, String)>, String> {
    Ok(calls(text, "STATE_TTL", "STATE_TTL('table' = '1 d', …)")?.into_iter().flatten().collect())
}

/// The pairs in each hint of a name in a hint's text, which is to be `written` so.
pub(super) fn calls(text: &str, name: &str, written: &str) -> std::result::Result<Vec<Vec<(String, String)>>, String> {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize().map_err(|e| format!("the hint {text}: {e}"))?;
    let tokens: Vec<Token> = tokens.into_iter().filter(|t| !matches!(t, Token::Whitespace(_))).collect();
    let pair = |pair: &[Token]| match pair {
        [Token::Word(key), Token::Eq, Token::SingleQuotedString(value)] => Ok((key.value.clone(), value.clone())),
        [Token::SingleQuotedString(key), Token::Eq, Token::SingleQuotedString(value)] => {
            Ok((key.clone(), value.clone()))
        }
        _ => Err(format!("the hint '{name}' is written {written}")),
    };
    let mut found = Vec::new();
    let mut rest = tokens.as_slice();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if !matches!(first, Token::Word(w) if w.value.eq_ignore_ascii_case(name)) {
            continue;
        }
        let end = rest.iter().position(|t| *t == Token::RParen).unwrap_or(rest.len());
        let (arguments, behind) = rest.split_at(end);
        let pairs = arguments.strip_prefix(&[Token::LParen]).unwrap_or_default().split(|t| *t == Token::Comma);
        found.push(pairs.map(pair).collect::<std::result::Result<_, _>>()?);
        rest = behind;
    }
    Ok(found)
}

/// What the relations in a FROM are called.
pub(super) fn relations(select: &Select) -> Vec<String> {
    let all = select.from.iter().flat_map(|t| std::iter::once(&t.relation).chain(t.joins.iter().map(|j| &j.relation)));
    all.flat_map(names).collect()
}

/// What a relation is called; several names where it is a join in brackets.
pub(super) fn names(relation: &TableFactor) -> Vec<String> {
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
    fn table_hints_are_read() {
        let text = "+ options('a' = 'b', 'scan.x'='1 s') ";
        let options = table_options(text).unwrap();
        let name = hinted("t", &options).unwrap();
        assert!(is_hinted(&name) && !is_hinted("t"));
        assert_eq!(split(&name), ("t", vec![("a", "b"), ("scan.x", "1 s")]));
        for wrong in ["+", "+ OPTIONS", "+ OPTIONS()", "+ OPTIONS('a')", "+ OPTIONS(a = 'b')", "+ FOO('a' = 'b')"] {
            assert!(table_options(wrong).unwrap_err().contains("takes the hint OPTIONS"), "{wrong}");
        }
        assert!(table_options("+ OPTIONS('a").is_err());
    }

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
