//! Random queries over relations: joins, conditions, subqueries, set operations.

use rand::Rng;

use super::Random;
use super::aggregates::{grouped, keyed};
use super::expr::{Column, Scope, literal, one};
use super::query::{Item, Query, Select, Source};
use super::ranks::{by_time, limited, over, ranked};
use super::table::Kind;

/// A table or view.
#[derive(Debug, Clone)]
pub struct Relation {
    /// As it is written in FROM.
    pub text: String,
    pub columns: Vec<(String, Kind)>,
    /// Columns whose values no two rows share.
    pub unique: Option<Vec<String>>,
    /// How many rows it has, about at most.
    pub size: usize,
}

/// A query, and what is known of its result.
#[derive(Debug, Clone)]
pub struct Drawn {
    pub query: Query,
    pub unique: Option<Vec<String>>,
    pub size: usize,
}

/// A query over some of the relations, the later rather than the earlier.
pub fn draw(relations: &[Relation], rng: &mut Random) -> Drawn {
    match rng.random_range(0..20) {
        0..3 => plain(relations, rng),
        3..7 => grouped(relations, rng),
        7..11 => joined(relations, rng),
        11..13 => set(relations, rng),
        13..16 => ranked(relations, rng),
        16 => limited(relations, rng),
        17 => keyed(relations, rng),
        _ => over(relations, rng),
    }
}

pub fn pick<'a>(relations: &'a [Relation], rng: &mut Random) -> &'a Relation {
    if rng.random_bool(0.5) { &relations[relations.len() - 1] } else { one(relations, rng) }
}

/// What can be read of a relation under an alias.
pub fn scope(relation: &Relation, alias: &str) -> Scope {
    let text = |name: &String| if alias.is_empty() { name.clone() } else { format!("{alias}.{name}") };
    let columns = relation.columns.iter().map(|(name, kind)| Column { text: text(name), kind: *kind }).collect();
    let all = || {
        let orderable = relation.columns.iter().all(|(_, kind)| *kind != Kind::Opaque);
        orderable.then(|| relation.columns.iter().map(|(name, _)| text(name)).collect())
    };
    let total = relation.unique.as_ref().map(|columns| columns.iter().map(text).collect()).or_else(all);
    // There must be something to write behind ORDER BY.
    let total = total.filter(|_| relation.columns.iter().any(|(_, kind)| *kind != Kind::Opaque));
    Scope { columns, total }
}

pub fn item(expr: impl Into<String>, name: impl Into<String>) -> Item {
    Item { expr: expr.into(), name: name.into(), inexact: false }
}

pub fn source(relation: &Relation, alias: &str) -> Source {
    Source { relation: relation.text.clone(), alias: alias.into(), join: "", on: Vec::new() }
}

/// One relation or several that are joined, with some conditions.
pub struct From {
    pub select: Select,
    pub scope: Scope,
    pub unique: Option<Vec<String>>,
    pub size: usize,
}

/// One relation, often with a condition.
pub fn single(relations: &[Relation], rng: &mut Random) -> From {
    let relation = pick(relations, rng);
    let scope = scope(relation, "a");
    let filter = conditions(relations, &scope, rng);
    let select = Select { from: vec![source(relation, "a")], filter, ..Select::default() };
    let unique = relation.unique.as_ref().map(|u| u.iter().map(|c| format!("a.{c}")).collect());
    From { select, scope, unique, size: relation.size }
}

/// Conditions of WHERE, now and then with a subquery.
fn conditions(relations: &[Relation], scope: &Scope, rng: &mut Random) -> Vec<String> {
    let mut filter = Vec::new();
    if rng.random_bool(0.4) {
        filter.push(scope.condition(rng));
    }
    if rng.random_bool(0.12) {
        let asked = subquery(relations, scope, rng);
        filter.push(match rng.random_range(0..12) {
            0 | 1 => format!("({asked} OR {})", scope.condition(rng)),
            2 => format!("NOT ({asked} AND {})", scope.condition(rng)),
            _ => asked,
        });
    }
    filter
}

