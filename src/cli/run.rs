//! `millstream run`.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use millstream::change::{ChangeBatch, Folded, Watermark};
use millstream::connector::text::{lines, write_value};
use millstream::engine::{Job, JobEnd, MetricsSnapshot, Progress, Results};
use millstream::runtime::clock::Stopwatch;
use millstream::{Error, Result};

use super::{ResultMode, Script, note, table};

/// How often the progress line is drawn.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// How many rows a result shown as a table may have; from there on what is more is shown as a changelog.
const TABLE_ROWS: usize = 100_000;

/// Runs a script.
pub fn run(script: &Script, mode: ResultMode, quiet: bool) -> Result<()> {
    let text = script.read()?;
    let mut engine = script.engine()?;
    let shows_progress = !quiet && std::io::stderr().is_terminal();
    // Before anything runs, so that no signal finds the process without an ear for it.
    let mut interrupts = engine.block_on(async { Interrupts::listen() })?;
    let job = engine.run(&text, |engine, progress| match progress {
        Progress::Done(notes) => {
            note(notes);
            Ok(())
        }
        Progress::Rows { columns, rows } => print(&rows_text(&columns, &rows)),
        Progress::Query(job, results) => {
            interrupts.none_yet(&job)?;
            engine.block_on(show(&job, results, mode, &mut interrupts, shows_progress))
        }
    })?;
    match job {
        Some(job) => {
            interrupts.none_yet(&job)?;
            engine.block_on(finish(&job, &mut interrupts, shows_progress))
        }
        None => Ok(()),
    }
}

/// A plan is lines of text; all else is a table.
fn rows_text(columns: &[String], rows: &[Vec<String>]) -> String {
    match columns {
        [one] if one == "plan" => rows.iter().map(|r| format!("{}\n", r.join(" "))).collect(),
        _ => table::draw(columns, rows),
    }
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| Error::io("writing to standard output", e))
}

/// Waits for a job without results, showing how it goes.
async fn finish(job: &Job, interrupts: &mut Interrupts, shows_progress: bool) -> Result<()> {
    tell_resumed(job).await?;
    let mut line = ProgressLine::new(shows_progress);
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    let end = loop {
        tokio::select! {
            end = job.wait() => break end,
            _ = interrupts.next() => interrupts.stop(job),
            _ = ticks.tick() => line.draw(&job.metrics()),
        }
    };
    line.clear();
    settle(end, job)
}

/// Shows a query's results as they come, or as a table at the end.
async fn show(
    job: &Job,
    mut results: Results,
    mode: ResultMode,
    interrupts: &mut Interrupts,
    shows_progress: bool,
) -> Result<()> {
    tell_resumed(job).await?;
    let mut line = ProgressLine::new(shows_progress && !std::io::stdout().is_terminal());
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    let mut view = View::new(mode, &results);
    loop {
        tokio::select! {
            batch = results.next() => match batch {
                Some(batch) => view.take(&batch)?,
                None => break,
            },
            _ = interrupts.next() => interrupts.stop(job),
            _ = ticks.tick() => line.draw(&job.metrics()),
        }
    }
    line.clear();
    let end = job.wait().await;
    view.finish()?;
    settle(end, job)
}

/// Says what becomes of the state of an earlier run.
async fn tell_resumed(job: &Job) -> Result<()> {
    let Some(resumed) = job.resumed().await? else { return Ok(()) };
    let what = if resumed.ended { "the job came to its end at" } else { "goes on from" };
    note([format!("{what} checkpoint {}", resumed.checkpoint)]);
    note(resumed.report);
    Ok(())
}

fn settle(end: Result<JobEnd>, job: &Job) -> Result<()> {
    let metrics = job.metrics();
    let late: u64 = metrics.operators.iter().map(|o| o.stats.late_rows).sum();
    let skipped: u64 = metrics.sources.iter().map(|s| s.skipped_records).sum();
    if late > 0 {
        note([format!("{late} rows came too late for their windows and were dropped")]);
    }
    if skipped > 0 {
        note([format!("{skipped} records could not be read and were skipped")]);
    }
    match end? {
        JobEnd::Finished => Ok(()),
        JobEnd::Suspended => {
            note(["suspended; started again, the script goes on from here".to_string()]);
            Ok(())
        }
        JobEnd::Cancelled => Err(Error::Execution("cancelled".into())),
    }
}

/// SIGINT and SIGTERM: the first drains the job that runs, or if it takes checkpoints suspends it; the second cancels it. The script
/// ends with that job.
struct Interrupts {
    signals: Signals,
    heard: u32,
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}
#[cfg(windows)]
type Signals = tokio::signal::windows::CtrlC;

