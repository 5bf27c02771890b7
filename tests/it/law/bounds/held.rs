//! What a stated bound comes to, in rows, for what an operator has been given so far.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use millstream::runtime::{Count, Held, Lifetime};

use super::tap::{Input, Row};

/// In how many partial aggregates a group of a slice may stand: one that grows, and those that were shared with windows and
/// snapshots before they are merged.
const PARTIALS: u64 = 5;

/// When an operator is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub watermark: i64,
    /// The processing time at which the watermark moved last.
    pub moved: i64,
    pub now: i64,
    /// Whether all input has ended.
    pub ended: bool,
    /// Whether a snapshot has been taken.
    pub snapshot: bool,
}

/// How many rows a part of the state may have.
pub fn most(part: &Held, inputs: &[Arc<Input>], at: Moment) -> u64 {
    let of = match &part.count {
        Count::Rows(of) => of.as_str(),
        Count::AtMost(..) => "",
    };
    let sides: &[Arc<Input>] = match (part.side, of) {
        (Some("left"), _) | (_, "the left input") => &inputs[..1],
        (Some("right"), _) | (_, "the right input") => &inputs[1..],
        _ => inputs,
    };
    let touched = part.ttl.map(|ttl| touched(inputs, at.now - ttl));
    sides.iter().map(|input| of_input(part, input, touched.as_ref(), at)).sum()
}

/// The keys of rows that were given at a time or later.
fn touched(inputs: &[Arc<Input>], since: i64) -> HashSet<Vec<String>> {
    let recent = |input: &Arc<Input>| {
        let rows = input.rows().into_iter().filter(|row| row.given >= since);
        rows.map(|row| input.key(&row).into_iter().map(String::from).collect()).collect::<Vec<_>>()
    };
    inputs.iter().flat_map(recent).collect()
}

fn of_input(part: &Held, input: &Input, touched: Option<&HashSet<Vec<String>>>, at: Moment) -> u64 {
    let rows = input.rows();
    let open = sessions(part, &rows, at.watermark);
    let waiting = waiting(part, input, &rows, at.watermark);
    let passed = |row: &Row| match (&part.lifetime, waiting.get(&key(part, input, row))) {
        (Lifetime::SpanBefore { millis, .. }, Some(first)) => row.time.is_some_and(|t| t <= first - millis),
        _ => false,
    };
    let untouched = |row: &Row| {
        let key: Vec<String> = input.key(row).into_iter().map(String::from).collect();
        touched.is_some_and(|touched| !touched.contains(&key))
    };
    let lives = |row: &&Row| !untouched(row) && !passed(row) && lives(part, row, at) || open.contains(&row.time);
    let rows: Vec<&Row> = rows.iter().filter(lives).collect();
    match &part.count {
        // Of a versioned table what takes a row back waits too.
        Count::Rows(_) if versions(part) => rows.len() as u64,
        Count::Rows(_) => standing(&rows),
        Count::AtMost(_, _) if rows.is_empty() && part.lifetime != Lifetime::Forever => 0,
        Count::AtMost(most, _) if part.keys.is_empty() && !by_slice(part) => *most,
        Count::AtMost(most, _) => most * distinct(part, input, &rows) as u64 * partials(part, at),
    }
}

/// Whether these are the rows of a versioned table.
fn versions(part: &Held) -> bool {
    part.lifetime == Lifetime::Watermark && matches!(&part.count, Count::Rows(of) if of == "the right input")
}

/// Whether a row may still be held.
fn lives(part: &Held, row: &Row, at: Moment) -> bool {
    let Moment { watermark, ended, .. } = at;
    let expired = match &part.lifetime {
        Lifetime::Forever | Lifetime::SpanBefore { .. } => false,
        Lifetime::End | Lifetime::Job => ended,
        // Of look-ups: these are under a law of their own.
        Lifetime::Request => false,
        // What comes behind the watermark, and is not dropped, waits for its next move; a version, for its key's next.
        Lifetime::Watermark if row.late && (row.given >= at.moved || versions(part)) => false,
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
    !expired
}

/// By key, the time of the first of the last rows: of as many as must come behind a row before its span can be over.
fn waiting(part: &Held, input: &Input, rows: &[Row], watermark: i64) -> HashMap<Vec<String>, i64> {
    let Lifetime::SpanBefore { rows: last, .. } = part.lifetime else { return HashMap::new() };
    let mut times: HashMap<Vec<String>, Vec<i64>> = HashMap::new();
    for row in rows.iter().filter(|row| !row.late) {
        times.entry(key(part, input, row)).or_default().extend(row.time.filter(|t| *t <= watermark));
    }
    let first = |mut times: Vec<i64>| {
        times.sort_unstable();
        times.len().checked_sub(last as usize).map(|at| times[at])
    };
    times.into_iter().filter_map(|(key, times)| Some((key, first(times)?))).collect()
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

fn partials(part: &Held, at: Moment) -> u64 {
    match &part.lifetime {
        Lifetime::Windows { slices: true, spec: Some(spec) } if !at.snapshot && spec.starts_with("TUMBLE") => 1,
        Lifetime::Windows { .. } if part.count == Count::AtMost(1, "group") => PARTIALS,
        _ => 1,
    }
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

/// How many keys there are among rows, each counted once for each of its windows or slices.
fn distinct(part: &Held, input: &Input, rows: &[&Row]) -> usize {
    rows.iter().map(|row| (key(part, input, row), slice(part, row))).collect::<HashSet<_>>().len()
}

/// A row's key. One that is computed, and no column, is taken to be another in every row.
fn key(part: &Held, input: &Input, row: &Row) -> Vec<String> {
    let columns: Option<Vec<usize>> = part.keys.iter().map(|k| input.schema.index_of(k).ok()).collect();
    match columns {
        Some(columns) => columns.iter().map(|c| row.values[*c].clone()).collect(),
        None => row.values.clone(),
    }
}

/// What tells a row's window or slice from others.
fn slice(part: &Held, row: &Row) -> i64 {
    match (&part.lifetime, row.window_end, row.time) {
        (Lifetime::Windows { .. }, Some(end), _) => end,
        (Lifetime::Windows { spec: Some(spec), .. }, None, Some(time)) => time.div_euclid(shortest(spec)),
        _ => 0,
    }
}

/// The spans of time in a window's description, such as `HOP(size=10s, slide=2s)`.
fn spans(spec: &str) -> Vec<i64> {
    let mut spans = Vec::new();
    let mut rest = spec;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = rest[at..].chars().take_while(char::is_ascii_digit).count();
        let (number, after) = rest[at..].split_at(digits);
        let unit: String = after.trim_start().chars().take_while(|c| c.is_alphabetic()).collect();
        let unit = match unit.as_str() {
            "ms" => 1,
            "s" => 1_000,
            "min" => 60_000,
            "h" => 3_600_000,
            other => panic!("no unit of time '{other}' in '{spec}'"),
        };
        spans.push(number.parse::<i64>().unwrap() * unit);
        rest = after;
    }
    spans.retain(|span| *span > 0);
    spans
}

fn longest(spec: &str) -> i64 {
    spans(spec).into_iter().max().unwrap()
}

fn shortest(spec: &str) -> i64 {
    spans(spec).into_iter().min().unwrap()
}
