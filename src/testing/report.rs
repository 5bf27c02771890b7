//! What came of a script.

use std::time::Duration;

use super::check;
use super::complete::completed;
use super::desk::Desk;
use super::mode::{Kind, Mode};
use super::program::{Answer, Program};
use super::script::{Place, Script};
use crate::runtime::clock::Stopwatch;
use crate::sql::Session;

/// How a script is to be run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The kinds of modes.
    pub modes: Vec<Kind>,
    /// How many workers there are in the mode `workers`.
    pub workers: usize,
    /// The first seed of the modes that draw lots.
    pub seed: u64,
    /// How many seeds they are run with.
    pub seeds: u64,
}

impl Default for Options {
    /// All modes, three workers, seeds 1 to 3.
    fn default() -> Self {
        Self { modes: Kind::ALL.to_vec(), workers: 3, seed: 1, seeds: 3 }
    }
}

/// An expectation that did not hold.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Where it stands.
    pub place: Place,
    /// The subtest, if it is in one.
    pub case: Option<String>,
    /// The way in which the script was run.
    pub mode: Mode,
    /// What is wrong: for rows a diff of what is expected and what there is.
    pub message: String,
}

impl Failure {
    pub(super) fn new(place: &Place, message: impl Into<String>) -> Self {
        Self { place: place.clone(), case: None, mode: Mode::Written, message: message.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.message)?;
        write!(f, "at {} ({}", self.place, self.mode)?;
        if let Some(case) = &self.case {
            write!(f, ", in {case}")?;
        }
        f.write_str(")")
    }
}

/// What came of a script.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many cases it holds.
    pub cases: usize,
    /// How often cases were run: each in every mode that is sound for it.
    pub runs: usize,
    /// How many expectations held.
    pub checks: usize,
    /// Those that did not. A case that fails as it is written is not run in other modes.
    pub failures: Vec<Failure>,
    /// How long it took.
    pub time: Duration,
    /// The script with what came out in the place of what was expected, as it is written.
    pub completed: Option<String>,
}

impl Report {
    /// Whether every expectation held.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    fn add(&mut self, outcome: check::Outcome, case: Option<&String>, mode: Mode) {
        self.runs += 1;
        self.checks += outcome.checks;
        let told = outcome.failures.into_iter().map(|f| Failure { case: case.cloned(), mode, ..f });
        self.failures.extend(told);
    }
}

impl Script {
    /// Runs every case of the script in every mode.
    pub fn run(&self, options: &Options) -> Report {
        self.run_with(options, |_| {})
    }

    /// As [`Script::run`], in sessions that `prepare` has added functions and connectors of the program's own to.
    pub fn run_with(&self, options: &Options, prepare: impl Fn(&mut Session)) -> Report {
        let watch = Stopwatch::start();
        let mut report = Report { cases: self.cases.len(), ..Report::default() };
        let mut answers: Vec<Answer> = Vec::new();
        for case in &self.cases {
            let mut desk = Desk::new();
            prepare(&mut desk.session);
            let mut program = Program::of(case, desk);
            let planned = check::Outcome {
                failures: std::mem::take(&mut program.failures),
                checks: program.checks,
                answers: std::mem::take(&mut program.answers),
            };
            answers.extend(planned.answers.iter().cloned());
            let mut broken = !planned.failures.is_empty();
            report.add(planned, case.name.as_ref(), Mode::Written);
            report.runs -= 1;
            for mode in modes(&program, options) {
                if broken && mode != Mode::Written {
                    break;
                }
                let outcome = check::run(&program, mode).unwrap_or_else(|e| check::Outcome {
                    failures: vec![Failure::new(&self.start(), e.to_string())],
                    ..check::Outcome::default()
                });
                broken |= !outcome.failures.is_empty() && mode == Mode::Written;
                answers.extend(outcome.answers.iter().filter(|_| mode == Mode::Written).cloned());
                report.add(outcome, case.name.as_ref(), mode);
            }
        }
        report.completed = completed(self, &answers);
        report.time = watch.elapsed();
        report
    }

    fn start(&self) -> Place {
        Place { file: self.file.clone(), line: 1 }
    }
}

/// The modes in which a program is run.
fn modes(program: &Program, options: &Options) -> Vec<Mode> {
    let seeds = || options.seed..options.seed.saturating_add(options.seeds);
    let of = |kind: &Kind| match kind {
        Kind::Written => vec![Mode::Written],
        Kind::Rows => vec![Mode::Rows],
        Kind::Merged => vec![Mode::Merged],
        Kind::Workers => vec![Mode::Workers(options.workers)],
        Kind::Restored => vec![Mode::Restored],
        Kind::Disorder => seeds().map(Mode::Disorder).collect(),
        Kind::Duplicates => seeds().map(Mode::Duplicates).collect(),
    };
    let wanted = |kind: &&Kind| options.modes.contains(kind) && program.admits(**kind);
    Kind::ALL.iter().filter(wanted).flat_map(of).collect()
}
