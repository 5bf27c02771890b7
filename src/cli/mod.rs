//! The command line: `run`, `check`, `explain`, `test`, `state`, `savepoint`, `replay`.

mod replay;
mod run;
mod state;
mod table;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use millstream::{Engine, Error, Result};

/// Flink SQL, embedded: runs continuous queries in this process.
#[derive(Parser)]
#[command(name = "millstream", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a script: its statements in order, and its INSERTs side by side, until the last bounded input ends or SIGINT.
    Run {
        #[command(flatten)]
        script: Script,
        /// How the result of a bare SELECT is shown.
        #[arg(long, value_enum, default_value_t = ResultMode::Changelog)]
        result_mode: ResultMode,
        /// Shows no progress on stderr.
        #[arg(long)]
        quiet: bool,
    },
    /// Checks a script without running it.
    Check {
        #[command(flatten)]
        script: Script,
    },
    /// Shows the circuits that a script would run.
    Explain {
        #[command(flatten)]
        script: Script,
    },
    /// Runs test scripts, and tells which expectations do not hold.
    Test(test::Test),
    /// Shows what a checkpoint holds: where sources stood, and the operators' state.
    State(state::State),
    /// Has a running job take a checkpoint now, and perhaps a copy of it; prints where it is.
    Savepoint(state::Savepoint),
    /// Runs a journaled run again, step by step and bit for bit, and prints what its sinks or any operator were given.
    Replay(replay::ReplayArgs),
}

/// A script and the settings that it starts with.
#[derive(Args)]
struct Script {
    /// The SQL file; `-` for standard input.
    file: PathBuf,
    /// Sets a setting before the script starts, as `SET` does.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// How many workers; short for `--set parallelism.default=N`.
    #[arg(long, value_name = "N")]
    parallelism: Option<usize>,
}

/// How the result of a bare SELECT is shown.
#[derive(Clone, Copy, ValueEnum, PartialEq)]
enum ResultMode {
    /// Each change as Flink prints it: `+I[1, a]`.
    Changelog,
    /// A table, when the query has ended.
    Table,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    // A panic in an operator is reported as the job's error, in one line like any other.
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = match Cli::parse().command {
        Command::Run { script, result_mode, quiet } => run::run(&script, result_mode, quiet).map(|()| true),
        Command::Check { script } => check(&script).map(|()| true),
        Command::Explain { script } => explain(&script).map(|()| true),
        Command::Test(test) => test.run(),
        Command::State(state) => state.run().map(|()| true),
        Command::Savepoint(savepoint) => savepoint.run().map(|()| true),
        Command::Replay(replay) => replay.run().map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

impl Script {
    /// The script's text.
    fn read(&self) -> Result<String> {
        let context = || format!("reading {}", self.file.display());
        let bytes = match self.file.as_os_str() == "-" {
            true => {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes).map(|_| bytes)
            }
            false => std::fs::read(&self.file),
        };
        let bytes = bytes.map_err(|e| Error::io(context(), e))?;
        String::from_utf8(bytes).map_err(|e| Error::Option(format!("{}: {e}", self.file.display())))
    }

    /// An engine with the settings of the command line.
    fn engine(&self) -> Result<Engine> {
        let mut engine = with_settings(&self.settings)?;
        if let Some(workers) = self.parallelism {
            note(engine.set("parallelism.default", &workers.to_string())?);
        }
        Ok(engine)
    }
}

/// An engine with settings, each given as `KEY=VALUE`.
fn with_settings(settings: &[String]) -> Result<Engine> {
    let mut engine = Engine::new()?;
    for setting in settings {
        let Some((key, value)) = setting.split_once('=') else {
            return Err(Error::Option(format!("--set {setting}: expected KEY=VALUE")));
        };
        note(engine.set(key.trim(), value.trim())?);
    }
    Ok(engine)
}

/// Tells the user something that is no result.
fn note(notes: impl IntoIterator<Item = String>) {
    notes.into_iter().for_each(|n| eprintln!("note: {n}"));
}

fn check(script: &Script) -> Result<()> {
    note(script.engine()?.check(&script.read()?)?);
    Ok(())
}

fn explain(script: &Script) -> Result<()> {
    print!("{}", script.engine()?.explain(&script.read()?)?);
    Ok(())
}
