//! The query hint `LOOKUP`: how a table of its SELECT is looked up.
//!
//! The tree has no place for it at the join: its options travel as part of the time's name in `FOR SYSTEM_TIME AS OF`, as those
//! of table hints do in the table's, until the join is planned.

use std::ops::ControlFlow;
use std::time::Duration;

use datafusion_common::{Result, plan_err};
use datafusion_sql::sqlparser::ast::{
    Expr as SqlExpr, Ident, Query, Select, TableFactor, TableVersion, TableWithJoins, VisitMut, VisitorMut,
};

use super::hints::{calls, hinted, is_hinted, names, plain_hints, relations, split};
use super::place::unknown;
use crate::plan::LookupHint;
use crate::runtime::circuit::RetryMiss;
use crate::table::options::{nearest, parse_duration};

const NAME: &str = "LOOKUP";
const TABLE: &str = "table";
const ASYNC: &str = "async";
const OUTPUT_MODE: &str = "output-mode";
const CAPACITY: &str = "capacity";
const TIMEOUT: &str = "timeout";
const SHUFFLE: &str = "shuffle";
const PREDICATE: &str = "retry-predicate";
const STRATEGY: &str = "retry-strategy";
const DELAY: &str = "fixed-delay";
const ATTEMPTS: &str = "max-attempts";
/// All four are given, or none.
const RETRY: [&str; 4] = [PREDICATE, STRATEGY, DELAY, ATTEMPTS];
const ALL: [&str; 10] = [TABLE, ASYNC, OUTPUT_MODE, CAPACITY, TIMEOUT, SHUFFLE, PREDICATE, STRATEGY, DELAY, ATTEMPTS];

type Pairs = Vec<(String, String)>;
type Said<T> = std::result::Result<T, String>;

/// Notes what the hints of a query say at the tables that they name.
pub(super) fn mark_lookups(query: &mut Query) -> Result<()> {
    match VisitMut::visit(query, &mut Marks) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(message) => plan_err!("{message}"),
    }
}

struct Marks;

impl VisitorMut for Marks {
    type Break = String;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<String> {
        match mark(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(message) => ControlFlow::Break(message),
        }
    }
}

fn mark(select: &mut Select) -> Said<()> {
    let texts: Vec<String> = plain_hints(select).map(String::from).collect();
    for text in texts {
        for pairs in calls(&text, NAME, "LOOKUP('table' = 'name', 'key' = 'value', …)")? {
            read(&pairs)?;
            let table = value(&pairs, TABLE).ok_or_else(|| format!("the hint '{NAME}' says no '{TABLE}'"))?;
            mark_table(select, table, &pairs)?;
        }
    }
    Ok(())
}

fn mark_table(select: &mut Select, table: &str, pairs: &Pairs) -> Said<()> {
    let known = relations(select);
    let mut found = select.from.iter_mut().flat_map(versions).filter(|(names, _)| names.iter().any(|n| n == table));
    let Some((_, time)) = found.next() else {
        return Err(match known.iter().any(|n| n == table) {
            true => format!("the hint {NAME} names '{table}', which has no FOR SYSTEM_TIME AS OF a processing time"),
            false => format!("the hint {NAME}: {}", unknown("table or alias", table, known.iter().map(String::as_str))),
        });
    };
    if is_hinted(&time.value) {
        return Err(format!("two hints {NAME} name '{table}'"));
    }
    time.value = hinted(&time.value, pairs)?;
    Ok(())
}

/// The tables in a FROM that are as of a time: what they are called, and the time's name.
fn versions(from: &mut TableWithJoins) -> Vec<(Vec<String>, &mut Ident)> {
    let TableWithJoins { relation, joins } = from;
    let relations = std::iter::once(relation).chain(joins.iter_mut().map(|j| &mut j.relation));
    relations.flat_map(version).collect()
}

fn version(relation: &mut TableFactor) -> Vec<(Vec<String>, &mut Ident)> {
    let called = names(relation);
    match relation {
        TableFactor::Table { version: Some(TableVersion::ForSystemTimeAsOf(time)), .. } => match time {
            SqlExpr::Identifier(name) => vec![(called, name)],
            SqlExpr::CompoundIdentifier(parts) => parts.last_mut().map(|name| (called, name)).into_iter().collect(),
            _ => Vec::new(),
        },
        TableFactor::NestedJoin { table_with_joins, .. } => versions(table_with_joins),
        _ => Vec::new(),
    }
}

/// Takes what a hint says from the name that it travels with.
pub(super) fn take(time: &mut Ident) -> Said<Option<LookupHint>> {
    if !is_hinted(&time.value) {
        return Ok(None);
    }
    let (bare, pairs) = split(&time.value);
    let pairs = pairs.into_iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let hint = read(&pairs)?;
    time.value = bare.to_string();
    Ok(Some(hint))
}

fn value<'a>(pairs: &'a Pairs, key: &str) -> Option<&'a str> {
    pairs.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, value)| value.trim())
}

