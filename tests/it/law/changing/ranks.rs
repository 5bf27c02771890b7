//! Random rankings: Top-N, ORDER BY … LIMIT, OVER.

use rand::Rng;

use super::Random;
use super::aggregates::ordering;
use super::expr::{Scope, one};
use super::grammar::{Drawn, From, Relation, item, several, single};
use super::query::{Item, Query};
use super::table::Kind;

fn partition(scope: &Scope, rng: &mut Random) -> Vec<String> {
    let count = *one(&[0, 1, 1, 1, 2], rng);
    let mut keys: Vec<String> = (0..count).filter_map(|_| scope.column(rng)).map(|c| c.text.clone()).collect();
    keys.dedup();
    keys
}

fn partition_by(keys: &[String]) -> String {
    if keys.is_empty() { String::new() } else { format!("PARTITION BY {} ", keys.join(", ")) }
}

/// All columns of the scope, by names of their own.
fn all(from: &From) -> Vec<Item> {
    let columns = from.scope.columns.iter().enumerate();
    columns
        .map(|(i, c)| Item { expr: c.text.clone(), name: format!("c{i}"), inexact: c.kind == Kind::Opaque })
        .collect()
}

fn name_of(items: &[Item], expr: &str) -> Option<String> {
    items.iter().find(|i| i.expr == expr).map(|i| i.name.clone())
}

/// Top-N by ROW_NUMBER, with and without the rank.
pub fn ranked(relations: &[Relation], rng: &mut Random) -> Drawn {
    let mut from = if rng.random_bool(0.15) { several(relations, rng) } else { single(relations, rng) };
    from.select.items = all(&from);
    let Some(total) = from.scope.total.clone() else {
        return Drawn { query: Query::Select(from.select), unique: None, size: from.size };
    };
    let keys = partition(&from.scope, rng);
    let over = format!("ROW_NUMBER() OVER ({}ORDER BY {})", partition_by(&keys), ordering(&total, &from.scope, rng));
    let mut items = all(&from);
    items.retain(|_| rng.random_bool(0.7));
    let with_rank = rng.random_bool(0.4);
    if with_rank || items.is_empty() {
        items.push(item("rn", "rn"));
    }
    let unique = {
        let kept = |column: &String| {
            name_of(&from.select.items, column).filter(|name| items.iter().any(|i| i.name == *name || i.expr == *name))
        };
        let own = from.unique.as_ref().and_then(|u| u.iter().map(kept).collect::<Option<Vec<_>>>());
        let ranks = || {
            let names = keys.iter().map(kept).collect::<Option<Vec<_>>>()?;
            items.iter().any(|i| i.name == "rn").then(|| names.into_iter().chain(["rn".to_string()]).collect())
        };
        own.or_else(ranks)
    };
    for item in &mut items {
        if item.name != "rn" {
            item.expr = item.name.clone();
        }
    }
    from.select.items.push(item(over, "rn"));
    let n = *one(&[1, 1, 2, 3, 5, 10], rng);
    let condition = match rng.random_range(0..6) {
        0 if n > 1 => format!("rn BETWEEN 2 AND {n}"),
        1 => format!("rn < {}", n + 1),
        2 => format!("rn = {}", if n > 3 { 1 } else { n }),
        _ => format!("rn <= {n}"),
    };
    Drawn { query: Query::Ranked(items, from.select, condition), unique, size: from.size }
}

/// ORDER BY … LIMIT.
pub fn limited(relations: &[Relation], rng: &mut Random) -> Drawn {
    let mut from = single(relations, rng);
    let all = all(&from);
    let unique = from.unique.as_ref().and_then(|u| u.iter().map(|c| name_of(&all, c)).collect::<Option<Vec<_>>>());
    let size = from.size;
    if let Some(total) = from.scope.total.clone() {
        from.select.order = vec![ordering(&total, &from.scope, rng)];
        from.select.limit = Some(*one(&[1, 2, 3, 5, 20], rng));
        from.select.offset = *one(&[0, 0, 0, 1, 4], rng);
    }
    from.select.items = all;
    Drawn { query: Query::Select(from.select), unique, size }
}

