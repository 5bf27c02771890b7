//! What a stated bound comes to, in rows, for what an operator has been given so far.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use millstream::runtime::{Count, Held, Lifetime};

use super::tap::{Input, Row};

/// How many rows a part of the state may have.
pub fn most(part: &Held, inputs: &[Arc<Input>], watermark: i64, now: i64, ended: bool) -> u64 {
    let sides: &[Arc<Input>] = match part.side {
        Some("left") => &inputs[..1],
        Some("right") => &inputs[1..],
        _ => inputs,
    };
    sides.iter().map(|input| of_input(part, input, watermark, now, ended)).sum()
}

fn of_input(part: &Held, input: &Input, watermark: i64, now: i64, ended: bool) -> u64 {
    let rows = input.rows();
    let open = sessions(part, &rows, watermark);
    let lives = |row: &&Row| lives(part, row, watermark, now, ended) || open.contains(&row.time);
    let rows: Vec<&Row> = rows.iter().filter(lives).collect();
    match &part.count {
        // What takes a version back is a version too.
        Count::Rows(of) if of == "versions" => rows.len() as u64,
        Count::Rows(_) => standing(&rows),
        Count::AtMost(_, _) if rows.is_empty() && part.lifetime != Lifetime::Forever => 0,
        Count::AtMost(most, _) if part.keys.is_empty() && !by_slice(part) => *most,
        Count::AtMost(most, _) => most * distinct(part, input, &rows) as u64,
    }
}

/// Whether a row may still be held.
fn lives(part: &Held, row: &Row, watermark: i64, now: i64, ended: bool) -> bool {
    let untouched = part.ttl.is_some_and(|ttl| now - row.given > ttl);
    let expired = match &part.lifetime {
        Lifetime::Forever => false,
        Lifetime::End => ended,
        Lifetime::Watermark => row.time.is_some_and(|t| t <= watermark),
        Lifetime::Span(millis, _) => row.time.is_some_and(|t| t < watermark.saturating_sub(*millis)),
        // A window closes when the watermark has reached its last millisecond.
        Lifetime::Windows { spec, .. } => match (row.window_end, row.time, spec) {
            (Some(end), ..) => end - 1 <= watermark,
            // Where it begins in its window is not told: the window ends before a whole length is over.
            (None, Some(time), Some(spec)) => time + longest(spec) - 1 <= watermark,
            _ => watermark == i64::MAX,
        },
    };
    !untouched && !expired
}

/// The times of rows in sessions that are open: each is kept as long as the last of them. Whose session it is does not count, so
/// that there may be more here than there are.
fn sessions(part: &Held, rows: &[Row], watermark: i64) -> HashSet<Option<i64>> {
    let Lifetime::Windows { spec: Some(spec), .. } = &part.lifetime else { return HashSet::new() };
    if !spec.starts_with("SESSION") || !matches!(part.count, Count::Rows(_)) {
        return HashSet::new();
    }
    let mut times: Vec<i64> = rows.iter().filter_map(|row| row.time).collect();
    times.sort_unstable();
    let gap = longest(spec);
    let mut open = HashSet::new();
    for session in times.chunk_by(|a, b| b - a <= gap) {
        if session.last().is_some_and(|last| last + gap - 1 > watermark) {
            open.extend(session.iter().copied().map(Some));
        }
    }
    open
}

/// Rows that came and have not gone.
fn standing(rows: &[&Row]) -> u64 {
    let mut counts: HashMap<&[String], i64> = HashMap::new();
    for row in rows {
        *counts.entry(&row.values).or_default() += if row.comes { 1 } else { -1 };
    }
    counts.values().map(|count| u64::try_from(*count).unwrap_or(0)).sum()
}

fn by_slice(part: &Held) -> bool {
    matches!(part.lifetime, Lifetime::Windows { .. })
}

/// How many keys there are among rows, each counted once for each of its windows or slices. A key that is computed, and no
/// column, is taken to be another in every row.
fn distinct(part: &Held, input: &Input, rows: &[&Row]) -> usize {
    let columns: Option<Vec<usize>> = part.keys.iter().map(|k| input.schema.index_of(k).ok()).collect();
    let key = |row: &&Row| -> (Vec<String>, i64) {
        let values = match &columns {
            Some(columns) => columns.iter().map(|c| row.values[*c].clone()).collect(),
            None => row.values.clone(),
        };
        (values, slice(part, row))
    };
    rows.iter().map(key).collect::<HashSet<_>>().len()
}

/// What tells a row's window or slice from others.
fn slice(part: &Held, row: &Row) -> i64 {
    match (&part.lifetime, row.window_end, row.time) {
        (Lifetime::Windows { .. }, Some(end), _) => end,
        (Lifetime::Windows { spec: Some(spec), .. }, None, Some(time)) => time.div_euclid(shortest(spec)),
        _ => 0,
    }
}

/// The spans of time in a window's description.
fn spans(spec: &str) -> impl Iterator<Item = i64> + '_ {
    let words: Vec<&str> = spec.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let unit = |word: &str| match word {
        "ms" => Some(1),
        "s" => Some(1_000),
        "min" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let spans: Vec<i64> = words
        .windows(2)
        .filter_map(|pair| Some(pair[0].parse::<i64>().ok()? * unit(pair[1])?))
        .filter(|span| *span > 0)
        .collect();
    assert!(!spans.is_empty(), "no span of time in '{spec}'");
    spans.into_iter()
}

fn longest(spec: &str) -> i64 {
    spans(spec).max().unwrap()
}

fn shortest(spec: &str) -> i64 {
    spans(spec).min().unwrap()
}
