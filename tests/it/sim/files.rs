//! The same sweep for the sink that writes files, on a disk: when the process dies the folder is kept as it is then, and the next
//! life begins from that.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use millstream::Result;
use millstream::change::{ChangeBatch, ManualClock};
use millstream::connector::filesystem::FilesystemConnector;
use millstream::connector::{Connector, OptionSpec, Options, Prepared, Sink, SinkRecovery, Source, TableDescriptor};
use millstream::runtime::JobEnd;
use rand::SeedableRng;

use super::Random;
use super::case::Case;
use super::run::{End, Manner, edges, run};
use super::world::{Dangers, Fate, Life, WAYS, World, wrong};

/// The table's folder, and what it was like when a process died.
#[derive(Debug, Clone)]
struct Disk {
    life: Life,
    table: PathBuf,
    kept: PathBuf,
    /// Whether the sink is at work, in another thread: then the folder is what that leaves.
    at_work: Arc<AtomicBool>,
}

impl Disk {
    /// Keeps the folder as it is.
    fn keep(&self) {
        let _ = std::fs::remove_dir_all(&self.kept);
        copy(&self.table, &self.kept);
    }

    fn keep_at_rest(&self) {
        if !self.at_work.load(Ordering::Acquire) {
            self.keep();
        }
    }

    /// What becomes of an operation of the sink, which is at work then.
    async fn fate(&self, what: &str) -> Fate {
        let fate = self.life.operation(what).await;
        self.at_work.store(true, Ordering::Release);
        fate
    }

    /// Puts back what was kept.
    fn put_back(&self) {
        if self.kept.exists() {
            std::fs::remove_dir_all(&self.table).unwrap();
            std::fs::rename(&self.kept, &self.table).unwrap();
        }
    }

