//! Runs a program in one mode, and holds what comes out against what is expected.

use std::collections::BTreeMap;

use sqllogictest::RecordKind;

use super::action::Action;
use super::mode::Mode;
use super::program::{
    Answer, Check, Op, Program, What, error_answer, failed, mismatch, normal, other_error, went_well,
};
use super::report::Failure;
use super::running::{Running, kind_of};
use super::script::Lines;
use super::time::START;
use crate::Result;

/// What a run came to.
#[derive(Default)]
pub(super) struct Outcome {
    pub failures: Vec<Failure>,
    /// How many expectations held.
    pub checks: usize,
    /// What the script should say where it fails.
    pub answers: Vec<Answer>,
}

/// A program in the course of a run.
struct Run<'a> {
    program: &'a Program,
    mode: Mode,
    running: Vec<Running>,
    now: i64,
    steps: usize,
    /// By circuit: whether its failure was told or expected.
    heeded: Vec<bool>,
    outcome: Outcome,
}

/// Runs a program.
pub(super) fn run(program: &Program, mode: Mode) -> Result<Outcome> {
    let start = |s: &super::program::Started| Running::new(s.circuit.clone(), mode.workers(), START);
    let running = program.circuits.iter().map(start).collect::<Result<Vec<_>>>()?;
    let heeded = vec![false; running.len()];
    let mut run = Run { program, mode, running, now: START, steps: 0, heeded, outcome: Outcome::default() };
    for op in mode.ops(program)? {
        match op {
            Op::Step(actions) => run.step(&actions),
            Op::Check(check) => run.check(&check)?,
        }
    }
    run.finish();
    Ok(run.outcome)
}

