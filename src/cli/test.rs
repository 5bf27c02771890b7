//! `millstream test`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::Args;
use millstream::runtime::clock::Stopwatch;
use millstream::testing::{ModeKind, Options, Report, Script};
use millstream::{Error, Result};

/// What scripts in folders end in.
const EXTENSION: &str = "slt";

/// Which scripts to run, and how.
#[derive(Args)]
pub struct Test {
    /// Test scripts, and folders, in which every `*.slt` is one.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Writes what comes out into the scripts, in the place of what is expected.
    #[arg(long, visible_alias = "bless")]
    complete: bool,
    /// Only this mode: written, rows, merged, workers, restored, disorder or duplicates. May be given several times.
    #[arg(long = "mode", value_name = "MODE", value_parser = |name: &str| ModeKind::named(name))]
    modes: Vec<ModeKind>,
    /// How many workers there are in the mode `workers`.
    #[arg(long, value_name = "N", default_value_t = 3)]
    workers: usize,
    /// The first seed of disorder and duplicates.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// How many seeds are tried.
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: u64,
    /// How many scripts are run side by side; as many as there are processors unless given.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Tells of every script how often it was run and what was checked.
    #[arg(short, long)]
    verbose: bool,
}

impl Test {
    /// Runs the scripts; whether all passed.
    pub fn run(&self) -> Result<bool> {
        let watch = Stopwatch::start();
        let mut files = Vec::new();
        for path in &self.paths {
            find(path, path.is_dir(), &mut files)?;
        }
        if files.is_empty() {
            return Err(Error::Option(format!("there is no *.{EXTENSION} in the folders")));
        }
        let mut cases = 0;
        let mut failed = 0;
        self.each(&files, |file, report| {
            cases += report.as_ref().map_or(1, |r| r.cases);
            failed += usize::from(!report.as_ref().is_ok_and(Report::passed));
            self.tell(file, report);
        });
        let time = watch.elapsed().as_secs_f64();
        let passed = files.len() - failed;
        println!("{passed} of {} scripts passed, {failed} failed; {cases} cases in {time:.2} s", files.len());
        Ok(failed == 0)
    }

    /// Runs scripts side by side, and hands on what came of them in their order.
    fn each(&self, files: &[PathBuf], tell: impl FnMut(&Path, Result<Report>) + Send) {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.jobs.unwrap_or(processors).clamp(1, files.len());
        let next = AtomicUsize::new(0);
        let turn = Mutex::new(Turn { next: 0, waiting: BTreeMap::new(), tell });
        let work = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(file) = files.get(at) else { return };
                let report = self.one(file);
                turn.lock().unwrap_or_else(PoisonError::into_inner).take(at, report, files);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(work);
            }
        });
    }

    /// Runs a script; with `--complete` once more when it has been written.
    fn one(&self, file: &Path) -> Result<Report> {
        let modes = if self.modes.is_empty() { ModeKind::ALL.to_vec() } else { self.modes.clone() };
        let options = Options { modes, workers: self.workers.max(1), seed: self.seed, seeds: self.seeds };
        let report = Script::read(file)?.run(&options);
        let Some(text) = report.completed.as_ref().filter(|_| self.complete) else { return Ok(report) };
        std::fs::write(file, text).map_err(|e| Error::io(format!("writing {}", file.display()), e))?;
        Ok(Script::read(file)?.run(&options))
    }

    fn tell(&self, file: &Path, report: Result<Report>) {
        let name = file.display();
        let report = match report {
            Ok(report) => report,
            Err(e) => return println!("FAIL {name}\n{e}\n"),
        };
        let word = if report.passed() { "ok  " } else { "FAIL" };
        let Report { cases, runs, checks, .. } = report;
        let millis = report.time.as_secs_f64() * 1e3;
        match self.verbose {
            true => println!("{word} {name}: {cases} cases, run {runs} times, {checks} checks held, {millis:.1} ms"),
            false => println!("{word} {name}"),
        }
        report.failures.iter().for_each(|failure| println!("{failure}\n"));
    }
}

/// Tells of scripts in their order, however they end.
struct Turn<F> {
    next: usize,
    waiting: BTreeMap<usize, Result<Report>>,
    tell: F,
}

impl<F: FnMut(&Path, Result<Report>)> Turn<F> {
    fn take(&mut self, at: usize, report: Result<Report>, files: &[PathBuf]) {
        self.waiting.insert(at, report);
        while let Some(report) = self.waiting.remove(&self.next) {
            (self.tell)(&files[self.next], report);
            self.next += 1;
        }
    }
}

/// The scripts that a path names, in a folder sorted by name.
fn find(path: &Path, is_folder: bool, files: &mut Vec<PathBuf>) -> Result<()> {
    if !is_folder {
        files.push(path.to_path_buf());
        return Ok(());
    }
    let context = |e| Error::io(format!("reading {}", path.display()), e);
    let entries = std::fs::read_dir(path).map_err(context)?;
    let mut entries = entries.map(|e| e.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>().map_err(context)?;
    entries.sort();
    for entry in entries {
        let is_folder = entry.is_dir();
        if is_folder || entry.extension().is_some_and(|e| e == EXTENSION) {
            find(&entry, is_folder, files)?;
        }
    }
    Ok(())
}