    /// What becomes of an operation; when the process dies in it the folder is kept once its effect is there.
    fn heard<T>(&self, fate: Fate, what: &str, outcome: Result<T>) -> Result<T> {
        self.at_work.store(false, Ordering::Release);
        if fate == Fate::Done {
            return outcome;
        }
        if fate != Fate::Undone {
            self.keep();
        }
        Err(wrong(what))
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let Ok(entries) = std::fs::read_dir(from) else { return };
    for entry in entries.map(|e| e.unwrap()) {
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

impl Connector for Disk {
    fn name(&self) -> &'static str {
        FilesystemConnector.name()
    }

    fn options(&self, table: &Options) -> Vec<OptionSpec> {
        FilesystemConnector.options(table)
    }

    fn source(&self, table: &TableDescriptor, projection: SchemaRef) -> Result<Box<dyn Source>> {
        FilesystemConnector.source(table, projection)
    }

    fn sink(&self, table: &TableDescriptor) -> Result<Box<dyn Sink>> {
        Ok(Box::new(DiskSink { disk: self.clone(), inner: FilesystemConnector.sink(table)? }))
    }
}

/// The sink itself, and the process may die before, in and behind everything that it does.
struct DiskSink {
    disk: Disk,
    inner: Box<dyn Sink>,
}

/// The files that a note names: where each is hidden, and the note of the first of them alone.
fn files(note: &str) -> (Vec<PathBuf>, String) {
    let all: Vec<serde_json::Value> = serde_json::from_str(note).unwrap();
    let hidden = all.iter().map(|file| PathBuf::from(file["hidden"].as_str().unwrap())).collect();
    (hidden, serde_json::to_string(&all[..1]).unwrap())
}

impl DiskSink {
    /// Shows the first file alone.
    async fn show_first(&mut self, prepared: &Prepared) -> Result<()> {
        let note = files(&prepared.note).1;
        self.inner.commit(Prepared { note, rows: Vec::new() }).await
    }
}

#[async_trait]
impl Sink for DiskSink {
    async fn write(&mut self, changes: ChangeBatch) -> Result<()> {
        let fate = self.disk.fate("write").await;
        let outcome = if fate == Fate::Undone { Ok(()) } else { self.inner.write(changes).await };
        self.disk.heard(fate, "write", outcome)
    }

    async fn recover(&mut self, recovery: SinkRecovery) -> Result<()> {
        let fate = self.disk.fate("recover").await;
        let outcome = match (fate, recovery.prepared.first()) {
            (Fate::Undone, _) => Ok(()),
            (Fate::Torn, Some(first)) => self.show_first(&first.clone()).await,
            _ => self.inner.recover(recovery).await,
        };
        self.disk.heard(fate, "recover", outcome)
    }

    async fn prepare(&mut self, checkpoint: u64) -> Result<Option<Prepared>> {
        let fate = self.disk.fate("prepare").await;
        let outcome = if fate == Fate::Undone { Ok(None) } else { self.inner.prepare(checkpoint).await };
        if let (Fate::Torn, Ok(Some(prepared))) = (fate, &outcome) {
            // What was written is not all on the disk.
            for hidden in files(&prepared.note).0 {
                std::fs::write(&hidden, &std::fs::read(&hidden).unwrap()[..1]).unwrap();
            }
        }
        self.disk.heard(fate, "prepare", outcome)
    }

    async fn commit(&mut self, prepared: Prepared) -> Result<()> {
        let fate = self.disk.fate("commit").await;
        let outcome = match fate {
            Fate::Undone => Ok(()),
            Fate::Torn => self.show_first(&prepared).await,
            _ => self.inner.commit(prepared).await,
        };
        self.disk.heard(fate, "commit", outcome)
    }

    async fn close(&mut self) -> Result<()> {
        self.inner.close().await
    }
}

/// The lines of all files that can be seen, each with its partition.
fn shown(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap().map(|e| e.unwrap()) {
            let name = entry.file_name().to_string_lossy().to_string();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if !name.starts_with('.') {
                let partition = next.file_name().unwrap().to_string_lossy().to_string();
                let text = std::fs::read_to_string(entry.path()).unwrap();
                lines.extend(text.lines().map(|line| format!("{partition} {line}")));
            }
        }
    }
    lines.sort();
    lines
}

/// Lives that die so, and one that does not; gives what is shown, and how many operations each life had.
fn lives(case: &Case, deaths: &[(u64, Fate)]) -> (Vec<String>, Vec<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let (table, kept) = (folder.path().join("spent"), folder.path().join("kept"));
    std::fs::create_dir_all(&table).unwrap();
    let world = World::new(None, false);
    let clock = Arc::new(ManualClock::new(1_000));
    let mut operations = Vec::new();
    let dangers = deaths.iter().map(|(at, how)| Dangers::death(*at, *how)).chain([Dangers::NONE]);
    let mut last = None;
    for dangers in dangers {
        let manner = Manner::plain(dangers);
        let life = Life::new(manner.seed, dangers);
        let at_work = Arc::default();
        let disk = Disk { life: life.clone(), table: table.clone(), kept: kept.clone(), at_work };
        let at_death = disk.clone();
        life.at_death(move || at_death.keep_at_rest());
        let own = Arc::new(disk.clone());
        let circuit = case.with_sinks(&Arc::new(edges(case, &world, &life, &manner)), |described| {
            described.options.set("path", table.to_str().unwrap());
            described.options.set("format", "csv");
            described.partition_keys = vec![0];
            own.clone()
        });
        let lived = run(circuit, &world, life, &manner, &clock, None).unwrap_or_else(|e| panic!("{deaths:?}: {e}"));
        let end = lived.end;
        operations.push(lived.life.operations());
        // All that the process had is gone, before the folder is what it was.
        drop(lived);
        if end == End::Died {
            disk.put_back();
        }
        last = Some(end);
    }
    assert_eq!(last, Some(End::Job(JobEnd::Finished)), "{deaths:?}");
    let hidden = glob::glob(&format!("{}/**/.part-*", table.display())).unwrap().count();
    assert_eq!(hidden, 0, "{deaths:?} leave hidden files");
    (shown(&table), operations)
}

#[test]
fn a_death_in_every_operation_of_the_sink_that_writes_files() {
    let case = Case::fixed(1, 24, &mut Random::seed_from_u64(7));
    let (expected, operations) = lives(&case, &[]);
    assert!(expected.len() > 5 && operations[0] > 30, "{expected:?}, {operations:?}");
    for at in 1..=operations[0] {
        for how in WAYS {
            assert_eq!(lives(&case, &[(at, how)]).0, expected, "death in operation {at}: {how:?}");
        }
    }
    for first in (1..=operations[0]).step_by(5) {
        for second in 1..=12 {
            let deaths = [(first, Fate::Unheard), (second, WAYS[(first + second) as usize % WAYS.len()])];
            assert_eq!(lives(&case, &deaths).0, expected, "{deaths:?}");
        }
    }
}