impl Run<'_> {
    fn step(&mut self, actions: &[Action]) {
        for action in actions {
            if let Action::Clock(to) = action {
                self.now = *to;
            }
        }
        self.running.iter_mut().for_each(|r| r.step(actions, self.now));
        self.steps += 1;
        if self.mode == Mode::Restored {
            // 3, 1, 2, 3, …
            let workers = (self.steps + 1) % 3 + 1;
            self.running.iter_mut().for_each(|r| r.hand_over(workers));
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.outcome.failures.push(failure);
    }

    fn check(&mut self, check: &Check) -> Result<()> {
        let running = &mut self.running[check.circuit];
        let failure = running.failure().cloned();
        match (&check.what, failure) {
            (What::Fails(expected), Some(e)) => {
                self.heeded[check.circuit] = true;
                if expected.is_match(&e.to_string(), None) {
                    self.outcome.checks += 1;
                } else {
                    self.fail(other_error(&check.place, &check.about, &e, expected, RecordKind::Query));
                    self.outcome.answers.push(error_answer(&check.place, &e, &RecordKind::Query));
                }
            }
            (What::Fails(_), None) => self.fail(went_well(&check.place, &check.about, RecordKind::Query)),
            (_, Some(e)) => {
                if !std::mem::replace(&mut self.heeded[check.circuit], true) {
                    self.fail(failed(&check.place, &check.about, e, RecordKind::Query));
                }
            }
            (What::Table(expected), None) => {
                let actual: Vec<String> = running.output(check.sink).table.rows().cloned().collect();
                let same = counted(&normal(&actual)) == counted(&normal(&expected.lines));
                self.hold(check, expected, &actual, same);
            }
            (What::Changes { expected, any_order }, None) => {
                let actual = std::mem::take(&mut running.output(check.sink).changes);
                self.changes(check, expected, *any_order, &actual);
            }
            (What::Late(expected), None) => self.late(check, *expected)?,
            (What::State { operator, most }, None) => self.state(check, operator, *most)?,
        }
        Ok(())
    }

    fn late(&mut self, check: &Check, expected: u64) -> Result<()> {
        let actual = self.running[check.circuit].late_rows()?;
        // Those that are repeated may be late twice.
        if actual == expected || matches!(self.mode, Mode::Duplicates(_)) {
            self.outcome.checks += 1;
            return Ok(());
        }
        let message = format!("{expected} late rows are expected, and there are {actual}");
        self.fail(Failure::new(&check.place, message));
        let name = check.about.strip_prefix("late rows of ").map_or(String::new(), |n| format!(" {n}"));
        self.outcome.answers.push(Answer::head(&check.place, format!("late {actual}{name}")));
        Ok(())
    }

    fn state(&mut self, check: &Check, operator: &str, most: u64) -> Result<()> {
        let operators = self.running[check.circuit].operators()?;
        let held: Vec<u64> = operators.iter().filter(|o| o.name == operator).map(|o| o.stats.state_rows).collect();
        if held.is_empty() {
            let names = operators.iter().map(|o| o.name.as_str()).collect::<Vec<_>>().join(", ");
            self.fail(Failure::new(&check.place, format!("no operator {operator} runs; those that do: {names}")));
            return Ok(());
        }
        let sum: u64 = held.iter().sum();
        if sum > most {
            let message = format!("{operator} holds {sum} rows of state, and at most {most} are expected");
            self.fail(Failure::new(&check.place, message));
            return Ok(());
        }
        self.outcome.checks += 1;
        Ok(())
    }

    /// Changes are the same, or where the steps are others, come to the same.
    fn changes(&mut self, check: &Check, expected: &Lines, any_order: bool, actual: &[String]) {
        let (wanted, given) = (normal(&expected.lines), normal(actual));
        if !self.mode.keeps_steps() {
            match (net(&wanted), net(&given)) {
                (Ok(wanted), Ok(given)) if wanted == given => self.outcome.checks += 1,
                (Ok(wanted), Ok(given)) => self.fail(mismatch(
                    &check.place,
                    &format!("{}, what they come to", check.about),
                    &shown(&wanted),
                    &shown(&given),
                )),
                (Err(line), _) | (_, Err(line)) => {
                    self.fail(Failure::new(
                        &check.place,
                        format!("a change begins with +I, -U, +U or -D, not: {line}"),
                    ));
                }
            }
            return;
        }
        let exact = self.mode == Mode::Written && !any_order;
        let same = if exact { wanted == given } else { counted(&wanted) == counted(&given) };
        self.hold(check, expected, actual, same);
    }

    fn hold(&mut self, check: &Check, expected: &Lines, actual: &[String], same: bool) {
        if same {
            self.outcome.checks += 1;
            return;
        }
        self.fail(mismatch(&check.place, &check.about, &expected.lines, actual));
        self.outcome.answers.push(Answer::lines(&check.place, expected, actual.to_vec()));
    }

    /// A query that has failed without anybody having looked is a failure too.
    fn finish(&mut self) {
        for (circuit, started) in self.program.circuits.iter().enumerate() {
            let told = self.heeded[circuit];
            if let (Some(e), false) = (self.running[circuit].failure(), told) {
                let failure = failed(&started.place, &started.sql, e.clone(), RecordKind::Query);
                self.outcome.failures.push(failure);
            }
        }
    }
}

/// How often each line comes.
fn counted(lines: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    lines.iter().for_each(|line| *counts.entry(line.as_str()).or_default() += 1);
    counts
}

/// What changes come to: by row how often it came less how often it went. Fails with a line that is no change.
fn net(changes: &[String]) -> Result<BTreeMap<&str, i64>, &str> {
    let mut counts = BTreeMap::<&str, i64>::new();
    for change in changes {
        let (kind, row) = kind_of(change).ok_or(change.as_str())?;
        *counts.entry(row).or_default() += if kind.is_addition() { 1 } else { -1 };
    }
    counts.retain(|_, count| *count != 0);
    Ok(counts)
}

fn shown(net: &BTreeMap<&str, i64>) -> Vec<String> {
    let line = |(row, count): (&&str, &i64)| format!("{}{row} × {}", if *count > 0 { "+" } else { "-" }, count.abs());
    net.iter().map(line).collect()
}