/// What a hint says.
fn read(pairs: &Pairs) -> Said<LookupHint> {
    for (at, (key, _)) in pairs.iter().enumerate() {
        if !ALL.iter().any(|known| known.eq_ignore_ascii_case(key)) {
            let near = nearest(key, ALL).map_or(String::new(), |near| format!("; did you mean '{near}'?"));
            return Err(format!("unknown option '{key}' in the hint {NAME}{near}"));
        }
        if pairs[..at].iter().any(|(before, _)| before.eq_ignore_ascii_case(key)) {
            return Err(format!("'{key}' stands twice in a hint {NAME}"));
        }
    }
    let boolean = |key| parsed(pairs, key, "true or false", |text| text.to_ascii_lowercase().parse::<bool>().ok());
    let is_async = boolean(ASYNC)?;
    // Rows are asked for by one for all workers, as if they had been sent to it by key.
    boolean(SHUFFLE)?;
    // The order is kept in both: that is allowed too.
    parsed(pairs, OUTPUT_MODE, "ordered or allow_unordered", one_of(&["ordered", "allow_unordered"]))?;
    let capacity = parsed(pairs, CAPACITY, "a whole number of at least 1", positive::<usize>)?;
    if is_async == Some(false) && capacity.is_some() {
        return Err(format!(
            "'{CAPACITY}' in the hint {NAME} says nothing where 'async' is 'false': one request is made at a time"
        ));
    }
    let timeout = parsed(pairs, TIMEOUT, "a time span such as '3 min'", span)?;
    parsed(pairs, PREDICATE, "lookup_miss", one_of(&["lookup_miss"]))?;
    parsed(pairs, STRATEGY, "fixed_delay", one_of(&["fixed_delay"]))?;
    let delay = parsed(pairs, DELAY, "a time span such as '10 s'", span)?;
    let attempts = parsed(pairs, ATTEMPTS, "a whole number of at least 1", positive::<u32>)?;
    let given: Vec<&str> = RETRY.into_iter().filter(|key| value(pairs, key).is_some()).collect();
    if let (Some(first), true) = (given.first(), given.len() < RETRY.len()) {
        return Err(format!(
            "'{first}' in the hint {NAME} needs all of {}",
            RETRY.map(|k| format!("'{k}'")).join(", ")
        ));
    }
    let retry_miss = delay.zip(attempts).map(|(delay, attempts)| RetryMiss { delay, attempts });
    Ok(LookupHint { is_async, capacity, timeout, retry_miss })
}

fn parsed<T>(pairs: &Pairs, key: &str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Said<Option<T>> {
    let Some(text) = value(pairs, key) else { return Ok(None) };
    match parse(text) {
        Some(value) => Ok(Some(value)),
        None => Err(format!("'{key}' = '{text}' in the hint {NAME}: expected {expected}")),
    }
}

fn one_of(names: &'static [&'static str]) -> impl Fn(&str) -> Option<()> {
    move |text| names.iter().any(|name| name.eq_ignore_ascii_case(text)).then_some(())
}

fn positive<T: std::str::FromStr + PartialEq + Default>(text: &str) -> Option<T> {
    text.parse().ok().filter(|n| *n != T::default())
}

fn span(text: &str) -> Option<Duration> {
    parse_duration(text).filter(|span| !span.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Pairs {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn options_are_read() {
        let all = pairs(&[
            ("table", "t"),
            ("async", "TRUE"),
            ("output-mode", "allow_unordered"),
            ("capacity", "5"),
            ("timeout", "3 min"),
            ("shuffle", "true"),
            ("retry-predicate", "lookup_miss"),
            ("retry-strategy", "fixed_delay"),
            ("fixed-delay", "10s"),
            ("max-attempts", "3"),
        ]);
        let retry_miss = Some(RetryMiss { delay: Duration::from_secs(10), attempts: 3 });
        let hint =
            LookupHint { is_async: Some(true), capacity: Some(5), timeout: Some(Duration::from_secs(180)), retry_miss };
        assert_eq!(read(&all).unwrap(), hint);
        let mut time = Ident::new(hinted("p", &all).unwrap());
        assert_eq!(take(&mut time).unwrap(), Some(hint));
        assert_eq!(time.value, "p");
        assert_eq!(take(&mut time).unwrap(), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = [
            (vec![("asink", "true")], "unknown option 'asink' in the hint LOOKUP; did you mean 'async'?"),
            (vec![("async", "maybe")], "'async' = 'maybe' in the hint LOOKUP: expected true or false"),
            (vec![("async", "true"), ("ASYNC", "true")], "'ASYNC' stands twice"),
            (vec![("capacity", "0")], "'capacity' = '0'"),
            (vec![("async", "false"), ("capacity", "2")], "one request is made at a time"),
            (vec![("timeout", "0s")], "'timeout' = '0s'"),
            (vec![("output-mode", "sometimes")], "'output-mode' = 'sometimes'"),
            (vec![("shuffle", "1")], "'shuffle' = '1'"),
            (vec![("retry-predicate", "lookup_miss")], "'retry-predicate' in the hint LOOKUP needs all of"),
            (vec![("max-attempts", "3"), ("fixed-delay", "1s")], "'fixed-delay' in the hint LOOKUP needs all of"),
            (vec![("retry-predicate", "other")], "expected lookup_miss"),
            (vec![("fixed-delay", "-1s")], "'fixed-delay' = '-1s'"),
            (vec![("max-attempts", "0")], "'max-attempts' = '0'"),
        ];
        for (options, said) in wrong {
            let error = read(&pairs(&options)).unwrap_err();
            assert!(error.contains(said), "{options:?}: {error}");
        }
    }
}
