//! A source that can be read again and a sink with transactions, whose operations go wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use millstream::change::ChangeBatch;
use millstream::connector::{
    Connector, FromPartition, OptionSpec, Options, Prepared, Sink, SinkRecovery, Source, SourceBatch, SplitPosition,
    TableDescriptor,
};
use millstream::table::project;
use millstream::{Error, Result};

use super::Canary;
use super::world::{Life, World, wrong};

/// The rows of a table, by split.
pub type Splits = Vec<ChangeBatch>;

/// Reads and writes the tables of a simulated world.
#[derive(Debug, Clone)]
pub struct Edges {
    pub world: World,
    pub life: Life,
    pub tables: Arc<BTreeMap<String, Splits>>,
    /// How many rows a source gives at once.
    pub batch_rows: usize,
}

impl Connector for Edges {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn options(&self, _: &Options) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn source(&self, table: &TableDescriptor, projection: SchemaRef) -> Result<Box<dyn Source>> {
        let splits = &self.tables[&table.name];
        let narrow = |split: &ChangeBatch| Ok(split.with_rows(project(&split.rows, &projection)?));
        let splits = splits.iter().map(narrow).collect::<Result<Vec<_>>>()?;
        Ok(Box::new(SplitSource {
            edges: self.clone(),
            table: table.name.clone(),
            read: vec![0; splits.len()],
            has_ended: vec![false; splits.len()],
            splits,
            last: FromPartition::default(),
            position: None,
            before: None,
        }))
    }

    fn sink(&self, table: &TableDescriptor) -> Result<Box<dyn Sink>> {
        let name = table.name.clone();
        Ok(Box::new(TransactionSink { edges: self.clone(), name, epoch: 0, begun: 0, open: Vec::new() }))
    }
}

struct SplitSource {
    edges: Edges,
    table: String,
    splits: Splits,
    /// By split: how many rows were given, and whether its end was told.
    read: Vec<usize>,
    has_ended: Vec<bool>,
    last: FromPartition,
    position: Option<SplitPosition>,
    before: Option<SplitPosition>,
}

impl SplitSource {
    fn split(&self, name: &str) -> Result<usize> {
        let number = name.parse().ok().filter(|n| *n < self.splits.len());
        number.ok_or_else(|| Error::Option(format!("there is no split '{name}'")))
    }
}

#[async_trait]
impl Source for SplitSource {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        let what = format!("read {}", self.table);
        let fate = self.edges.life.whole(&what).await;
        fate.answer(&what, ())?;
        let open: Vec<usize> = (0..self.splits.len()).filter(|s| !self.has_ended[*s]).collect();
        if open.is_empty() {
            return Ok(None);
        }
        let split = open[self.edges.life.below(open.len())];
        let left = self.splits[split].num_rows() - self.read[split];
        let rows = self.edges.life.below(self.edges.batch_rows + 1).min(left);
        let changes = self.splits[split].slice(self.read[split], rows);
        self.read[split] += rows;
        self.has_ended[split] = rows == left;
        self.last = FromPartition { partition: split, ended: rows == left };
        let position = SplitPosition { split: split.to_string(), offset: self.read[split].to_string() };
        self.before = self.position.replace(position);
        Ok(Some(SourceBatch { changes, bytes: 0 }))
    }

    fn partitions(&self) -> usize {
        self.splits.len()
    }

    fn last_partition(&self) -> FromPartition {
        self.last
    }

    fn position(&self) -> Option<SplitPosition> {
        let is_late = self.edges.world.canary == Some(Canary::NotesLate);
        let split = |p: &&SplitPosition| self.position.as_ref().is_some_and(|own| own.split == p.split);
        self.before.as_ref().filter(split).filter(|_| is_late).or(self.position.as_ref()).cloned()
    }

    async fn seek(&mut self, positions: Vec<SplitPosition>) -> Result<()> {
        let what = format!("seek {}", self.table);
        self.edges.life.whole(&what).await.answer(&what, ())?;
        for position in positions {
            let split = self.split(&position.split)?;
            let short = usize::from(self.edges.world.canary == Some(Canary::SeeksShort));
            self.read[split] = (position.number()? as usize).saturating_sub(short);
        }
        Ok(())
    }
}

