//! `millstream state` and `millstream savepoint`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use millstream::runtime::checkpoint::{Checkpoint, CheckpointStore, Manifest, OperatorEntry, ask, load_newest};
use millstream::{Engine, Error, Result};

use super::table;

/// Which job's checkpoints are meant.
#[derive(Args)]
struct Place {
    /// The address that the script has as `execution.checkpointing.dir`.
    dir: String,
    /// The job's folder in it; may be left out where there is only one.
    #[arg(long)]
    job: Option<String>,
    /// What the store has to be told, as `SET` does in the script: `s3.endpoint=…`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

#[derive(Args)]
pub struct State {
    #[command(flatten)]
    place: Place,
    /// The checkpoint's number; the newest that is whole unless given.
    #[arg(long, value_name = "N")]
    checkpoint: Option<u64>,
    /// Tells what would become of the state if this script went on from the checkpoint.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
}

#[derive(Args)]
pub struct Savepoint {
    #[command(flatten)]
    place: Place,
    /// Where to write a copy that stands by itself and is never removed.
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// How many seconds to wait for the job to answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

impl Place {
    async fn open(&self) -> Result<CheckpointStore> {
        let pair = |setting: &String| {
            let pair = setting.split_once('=').map(|(key, value)| (key.trim().to_string(), value.trim().to_string()));
            pair.ok_or_else(|| Error::Option(format!("--set {setting}: expected KEY=VALUE")))
        };
        let options = self.settings.iter().map(pair).collect::<Result<_>>()?;
        let job = match &self.job {
            Some(job) => job.clone(),
            None => match CheckpointStore::jobs(&self.dir, &options).await?.as_slice() {
                [only] => only.clone(),
                [] => return Err(Error::Option(format!("there are no checkpoints in '{}'", self.dir))),
                several => {
                    let message =
                        format!("there are several jobs in '{}': --job {}", self.dir, several.join(", --job "));
                    return Err(Error::Option(message));
                }
            },
        };
        CheckpointStore::open(&self.dir, &job, &options)
    }
}

impl State {
    pub fn run(&self) -> Result<()> {
        let mut engine = Engine::new()?;
        let checkpoint = engine.block_on(async {
            let store = self.place.open().await?;
            match self.checkpoint {
                Some(id) => Checkpoint::load(&store, id).await,
                None => load_newest(&store).await?.ok_or_else(|| Error::Option("there is no checkpoint".into())),
            }
        })?;
        match &self.script {
            None => print!("{}", describe(&checkpoint.manifest)),
            Some(file) => {
                let read = std::fs::read_to_string(file);
                let text = read.map_err(|e| Error::io(format!("reading {}", file.display()), e))?;
                engine.compare(&text, &checkpoint)?.iter().for_each(|line| println!("{line}"));
            }
        }
        Ok(())
    }
}

impl Savepoint {
    pub fn run(&self) -> Result<()> {
        let engine = Engine::new()?;
        let durable = engine.block_on(async {
            let store = self.place.open().await?;
            ask(&store, self.to.as_deref(), Duration::from_secs(self.timeout)).await
        })?;
        println!("{}", durable.address);
        Ok(())
    }
}

fn describe(manifest: &Manifest) -> String {
    let bytes: u64 = manifest.files.iter().map(|f| f.bytes).sum();
    let taken = time(manifest.taken_at);
    let mut text = format!(
        "checkpoint {} of job '{}', {}, taken at {taken} on {} workers: {bytes} bytes in {} files\n",
        manifest.id,
        manifest.job,
        manifest.reason,
        manifest.workers,
        manifest.files.len()
    );
    let sources = manifest.sources.iter().flat_map(|source| {
        let watermark = source.watermarks.first().map_or(String::new(), |w| time(*w));
        let row = move |split: String, position: String| vec![source.table.clone(), split, position, watermark.clone()];
        let position = |s: &millstream::runtime::checkpoint::SplitEntry| {
            let read = s.position.as_ref().map_or("-", |p| p.offset.as_str());
            if s.rows_behind > 0 { format!("{read} + {} rows", s.rows_behind) } else { read.to_string() }
        };
        match (source.splits.is_empty(), source.ended) {
            (_, true) => vec![row("all".into(), "end".into())],
            (true, false) => vec![row("-".into(), "-".into())],
            _ => source.splits.iter().map(|s| row(s.split.clone(), position(s))).collect(),
        }
    });
    text += &table::draw(&names(&["source", "split", "position", "watermark"]), &sources.collect::<Vec<_>>());
    let operators = manifest.operators.iter().filter(|o| !o.tables.is_empty() || o.in_flight.is_some());
    let operators = operators.map(|o| {
        let (rows, bytes) = size(manifest, o);
        vec![o.name.clone(), o.detail.clone(), rows.to_string(), bytes.to_string(), time(o.watermark)]
    });
    let head = names(&["operator", "computes", "rows", "bytes", "watermark"]);
    text += &table::draw(&head, &operators.collect::<Vec<_>>());
    let sinks = manifest.sinks.iter().map(|s| vec![s.table.clone(), s.prepared.len().to_string()]);
    text += &table::draw(&names(&["sink", "to be committed"]), &sinks.collect::<Vec<_>>());
    text
}

/// How many rows an operator's state has, and how many bytes the files that hold it.
fn size(manifest: &Manifest, operator: &OperatorEntry) -> (usize, u64) {
    let in_flight = operator.in_flight.iter().flat_map(|f| &f.rows);
    let chunks: Vec<_> = operator.tables.iter().chain(in_flight).flat_map(|t| &t.chunks).collect();
    let mut files: Vec<usize> = chunks.iter().map(|c| c.file).collect();
    files.sort_unstable();
    files.dedup();
    let bytes = files.iter().filter_map(|f| manifest.files.get(*f)).map(|f| f.bytes).sum();
    (chunks.iter().map(|c| c.rows).sum(), bytes)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| n.to_string()).collect()
}

fn time(millis: i64) -> String {
    match chrono::DateTime::from_timestamp_millis(millis) {
        Some(time) if millis != i64::MAX && millis != i64::MIN => time.format("%Y-%m-%d %H:%M:%S%.3f").to_string(),
        _ => "-".into(),
    }
}
