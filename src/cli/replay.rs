//! `millstream replay`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use millstream::change::{ChangeBatch, Folded};
use millstream::connector::text::{write_row, write_value};
use millstream::engine::{Replay, ReplayedStep};
use millstream::plan::explain;
use millstream::runtime::Circuit;
use millstream::runtime::circuit::{NodeId, NodeKind, SinkSpec};
use millstream::{Error, Result};

use super::{note, table, with_settings};

/// How many rows a table may have that is shown at the end.
const TABLE_ROWS: usize = 100_000;

/// Which journal to run again, and what to print of it.
#[derive(Args)]
pub struct ReplayArgs {
    /// The folder of a run, of a job, whose newest run is then taken, or of `millstream.journal.dir` with the folder of a single job.
    folder: PathBuf,
    /// Prints nothing of the steps before this one; they are run all the same.
    #[arg(long, value_name = "STEP", default_value_t = 1)]
    from: u64,
    /// Ends behind this step.
    #[arg(long, value_name = "STEP")]
    to: Option<u64>,
    /// Prints what this operator gives, in the place of what the sinks are given: its number or name, as in EXPLAIN.
    #[arg(long, value_name = "N|NAME")]
    operator: Option<String>,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Form::Changes)]
    print: Form,
    /// Sets a setting, such as the key to a store in which a checkpoint is that the replay needs.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Prints the operators and their numbers, and runs nothing.
    #[arg(long)]
    operators: bool,
}

/// How what is given is printed.
#[derive(Clone, Copy, ValueEnum, PartialEq)]
enum Form {
    /// Each change, step by step.
    Changes,
    /// The rows that stand behind the last step.
    Table,
}

/// Something whose changes are printed.
struct View {
    /// What stands in front of its lines, or above its table.
    name: String,
    columns: Vec<String>,
    rows: Folded<Vec<String>>,
}

impl ReplayArgs {
    /// Runs a journal again.
    pub fn run(&self) -> Result<()> {
        let engine = with_settings(&self.settings)?;
        let mut replay = engine.replay(&self.folder)?;
        if self.operators {
            return print(&explain(replay.circuit()));
        }
        let tapped = self.operator.as_ref().map(|name| named(replay.circuit(), name)).transpose()?;
        replay.tap(tapped);
        if let Some(mark) = replay.checkpoint() {
            if self.print == Form::Table {
                let reason = "the changes before it are not in the journal, and so there is no table to print";
                return Err(Error::Option(format!("the replay begins with checkpoint {}: {reason}", mark.address)));
            }
            note([format!(
                "the replay begins behind step {}, with checkpoint {}",
                replay.began_behind(),
                mark.address
            )]);
        }
        let mut views = views(replay.circuit(), tapped);
        let outcome = self.steps(&mut replay, tapped, &mut views);
        note(replay.journal().note().map(str::to_string));
        if self.print == Form::Table && outcome.is_ok() {
            let titled = views.len() > 1;
            for view in &mut views {
                let title = if titled { format!("{}:\n", view.name) } else { String::new() };
                print(&(title + &table::draw(&view.columns, &view.rows.take())))?;
            }
        }
        outcome
    }

    fn steps(&self, replay: &mut Replay, tapped: Option<NodeId>, views: &mut [View]) -> Result<()> {
        while self.to.is_none_or(|to| replay.next_step() <= to) {
            let Some(step) = replay.step()? else { break };
            let given = match tapped {
                Some(_) => vec![step.output.tapped.clone()],
                None => step.output.sinks.clone(),
            };
            match self.print {
                Form::Changes if step.step >= self.from => print(&changes(&step, views, &given)?)?,
                Form::Changes => {}
                Form::Table => fold(views, &given)?,
            }
        }
        Ok(())
    }
}

/// What is printed: the sinks, or one node.
fn views(circuit: &Circuit, tapped: Option<NodeId>) -> Vec<View> {
    let view = |id: usize, name: String| View {
        name,
        columns: circuit.nodes[id].schema.fields().iter().map(|f| f.name().clone()).collect(),
        rows: Folded::default(),
    };
    if let Some(id) = tapped {
        return vec![view(id.0, circuit.name(id))];
    }
    let nodes = circuit.sinks.iter().enumerate().filter_map(|(sink, spec)| {
        let id = circuit.nodes.iter().position(|n| matches!(n.kind, NodeKind::Sink(i) if i == sink))?;
        Some(match spec {
            SinkSpec::Table { table, .. } => view(id, table.name.clone()),
            SinkSpec::Result => view(id, "result".into()),
        })
    });
    nodes.collect()
}

/// The node that a number or a name means.
fn named(circuit: &Circuit, wanted: &str) -> Result<NodeId> {
    let digits = wanted.trim_start_matches('#');
    if let Ok(number) = digits.parse::<usize>() {
        return match circuit.nodes.get(number) {
            Some(_) => Ok(NodeId(number)),
            None => Err(Error::Option(format!(
                "there is no operator {number}: there are {}, from 0 on",
                circuit.nodes.len()
            ))),
        };
    }
    let all = || (0..circuit.nodes.len()).map(NodeId);
    let list =
        |ids: &[NodeId]| ids.iter().map(|id| format!("#{} {}", id.0, circuit.name(*id))).collect::<Vec<_>>().join(", ");
    let found: Vec<NodeId> = all().filter(|id| circuit.name(*id).eq_ignore_ascii_case(wanted)).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(Error::Option(format!(
            "there is no operator '{wanted}': there are {}",
            list(&all().collect::<Vec<_>>())
        ))),
        several => Err(Error::Option(format!(
            "several operators are called '{wanted}'; name one by its number: {}",
            list(several)
        ))),
    }
}

/// A step's changes under a line that names it; nothing where there are none.
fn changes(step: &ReplayedStep, views: &[View], given: &[Vec<ChangeBatch>]) -> Result<String> {
    let mut text = String::new();
    for (view, batches) in views.iter().zip(given) {
        for batch in batches {
            for row in 0..batch.num_rows() {
                if views.len() > 1 {
                    text.push_str(&view.name);
                    text.push_str("> ");
                }
                write_row(&mut text, batch.kind(row), &batch.rows, row)?;
                text.push('\n');
            }
        }
    }
    if text.is_empty() {
        return Ok(text);
    }
    let time = chrono::DateTime::from_timestamp_millis(step.processing_time);
    let time =
        time.map_or_else(|| step.processing_time.to_string(), |t| t.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
    Ok(format!("step {} at {time}, {} rows in\n{text}", step.step, step.rows))
}

fn fold(views: &mut [View], given: &[Vec<ChangeBatch>]) -> Result<()> {
    for (view, batches) in views.iter_mut().zip(given) {
        for batch in batches {
            for row in 0..batch.num_rows() {
                let cell = |column: &arrow::array::ArrayRef| {
                    let mut text = String::new();
                    write_value(&mut text, column.as_ref(), row).map(|()| text)
                };
                let cells = batch.rows.columns().iter().map(cell).collect::<Result<_>>()?;
                let advice = |what: &str| Error::Option(format!("{} {what}: print its changes", view.name));
                view.rows.apply(batch.kind(row), cells).map_err(|_| advice("gives changes that make no table"))?;
                if view.rows.len() > TABLE_ROWS {
                    return Err(advice(&format!("has more than {TABLE_ROWS} rows")));
                }
            }
        }
    }
    Ok(())
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| Error::io("writing to standard output", e))
}
