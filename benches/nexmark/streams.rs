//! The three streams, fed side by side: what a step takes of each is of the same span of events.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use millstream::change::ChangeBatch;
use millstream::connector::nexmark::{EventKind, Generator, NexmarkConfig};
use millstream::connector::{Connector, OptionSpec, Options, Sink, Source, SourceBatch, TableDescriptor};
use millstream::table::project;
use millstream::{Error, Result};

/// The events of a batch of each stream: 178 persons, 534 auctions, 8188 bids.
pub const SPAN: u64 = 8900;
const CYCLE: u64 = 50;

/// The streams by their tables' names, with what one has of fifty events in a row.
pub const STREAMS: [(&str, EventKind, u64); 3] =
    [("person", EventKind::Person, 1), ("auction", EventKind::Auction, 3), ("bid", EventKind::Bid, 46)];

/// The events of the benchmark.
pub fn config(events: u64) -> NexmarkConfig {
    NexmarkConfig { events, rate: 10_000, out_of_order: 50, ..NexmarkConfig::default() }
}

/// The columns of a stream, those of `only` or all.
pub fn schema(kind: EventKind, only: Option<&[&str]>) -> SchemaRef {
    let names = kind.fields().iter().filter(|name| only.is_none_or(|o| o.contains(name)));
    let field = |name: &&str| {
        let data_type = match *name {
            "dateTime" | "expires" => DataType::Timestamp(TimeUnit::Millisecond, None),
            "id" | "seller" | "category" | "initialBid" | "reserve" | "auction" | "bidder" | "price" => DataType::Int64,
            _ => DataType::Utf8,
        };
        Field::new(*name, data_type, true)
    };
    Arc::new(Schema::new(names.map(field).collect::<Vec<_>>()))
}

/// One stream's batches, in memory or made as they are asked for.
#[derive(Debug)]
pub struct Batches {
    of: Of,
    share: usize,
}

#[derive(Debug)]
enum Of {
    Memory(Arc<[RecordBatch]>, usize),
    Generator(Box<Generator>),
}

impl Batches {
    fn generated(kind: EventKind, share: u64, schema: SchemaRef, events: u64) -> Result<Self> {
        let generator = Generator::new(&config(events), Some(kind), schema, 0..events)?;
        Ok(Self { of: Of::Generator(Box::new(generator)), share: share as usize })
    }

    fn next(&mut self) -> Result<Option<RecordBatch>> {
        match &mut self.of {
            Of::Memory(batches, next) => {
                *next += 1;
                Ok(batches.get(*next - 1).cloned())
            }
            Of::Generator(generator) => {
                let batch = generator.batch((SPAN / CYCLE) as usize * self.share)?;
                Ok((batch.num_rows() > 0).then_some(batch))
            }
        }
    }
}

/// All batches of the streams that a query reads, with the columns that it reads.
pub fn memory(reads: &[(&str, &[&str])], events: u64) -> Vec<(&'static str, Arc<[RecordBatch]>)> {
    let read = STREAMS.iter().filter_map(|s| Some((s, reads.iter().find(|(name, _)| *name == s.0)?.1)));
    let make = |((name, kind, share), columns): (&(&'static str, EventKind, u64), &[&str])| {
        let columns = schema(*kind, Some(columns));
        let mut batches = Batches::generated(*kind, *share, columns, events).expect("a generator");
        let all = std::iter::from_fn(|| batches.next().expect("a batch")).collect();
        (*name, all)
    };
    read.map(make).collect()
}

/// A table's name and its batches, one a step.
type Stream = (&'static str, Arc<[RecordBatch]>);

/// `'connector' = 'streams'`.
#[derive(Debug)]
pub struct Streams {
    memory: Option<Vec<Stream>>,
    events: u64,
    step_batches: usize,
    /// What the last job read of each stream.
    read: Mutex<Vec<(EventKind, u64, SchemaRef)>>,
}

impl Streams {
    /// Gives batches held in memory, so many of each stream in a step.
    pub fn in_memory(memory: Vec<(&'static str, Arc<[RecordBatch]>)>, step_batches: usize) -> Self {
        Self { memory: Some(memory), events: 0, step_batches, read: Mutex::default() }
    }

    /// Makes so many events while they are read.
    pub fn generated(events: u64, step_batches: usize) -> Self {
        Self { memory: None, events, step_batches, read: Mutex::default() }
    }

    fn batches(&self, name: &str, projection: &SchemaRef) -> Result<Batches> {
        let unknown = || Error::Option(format!("no stream '{name}'"));
        let (_, kind, share) = STREAMS.iter().find(|s| s.0 == name).ok_or_else(unknown)?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.retain(|(k, ..)| k != kind);
        read.push((*kind, *share, Arc::clone(projection)));
        match &self.memory {
            Some(memory) => {
                let (_, batches) = memory.iter().find(|m| m.0 == name).ok_or_else(unknown)?;
                Ok(Batches { of: Of::Memory(Arc::clone(batches), 0), share: *share as usize })
            }
            None => Batches::generated(*kind, *share, Arc::clone(projection), self.events),
        }
    }

    /// Makes what the last job read, for nobody; gives the number of rows.
    pub fn make_only(&self) -> i64 {
        let mut rows = 0;
        for (kind, share, schema) in self.read.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let mut batches = Batches::generated(*kind, *share, Arc::clone(schema), self.events).expect("a generator");
            while let Some(batch) = batches.next().expect("a batch") {
                rows += batch.num_rows() as i64;
            }
        }
        rows
    }
}

impl Connector for Streams {
    fn name(&self) -> &'static str {
        "streams"
    }

    fn options(&self, _table: &Options) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn is_bounded(&self, _table: &TableDescriptor) -> bool {
        true
    }

    fn source(&self, table: &TableDescriptor, projection: SchemaRef) -> Result<Box<dyn Source>> {
        let batches = self.batches(&table.name, &projection)?;
        Ok(Box::new(InStep { batches, projection, step_batches: self.step_batches, given: 0 }))
    }

    fn can_write(&self) -> bool {
        false
    }

    fn sink(&self, table: &TableDescriptor) -> Result<Box<dyn Sink>> {
        Err(Error::Option(format!("table '{}' can only be read", table.name)))
    }
}

/// A stream that gives so many batches and then lets the driver step.
struct InStep {
    batches: Batches,
    projection: SchemaRef,
    step_batches: usize,
    given: usize,
}

#[async_trait]
impl Source for InStep {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        std::future::poll_fn(|context| {
            if self.given < self.step_batches {
                return Poll::Ready(());
            }
            self.given = 0;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.given += 1;
        let Some(batch) = self.batches.next()? else { return Ok(None) };
        let changes = ChangeBatch::append(project(&batch, &self.projection)?);
        Ok(Some(SourceBatch { changes, bytes: 0 }))
    }

    fn is_passive(&self) -> bool {
        true
    }
}