/// Writes into transactions, each of which is shown as a whole.
struct TransactionSink {
    edges: Edges,
    name: String,
    /// The number that this writer was given; a later one fences it off.
    epoch: u64,
    begun: u64,
    open: Vec<ChangeBatch>,
}

impl TransactionSink {
    fn canary(&self, canary: Canary) -> bool {
        self.edges.world.canary == Some(canary)
    }

    /// Does something with the log, unless another writer has come.
    async fn as_writer(&self, what: &str, does: impl FnOnce(&mut super::world::Log)) -> Result<()> {
        let what = format!("{what} {}", self.name);
        let fate = self.edges.life.whole(&what).await;
        if fate.happens {
            self.edges.world.log(&self.name, |log| {
                if log.epoch != self.epoch {
                    return Err(Error::Execution(format!("{what}: another writer has come")));
                }
                does(log);
                Ok(())
            })?;
        }
        fate.answer(&what, ())
    }
}

#[async_trait]
impl Sink for TransactionSink {
    async fn write(&mut self, changes: ChangeBatch) -> Result<()> {
        let what = format!("write {}", self.name);
        self.edges.life.whole(&what).await.answer(&what, ())?;
        self.open.push(changes);
        Ok(())
    }

    async fn recover(&mut self, recovery: SinkRecovery) -> Result<()> {
        let what = format!("fence {}", self.name);
        let fate = self.edges.life.whole(&what).await;
        if fate.happens {
            let forgets = self.edges.world.forgets_prepared;
            self.epoch = self.edges.world.log(&self.name, |log| {
                log.epoch += 1;
                if forgets {
                    log.prepared.clear();
                }
                log.epoch
            });
        }
        fate.answer(&what, ())?;
        let known: Vec<String> = recovery.prepared.iter().map(|p| p.note.clone()).collect();
        if !self.canary(Canary::ForgetsPrepared) {
            for prepared in recovery.prepared {
                self.commit(prepared).await?;
            }
        }
        self.as_writer("abort", |log| log.prepared.retain(|name, _| known.contains(name))).await
    }

    async fn prepare(&mut self, checkpoint: u64) -> Result<Option<Prepared>> {
        if self.open.is_empty() {
            return Ok(None);
        }
        let rows = std::mem::take(&mut self.open);
        self.begun += 1;
        let note = format!("{}-{}-{checkpoint}", self.epoch, self.begun);
        let shows = self.canary(Canary::CommitsEarly);
        self.as_writer("prepare", |log| match shows {
            true => log.committed.push((note.clone(), rows.clone())),
            false => drop(log.prepared.insert(note.clone(), rows.clone())),
        })
        .await?;
        let rows = if self.edges.world.forgets_prepared { rows } else { Vec::new() };
        Ok(Some(Prepared { note, rows }))
    }

    async fn commit(&mut self, prepared: Prepared) -> Result<()> {
        let Prepared { note, rows } = prepared;
        let twice = self.canary(Canary::CommitsTwice);
        let mut is_lost = false;
        self.as_writer("commit", |log| {
            if log.has_committed(&note) && !twice {
                return;
            }
            let kept = log.prepared.remove(&note);
            let again = log.committed.iter().find(|(name, _)| *name == note).map(|(_, rows)| rows.clone());
            match kept.or((!rows.is_empty()).then_some(rows)).or(again) {
                Some(rows) => log.committed.push((note.clone(), rows)),
                None => is_lost = true,
            }
        })
        .await?;
        if is_lost { Err(wrong("a prepared transaction is gone")) } else { Ok(()) }
    }
}