#[cfg(unix)]
fn signals() -> std::io::Result<Signals> {
    use tokio::signal::unix::{SignalKind, signal};
    Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
}

#[cfg(windows)]
fn signals() -> std::io::Result<Signals> {
    tokio::signal::windows::ctrl_c()
}

#[cfg(unix)]
impl Signals {
    async fn recv(&mut self) -> Option<()> {
        tokio::select! {
            signal = self.interrupt.recv() => signal,
            signal = self.terminate.recv() => signal,
        }
    }
}

impl Interrupts {
    /// Takes the signal from now on. To be called within a runtime.
    fn listen() -> Result<Self> {
        Ok(Self { signals: signals().map_err(|e| Error::io("listening for signals", e))?, heard: 0 })
    }

    async fn next(&mut self) {
        if self.signals.recv().await.is_none() {
            // Without signals there is nothing to wait for.
            std::future::pending::<()>().await;
        }
    }

    fn stop(&mut self, job: &Job) {
        self.heard += 1;
        match self.heard {
            1 if job.takes_checkpoints() => job.suspend(),
            1 => job.stop(),
            _ => job.cancel(),
        }
    }

    /// Gives up on a job that the script would start after an interrupt.
    fn none_yet(&self, job: &Job) -> Result<()> {
        if self.heard == 0 {
            return Ok(());
        }
        job.cancel();
        Err(Error::Execution("interrupted; the rest of the script was not run".into()))
    }
}

/// A bare query's results on their way to standard output.
struct View {
    mode: ResultMode,
    columns: Vec<String>,
    rows: Folded<Vec<String>>,
}

impl View {
    fn new(mode: ResultMode, results: &Results) -> Self {
        let columns = results.schema.fields().iter().map(|f| f.name().clone()).collect();
        Self { mode, columns, rows: Folded::default() }
    }

    fn take(&mut self, batch: &ChangeBatch) -> Result<()> {
        let comes = (0..batch.num_rows()).filter(|row| batch.kind(*row).is_addition()).count();
        if self.mode == ResultMode::Table && self.rows.len() + comes <= TABLE_ROWS {
            return (0..batch.num_rows()).try_for_each(|row| self.rows.apply(batch.kind(row), cells(batch, row)?));
        }
        self.finish()?;
        self.mode = ResultMode::Changelog;
        print(&lines(batch)?)
    }

    fn finish(&mut self) -> Result<()> {
        if self.mode == ResultMode::Changelog {
            return Ok(());
        }
        print(&table::draw(&self.columns, &self.rows.take()))
    }
}

fn cells(batch: &ChangeBatch, row: usize) -> Result<Vec<String>> {
    let cell = |column: &arrow::array::ArrayRef| {
        let mut text = String::new();
        write_value(&mut text, column.as_ref(), row)?;
        Ok(text)
    };
    batch.rows.columns().iter().map(cell).collect()
}

/// One line on stderr that says how far a job is.
struct ProgressLine {
    enabled: bool,
    watch: Stopwatch,
    drawn: bool,
}

impl ProgressLine {
    fn new(enabled: bool) -> Self {
        Self { enabled, watch: Stopwatch::start(), drawn: false }
    }

    fn draw(&mut self, metrics: &MetricsSnapshot) {
        if !self.enabled {
            return;
        }
        self.drawn = true;
        let rows: u64 = metrics.sources.iter().map(|s| s.rows).sum();
        let rate = rows as f64 / self.watch.elapsed().as_secs_f64().max(1e-3);
        let mut text = format!("{rows} rows, {rate:.0} rows/s");
        if let Some(watermark) = metrics.sources.iter().map(|s| s.watermark).min()
            && let Some(time) = at(watermark)
        {
            text.push_str(&format!(", watermark {time}"));
        }
        let fractions: Option<Vec<f64>> = metrics.sources.iter().map(|s| s.fraction).collect();
        if let Some(least) = fractions.and_then(|f| f.into_iter().reduce(f64::min)) {
            text.push_str(&format!(", {:.0} %", least * 100.0));
        }
        eprint!("\r\x1b[K{text}");
    }

    fn clear(&self) {
        if self.drawn {
            eprint!("\r\x1b[K");
        }
    }
}

/// A watermark as a time; `None` while there is none, and at the end.
fn at(watermark: Watermark) -> Option<String> {
    let inside = watermark != Watermark::MIN && watermark != Watermark::MAX;
    let time = inside.then(|| chrono::DateTime::from_timestamp_millis(watermark.0)).flatten()?;
    Some(time.format("%Y-%m-%d %H:%M:%S").to_string())
}
