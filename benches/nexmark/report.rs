//! What is printed.

use super::measure::{Measured, Operator};
use super::queries::{Query, State};

/// Operators that keep nothing and take less are not shown.
const SHOWN_NANOS: f64 = 1.0;

pub fn heading(events: u64, step_batches: usize) {
    println!(
        "{events} events, {step_batches} batches of 8188 bids a step; CPU in ns an event, memory above the input's in MB"
    );
    println!(
        "{:<22} {:>7} {:>12} {:>8} {:>8} {:>9} {:>8} {:>5} {:>9} {:>12}",
        "query", "workers", "events/s", "CPU", "batch", "CPU/batch", "wanted", "met", "peak MB", "answer rows"
    );
}

pub fn row(query: &Query, workers: usize, ours: &Measured, batch: Option<&Measured>, events: u64) {
    let per_event = |m: &Measured| m.cpu_seconds * 1e9 / events as f64;
    let cpu = per_event(ours);
    let batch_cpu = batch.map(per_event);
    let met = query.wanted.filter(|_| workers == 1).map_or("-", |w| if cpu <= w { "yes" } else { "no" });
    println!(
        "{:<22} {workers:>7} {:>12.0} {cpu:>8.1} {:>8} {:>9} {:>8} {met:>5} {:>9.1} {:>12}",
        query.name,
        events as f64 / ours.wall_seconds,
        text(batch_cpu, 1),
        text(batch_cpu.map(|b| cpu / b), 2),
        text(query.wanted, 0),
        ours.peak_mb,
        ours.rows,
    );
}

/// Where the time goes, and what is kept at the end.
pub fn operators(queries: &[(&Query, Vec<Operator>)], events: u64) {
    println!("\noperators: ns an event by the clock; state at the end of the input");
    println!(
        "{:<22} {:<44} {:>10} {:>10} {:>8} {:>10} {:>9} {:>8}",
        "query", "operator", "rows in", "rows out", "ns", "state rows", "state MB", "B/row"
    );
    for (query, operators) in queries {
        for o in operators {
            let nanos = o.seconds * 1e9 / events as f64;
            if o.state_bytes == 0 && nanos < SHOWN_NANOS {
                continue;
            }
            let per_row = (o.state_rows > 0).then(|| o.state_bytes as f64 / o.state_rows as f64);
            let name: String = o.name.chars().take(44).collect();
            println!(
                "{:<22} {name:<44} {:>10} {:>10} {nanos:>8.1} {:>10} {:>9.1} {:>8}",
                query.name,
                o.rows_in,
                o.rows_out,
                o.state_rows,
                o.state_bytes as f64 / 1e6,
                text(per_row, 1),
            );
        }
    }
}

pub fn scale_heading(scales: &[u64], workers: usize, step_batches: usize) {
    println!(
        "{workers} worker(s), {step_batches} batches of 8188 bids a step; CPU in ns an event without making it; state in MB"
    );
    let events =
        |unit: &str| scales.iter().map(|s| format!(" {:>9}", format!("{unit}{}M", s / 1_000_000))).collect::<String>();
    println!("{:<22} {:<6}{} {:>8} {:>8}{}", "query", "state", events("CPU "), "most/1M", "making", events("MB "));
}

pub fn scale_row(query: &Query, runs: &[(u64, Measured)]) {
    let cpu = |(events, m): &(u64, Measured)| (m.cpu_seconds - m.input_seconds) * 1e9 / *events as f64;
    let costs: Vec<f64> = runs.iter().map(cpu).collect();
    let bytes = |m: &Measured| m.operators.iter().map(|o| o.state_bytes).sum::<u64>() as f64 / 1e6;
    let making = runs.last().map(|(events, m)| m.input_seconds * 1e9 / *events as f64);
    let spread = costs.iter().copied().fold(0.0, f64::max) / costs[0];
    let state = if query.state == State::Flat { "flat" } else { "grows" };
    let columns = |values: Vec<f64>| values.iter().map(|v| format!(" {v:>9.1}")).collect::<String>();
    println!(
        "{:<22} {state:<6}{} {spread:>8.2} {:>8}{}",
        query.name,
        columns(costs.clone()),
        text(making, 1),
        columns(runs.iter().map(|(_, m)| bytes(m)).collect()),
    );
}

fn text(v: Option<f64>, digits: usize) -> String {
    v.map_or("-".into(), |v| format!("{v:.digits$}"))
}
