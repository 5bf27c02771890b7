//! Random GROUP BY.

use rand::Rng;

use super::Random;
use super::expr::{Scope, one};
use super::grammar::{Drawn, From, Relation, item, several, single};
use super::query::{Item, Query, Sets};
use super::table::Kind;

/// GROUP BY, or an aggregate over all rows, over one relation or a join.
pub fn grouped(relations: &[Relation], rng: &mut Random) -> Drawn {
    let from = if rng.random_bool(0.25) { several(relations, rng) } else { single(relations, rng) };
    let keys = *one(&[0, 1, 1, 1, 2, 2, 3], rng);
    aggregated(from, keys, rng)
}

/// GROUP BY with grouping sets.
pub fn keyed(relations: &[Relation], rng: &mut Random) -> Drawn {
    let mut drawn = aggregated(single(relations, rng), *one(&[1, 2, 2, 3], rng), rng);
    let Query::Select(select) = &mut drawn.query else { return drawn };
    let keys = select.group.len();
    if keys == 0 {
        return drawn;
    }
    select.sets = match rng.random_range(0..3) {
        0 => Sets::Rollup,
        1 => Sets::Cube,
        _ => {
            // Not the same set twice: DataFusion gets that wrong where its input happens to be in order.
            let mut sets: Vec<Vec<usize>> = vec![(0..keys).collect()];
            sets.extend((keys > 1).then(|| vec![0]));
            if keys == 1 || rng.random_bool(0.5) {
                sets.push(Vec::new());
            }
            Sets::Listed(sets)
        }
    };
    for (i, key) in select.group.iter().enumerate() {
        if rng.random_bool(0.5) {
            select.items.push(item(format!("GROUPING({key})"), format!("g{i}")));
        }
    }
    drawn.unique = None;
    drawn.size *= 4;
    drawn
}

fn aggregated(from: From, keys: usize, rng: &mut Random) -> Drawn {
    let From { mut select, scope, size, .. } = from;
    let mut names = Vec::new();
    for i in 0..keys {
        let Some(column) = scope.column(rng) else { break };
        let key = if rng.random_bool(0.75) { column.text.clone() } else { scope.expr(column.kind, rng) };
        if select.group.contains(&key) || !key.contains('.') {
            continue;
        }
        if rng.random_bool(0.9) {
            names.push(format!("k{i}"));
            select.items.push(item(key.clone(), format!("k{i}")));
        }
        select.group.push(key);
    }
    let unique = (names.len() == select.group.len()).then_some(names);
    let count = rng.random_range(usize::from(select.items.is_empty())..=4);
    for i in 0..count {
        let (expr, inexact) = aggregate(&scope, rng);
        select.items.push(Item { expr, name: format!("a{i}"), inexact });
    }
    if select.items.is_empty() {
        select.items.push(item("COUNT(*)", "a0"));
    }
    if rng.random_bool(0.25) {
        select.having.push(having(&scope, rng));
    }
    let size = if select.group.is_empty() { 1 } else { size };
    Drawn { query: Query::Select(select), unique, size }
}

fn having(scope: &Scope, rng: &mut Random) -> String {
    let column = scope.column(rng).filter(|c| c.kind != Kind::Bool);
    match (rng.random_range(0..4), column) {
        (0, Some(c)) => format!("MAX({0}) > MIN({0})", c.text),
        (1, Some(c)) => format!("COUNT({}) = 2", c.text),
        (2, Some(c)) => format!("COUNT(DISTINCT {}) > 1", c.text),
        _ => one(&["COUNT(*) > 1", "COUNT(*) < 3", "COUNT(*) = 2"], rng).to_string(),
    }
}

/// An aggregate, and whether its last digits are up to the order of the rows.
fn aggregate(scope: &Scope, rng: &mut Random) -> (String, bool) {
    let filter =
        if rng.random_bool(0.15) { format!(" FILTER (WHERE {})", scope.condition(rng)) } else { String::new() };
    let Some(column) = scope.column(rng) else { return (format!("COUNT(*){filter}"), false) };
    let kind = column.kind;
    let of = if rng.random_bool(0.8) { column.text.clone() } else { scope.expr(kind, rng) };
    let order = scope.total.as_ref().map(|total| ordering(total, scope, rng));
    let shared = ["COUNT(*)", "COUNT($)", "COUNT(DISTINCT $)", "MIN($)", "MAX($)"];
    let ordered = ["FIRST_VALUE($ ORDER BY %)", "LAST_VALUE($ ORDER BY %)", "ARRAY_AGG($ ORDER BY %)"];
    let special: &[&str] = match kind {
        Kind::Int | Kind::Big => &[
            "SUM($)",
            "SUM($)",
            "SUM($)",
            "AVG($)",
            "SUM(DISTINCT $)",
            "bit_or($)",
            "bit_and($)",
            "median($)",
            "STDDEV_POP($)",
            "VAR_SAMP($)",
            "SUM($) + COUNT(*)",
        ],
        Kind::Decimal => &["SUM($)", "AVG($)", "SUM(DISTINCT $)"],
        Kind::Double => &["SUM($)", "AVG($)", "STDDEV_SAMP($)", "VAR_POP($)"],
        Kind::Text => &["LISTAGG($, ',' ORDER BY %)", "approx_distinct($)", "UPPER(MAX($))"],
        Kind::Bool => &["bool_and($)", "bool_or($)"],
        Kind::Date | Kind::Time | Kind::Opaque => &["COUNT($)"],
    };
    let template = match (rng.random_range(0..10), &order) {
        (0..4, _) => *one(&shared, rng),
        (4, Some(_)) => *one(&ordered, rng),
        _ => *one(special, rng),
    };
    let Some(order) = order.or((!template.contains('%')).then(String::new)) else {
        return (format!("COUNT(*){filter}"), false);
    };
    let filter = if template.contains('+') || template.starts_with("UPPER") { String::new() } else { filter };
    let inexact = ["STDDEV", "VAR_"].iter().any(|p| template.starts_with(p))
        || (kind == Kind::Double && template.starts_with("AVG"));
    (format!("{}{filter}", template.replace('$', &of).replace('%', &order)), inexact)
}

/// An order that is total, but for rows that are equal in everything.
pub fn ordering(total: &[String], scope: &Scope, rng: &mut Random) -> String {
    let mut columns = Vec::new();
    if (total.is_empty() || rng.random_bool(0.6))
        && let Some(column) = scope.column(rng)
    {
        columns.push(column.text.clone());
    }
    columns.extend(total.iter().filter(|t| !columns.contains(t)).cloned().collect::<Vec<_>>());
    let directed = columns.into_iter().map(|c| if rng.random_bool(0.3) { format!("{c} DESC") } else { c });
    directed.collect::<Vec<_>>().join(", ")
}
