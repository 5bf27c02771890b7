//! In how many ways a script is run: the same rows, cut, divided, interrupted and disturbed.

use super::action::Action;
use super::disorder;
use super::program::{Op, Program};
use crate::change::RowKind;
use crate::table::options::nearest;
use crate::{Error, Result};

/// A way to run a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As it is written, on one worker.
    Written,
    /// Cut into steps of one row; the two rows of an update stay together.
    Rows,
    /// In as few steps as can be: all that stands between two expectations goes in at once, up to where a watermark or the
    /// clock is moved.
    Merged,
    /// On several workers.
    Workers(usize),
    /// Thrown away and rebuilt from a snapshot after every step, each time on another number of workers.
    Restored,
    /// Rows shuffled as far as the watermark allows, by this seed; for tables that the script says tolerate it.
    Disorder(u64),
    /// Rows repeated, by this seed; for tables that the script says tolerate it.
    Duplicates(u64),
}

/// The kinds of modes, as flags and scripts name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`Mode::Written`].
    Written,
    /// [`Mode::Rows`].
    Rows,
    /// [`Mode::Merged`].
    Merged,
    /// [`Mode::Workers`].
    Workers,
    /// [`Mode::Restored`].
    Restored,
    /// [`Mode::Disorder`].
    Disorder,
    /// [`Mode::Duplicates`].
    Duplicates,
}

impl Kind {
    /// All of them, in the order in which they are run.
    pub const ALL: [Kind; 7] =
        [Kind::Written, Kind::Rows, Kind::Merged, Kind::Workers, Kind::Restored, Kind::Disorder, Kind::Duplicates];

    /// Its name in flags and scripts.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Written => "written",
            Kind::Rows => "rows",
            Kind::Merged => "merged",
            Kind::Workers => "workers",
            Kind::Restored => "restored",
            Kind::Disorder => "disorder",
            Kind::Duplicates => "duplicates",
        }
    }

    /// The kind of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Kind::name);
            let hint = nearest(name, names).map_or(String::new(), |near| format!("; did you mean '{near}'?"));
            Error::Option(format!("there is no mode '{name}'{hint} (modes are {})", names.join(", ")))
        })
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mode::Written => f.write_str("as written"),
            Mode::Rows => f.write_str("mode rows: one row a step"),
            Mode::Merged => f.write_str("mode merged: in as few steps as can be"),
            Mode::Workers(workers) => write!(f, "mode workers: on {workers}"),
            Mode::Restored => f.write_str("mode restored: rebuilt from a snapshot after every step"),
            Mode::Disorder(seed) => write!(f, "mode disorder: rows shuffled, seed {seed}"),
            Mode::Duplicates(seed) => write!(f, "mode duplicates: rows repeated, seed {seed}"),
        }
    }
}

impl Mode {
    /// The workers at the beginning.
    pub(super) fn workers(self) -> usize {
        match self {
            Mode::Workers(workers) => workers,
            Mode::Restored => 2,
            _ => 1,
        }
    }

    /// Whether the steps are the script's: then changes are the very ones that are expected, else they come to the same.
    pub(super) fn keeps_steps(self) -> bool {
        matches!(self, Mode::Written | Mode::Workers(_) | Mode::Restored)
    }

    /// What goes in, and is looked at, in this mode.
    pub(super) fn ops(self, program: &Program) -> Result<Vec<Op>> {
        match self {
            Mode::Written | Mode::Workers(_) | Mode::Restored => Ok(program.ops.clone()),
            Mode::Rows => Ok(program.ops.iter().flat_map(by_row).collect()),
            Mode::Merged => Ok(merged(&program.ops)),
            Mode::Disorder(seed) => disorder::shuffled(program, seed),
            Mode::Duplicates(seed) => disorder::repeated(program, seed),
        }
    }
}

/// One step for each row and each other action.
fn by_row(op: &Op) -> Vec<Op> {
    let Op::Step(actions) = op else { return vec![op.clone()] };
    if actions.is_empty() {
        return vec![op.clone()];
    }
    let mut steps = Vec::new();
    for action in actions {
        let Action::Rows(table, rows) = action else {
            steps.push(Op::Step(vec![action.clone()]));
            continue;
        };
        let mut from = 0;
        while from < rows.num_rows() {
            let pair = rows.kind(from) == RowKind::UpdateBefore
                && from + 1 < rows.num_rows()
                && rows.kind(from + 1) == RowKind::UpdateAfter;
            let length = if pair { 2 } else { 1 };
            steps.push(Op::Step(vec![Action::Rows(table.clone(), rows.slice(from, length))]));
            from += length;
        }
    }
    steps
}

/// Steps of rows joined, up to the next that does something else.
fn merged(ops: &[Op]) -> Vec<Op> {
    let mut all = Vec::new();
    let mut joined: Vec<Action> = Vec::new();
    let mut flush = |joined: &mut Vec<Action>, next: Option<Op>| {
        if !joined.is_empty() {
            all.push(Op::Step(std::mem::take(joined)));
        }
        all.extend(next);
    };
    for op in ops {
        match op {
            Op::Step(actions) if actions.is_empty() || actions.iter().any(|a| matches!(a, Action::Clock(_))) => {
                flush(&mut joined, Some(op.clone()));
            }
            Op::Step(actions) => {
                joined.extend(actions.iter().cloned());
                if actions.iter().any(|a| !matches!(a, Action::Rows(..))) {
                    flush(&mut joined, None);
                }
            }
            Op::Check(_) => flush(&mut joined, Some(op.clone())),
        }
    }
    flush(&mut joined, None);
    all
}