/// A condition with a subquery.
fn subquery(relations: &[Relation], outer: &Scope, rng: &mut Random) -> String {
    let relation = pick(relations, rng);
    let inner = scope(relation, "q");
    let Some(Column { text, kind }) = outer.column(rng).cloned() else { return "1 = 1".into() };
    let from = format!("FROM {} AS q", relation.text);
    let not = *one(&["", "", "NOT "], rng);
    let correlated = inner.column(rng).and_then(|c| {
        let same = outer.of(c.kind);
        (!same.is_empty()).then(|| format!("q.{} = {}", c.text.trim_start_matches("q."), one(&same, rng)))
    });
    let mut conditions = Vec::new();
    if rng.random_bool(0.4) {
        conditions.push(inner.condition(rng));
    }
    let of_kind = inner.of(kind);
    let compared = *one(&["=", "<", ">=", "<>"], rng);
    let form = rng.random_range(0..4);
    let correlates = form >= 2 || rng.random_bool(0.2);
    if correlates {
        conditions.extend(correlated.clone());
    }
    let condition = match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    };
    match form {
        0 if !of_kind.is_empty() => format!("{text} {not}IN (SELECT {} {from}{condition})", one(&of_kind, rng)),
        1 if !of_kind.is_empty() && kind != Kind::Bool => {
            let call = *one(&["MAX", "MIN"], rng);
            format!("{text} {compared} (SELECT {call}({}) {from}{condition})", one(&of_kind, rng))
        }
        2 if kind == Kind::Big => format!("{text} {compared} (SELECT COUNT(*) {from}{condition})"),
        _ => format!("{not}EXISTS (SELECT 1 {from}{condition})"),
    }
}

/// The rows of a timed table in ways that follow its watermark.
pub fn timed(table: &Relation, rng: &mut Random) -> Drawn {
    let scope = scope(table, "a");
    let filter = if rng.random_bool(0.3) { vec![scope.condition(rng)] } else { Vec::new() };
    let select = Select { from: vec![source(table, "a")], filter, ..Select::default() };
    let unique = table.unique.as_ref().map(|u| u.iter().map(|c| format!("a.{c}")).collect());
    by_time(From { select, scope, unique, size: table.size }, rng)
}

/// Two or three relations, joined.
pub fn several(relations: &[Relation], rng: &mut Random) -> From {
    let first = pick(relations, rng);
    let mut all = scope(first, "a");
    let mut select = Select { from: vec![source(first, "a")], ..Select::default() };
    let own = |r: &Relation, alias: &str| {
        r.unique.as_ref().map(|u| u.iter().map(|c| format!("{alias}.{c}")).collect::<Vec<_>>())
    };
    let mut unique = own(first, "a");
    let mut size = first.size;
    for alias in if rng.random_bool(0.3) { &["b", "c"][..] } else { &["b"] } {
        let second = one(relations, rng);
        let scope = scope(second, alias);
        let mut join = *one(&["JOIN", "JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"], rng);
        if size * second.size > 4000 {
            // Only a join by something unique stays small.
            let by_id = all.columns.iter().any(|c| c.text == "a.id");
            if !by_id || second.unique.as_deref() != Some(&["id".to_string()]) || unique.is_none() {
                break;
            }
            let on = vec![format!("a.id = {alias}.id")];
            select.from.push(Source { join, on, ..source(second, alias) });
        } else {
            let on = join_condition(&all, &scope, rng);
            if on.is_empty() {
                join = "CROSS JOIN";
            }
            size = size * second.size + size;
            select.from.push(Source { join, on, ..source(second, alias) });
        }
        // Of padded rows the columns of one side are NULL: together they still tell the rows apart.
        unique = unique.zip(own(second, alias)).map(|(a, b)| a.into_iter().chain(b).collect());
        all.total = all.total.zip(scope.total).map(|(a, b)| a.into_iter().chain(b).collect());
        all.columns.extend(scope.columns);
    }
    select.filter = conditions(relations, &all, rng);
    From { select, scope: all, unique, size }
}

/// Equal keys, and now and then more; none for a cross join.
fn join_condition(left: &Scope, right: &Scope, rng: &mut Random) -> Vec<String> {
    let mut pairs = Vec::new();
    for l in left.plain() {
        pairs.extend(right.of(l.kind).into_iter().map(|r| (l.text.clone(), r.to_string())));
    }
    let mut on = Vec::new();
    let cross = pairs.is_empty() || rng.random_bool(0.05);
    for _ in 0..if cross { 0 } else { *one(&[1, 1, 1, 2], rng) } {
        let (l, r) = one(&pairs, rng);
        let equals = if rng.random_bool(0.08) { "IS NOT DISTINCT FROM" } else { "=" };
        on.push(format!("{l} {equals} {r}"));
    }
    let more = if cross { 0.3 } else { 0.25 };
    if rng.random_bool(more) && !pairs.is_empty() {
        let (l, r) = one(&pairs, rng);
        on.push(format!("{l} {} {r}", one(&["<", ">", "<>", "<="], rng)));
    }
    if rng.random_bool(0.1) && !on.is_empty() {
        on.push(if rng.random_bool(0.5) { left.condition(rng) } else { right.condition(rng) });
    }
    on
}