/// Aggregates and rankings OVER an order.
pub fn over(relations: &[Relation], rng: &mut Random) -> Drawn {
    let mut from = single(relations, rng);
    from.select.items = all(&from);
    let items = &from.select.items;
    let unique = from.unique.as_ref().and_then(|u| u.iter().map(|c| name_of(items, c)).collect::<Option<Vec<_>>>());
    let size = from.size;
    if let Some(total) = from.scope.total.clone() {
        let keys = partition_by(&partition(&from.scope, rng));
        let order = ordering(&total, &from.scope, rng);
        let frame = match rng.random_range(0..6) {
            0 => " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW".to_string(),
            1 | 2 => format!(" ROWS BETWEEN {} PRECEDING AND CURRENT ROW", rng.random_range(0..4)),
            3 => " RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW".to_string(),
            _ => String::new(),
        };
        for i in 0..rng.random_range(1..=2) {
            let Some(column) = from.scope.column(rng) else { break };
            let (call, framed, inexact) = function(&column.text, column.kind, rng);
            let frame = if framed { frame.as_str() } else { "" };
            let expr = format!("{call} OVER ({keys}ORDER BY {order}{frame})");
            from.select.items.push(Item { expr, name: format!("o{i}"), inexact });
        }
    }
    Drawn { query: Query::Select(from.select), unique, size }
}

/// What follows the watermark: OVER, the first of several rows, rows in order.
pub fn by_time(mut from: From, rng: &mut Random) -> Drawn {
    let keys = partition_by(&partition(&from.scope, rng));
    from.select.items = all(&from);
    let items = &from.select.items;
    let unique = from.unique.as_ref().and_then(|u| u.iter().map(|c| name_of(items, c)).collect::<Option<Vec<_>>>());
    let size = from.size;
    match rng.random_range(0..6) {
        0 => from.select.order = vec!["a.ts".into()],
        1 => {
            let rank = format!("ROW_NUMBER() OVER ({keys}ORDER BY a.ts)");
            let outer = from.select.items.iter().map(|i| Item { expr: i.name.clone(), ..i.clone() }).collect();
            from.select.items.push(item(rank, "rn"));
            return Drawn { query: Query::Ranked(outer, from.select, "rn = 1".into()), unique, size };
        }
        _ => {
            let frame = match rng.random_range(0..5) {
                0 => " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW".to_string(),
                1 => format!(" ROWS BETWEEN {} PRECEDING AND CURRENT ROW", rng.random_range(0..4)),
                2 => " RANGE BETWEEN INTERVAL '3' SECOND PRECEDING AND CURRENT ROW".into(),
                _ => String::new(),
            };
            for i in 0..rng.random_range(1..=3) {
                let Some(column) = from.scope.column(rng).cloned() else { break };
                let (call, framed, inexact) = over_time(&column.text, column.kind, rng);
                let frame = if framed { frame.as_str() } else { "" };
                let expr = format!("{call} OVER ({keys}ORDER BY a.ts{frame})");
                from.select.items.push(Item { expr, name: format!("o{i}"), inexact });
            }
        }
    }
    Drawn { query: Query::Select(from.select), unique, size }
}

/// As [`function`], of those that look back only.
fn over_time(of: &str, kind: Kind, rng: &mut Random) -> (String, bool, bool) {
    match rng.random_range(0..8) {
        0 => (format!("LAG({of})"), false, false),
        1 => ("ROW_NUMBER()".into(), false, false),
        2 => (format!("LAST_VALUE({of})"), true, false),
        3 => (format!("FIRST_VALUE({of})"), true, false),
        4 => (format!("MAX({of})"), true, false),
        5 | 6 if kind.is_number() => (format!("SUM({of})"), true, false),
        _ => (format!("COUNT({of})"), true, false),
    }
}

/// A window function, whether it has a frame, and whether its last digits are up to how it is computed.
fn function(of: &str, kind: Kind, rng: &mut Random) -> (String, bool, bool) {
    match rng.random_range(0..10) {
        0 => (format!("LAG({of})"), false, false),
        1 => (format!("LEAD({of})"), false, false),
        2 => ("RANK()".into(), false, false),
        3 => ("DENSE_RANK()".into(), false, false),
        4 => ("ROW_NUMBER()".into(), false, false),
        5 if kind.is_number() => (format!("SUM({of})"), true, false),
        6 if kind.is_number() => (format!("AVG({of})"), true, kind == Kind::Double),
        7 => (format!("LAST_VALUE({of})"), true, false),
        8 => (format!("FIRST_VALUE({of})"), true, false),
        9 => (format!("MIN({of})"), true, false),
        _ => (format!("COUNT({of})"), true, false),
    }
}