/// The columns of a result: each of the scope's with some chance, expressions, and which of them tell rows apart.
pub fn project(from: &mut From, relations: &[Relation], rng: &mut Random) -> Option<Vec<String>> {
    let mut items = Vec::new();
    let mut names = Vec::new();
    for column in &from.scope.columns {
        let needed = from.unique.as_ref().is_some_and(|u| u.contains(&column.text));
        if rng.random_bool(if needed { 0.85 } else { 0.5 }) {
            let name = format!("c{}", items.len());
            names.push((column.text.clone(), name.clone()));
            items.push(Item { expr: column.text.clone(), name, inexact: column.kind == Kind::Opaque });
        }
    }
    for _ in 0..rng.random_range(0..3) {
        let kind = *one(&Kind::ALL, rng);
        items.push(item(from.scope.expr(kind, rng), format!("c{}", items.len())));
    }
    if rng.random_bool(0.06) {
        items.push(item(scalar(relations, &from.scope, rng), format!("c{}", items.len())));
    }
    if items.is_empty() {
        items.push(item(literal(Kind::Int, rng), "c0"));
    }
    from.select.items = items;
    let name_of = |column: &String| names.iter().find(|(text, _)| text == column).map(|(_, name)| name.clone());
    from.unique.as_ref()?.iter().map(name_of).collect()
}

/// A subquery of one value.
fn scalar(relations: &[Relation], outer: &Scope, rng: &mut Random) -> String {
    let relation = pick(relations, rng);
    let inner = scope(relation, "q");
    if relation.unique.as_deref() == Some(&["id".to_string()]) && rng.random_bool(0.3) {
        // At most one row, which nobody but the data knows.
        return format!("(SELECT q.id FROM {} AS q WHERE q.id = {})", relation.text, rng.random_range(0..4));
    }
    let call = match inner.column(rng) {
        Some(c) if c.kind != Kind::Bool => format!("{}({})", one(&["MAX", "MIN", "COUNT"], rng), c.text),
        _ => "COUNT(*)".into(),
    };
    let mut conditions = Vec::new();
    if rng.random_bool(0.3) {
        conditions.push(inner.condition(rng));
    }
    if rng.random_bool(0.6)
        && let Some(c) = inner.column(rng)
        && let Some(same) = outer.of(c.kind).first()
    {
        conditions.push(format!("{} = {same}", c.text));
    }
    let condition = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    format!("(SELECT {call} FROM {} AS q{condition})", relation.text)
}

/// SELECT, with DISTINCT at times.
fn plain(relations: &[Relation], rng: &mut Random) -> Drawn {
    selected(single(relations, rng), relations, rng)
}

fn joined(relations: &[Relation], rng: &mut Random) -> Drawn {
    selected(several(relations, rng), relations, rng)
}

fn selected(mut from: From, relations: &[Relation], rng: &mut Random) -> Drawn {
    if rng.random_bool(0.03) {
        // Which rows are the first is not determined, but what they are is.
        from.select.items = vec![item("1", "c0")];
        from.select.limit = Some(rng.random_range(0..6));
        from.select.offset = rng.random_range(0..3);
        return Drawn { query: Query::Select(from.select), unique: None, size: 5 };
    }
    let mut unique = project(&mut from, relations, rng);
    let comparable = from.select.items.iter().all(|i| !i.inexact);
    if comparable && rng.random_bool(0.2) {
        from.select.distinct = true;
        unique = unique.or_else(|| Some(from.select.items.iter().map(|i| i.name.clone()).collect()));
    }
    Drawn { query: Query::Select(from.select), unique, size: from.size }
}

/// UNION, INTERSECT, EXCEPT.
fn set(relations: &[Relation], rng: &mut Random) -> Drawn {
    let op = *one(&["UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"], rng);
    let count = if op == "UNION ALL" && rng.random_bool(0.3) { 3 } else { 2 };
    let wanted: Vec<Kind> = (0..rng.random_range(1..=3))
        .map(|_| pick(relations, rng).columns.iter().map(|c| c.1).find(|k| *k != Kind::Opaque).unwrap_or(Kind::Int))
        .collect();
    let mut size = 0;
    let parts = (0..count).map(|_| {
        let mut from = single(relations, rng);
        let exprs = wanted.iter().enumerate();
        from.select.items = exprs.map(|(i, kind)| item(from.scope.expr(*kind, rng), format!("c{i}"))).collect();
        size += from.size;
        from.select
    });
    let parts = parts.collect();
    let names = (0..wanted.len()).map(|i| format!("c{i}")).collect();
    let unique = matches!(op, "UNION" | "INTERSECT" | "EXCEPT").then_some(names);
    Drawn { query: Query::Set(op, parts), unique, size }
}
