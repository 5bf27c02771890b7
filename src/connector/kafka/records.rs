//! Rows to messages.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{SchemaRef, TimestampMillisecondType};
use rdkafka::message::{Header, OwnedHeaders};

use super::columns::{Layout, Metadata};
use super::options::{Encoding, Kind, Partitioner, Settings, Topics};
use super::producer::{Producer, Record};
use crate::change::ChangeBatch;
use crate::format::message::{MessageEncoder, Messages};
use crate::{Error, Result};

/// Turns rows into messages and sends them.
pub(super) struct Records {
    upsert: bool,
    /// The topic of all messages, where it does not stand in a column.
    topic: Option<String>,
    value: Part,
    key: Option<Part>,
    metadata: Vec<(String, Metadata)>,
    partitioner: Partitioner,
    /// How many partitions the topic has; asked for where it matters.
    partitions: i32,
    /// The next partition in turn.
    turn: i32,
    is_prepared: bool,
}

/// A key or a value.
struct Part {
    encoder: Box<dyn MessageEncoder>,
    /// Its columns, under their names there, and under the table's.
    schema: SchemaRef,
    names: Vec<String>,
    messages: Messages,
}

impl Part {
    fn of(encoding: &Encoding, schema: &SchemaRef, names: Vec<String>) -> Result<Self> {
        let encoder = encoding.format.encoder(schema, &encoding.options)?;
        Ok(Self { encoder, schema: Arc::clone(schema), names, messages: Messages::default() })
    }

    /// The part's columns of some rows.
    fn columns(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.names.iter().map(|name| column(rows, name));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns.collect::<Result<_>>()?, &options)?)
    }

    fn encode(&mut self, changes: &ChangeBatch) -> Result<()> {
        self.messages.clear();
        self.encoder.encode(changes, &mut self.messages)?;
        match self.messages.len() == changes.num_rows() {
            true => Ok(()),
            false => Err(Error::internal("a format that does not give a message for each row")),
        }
    }
}

/// What messages are given beside key and value.
#[derive(Default)]
struct Extras {
    topics: Option<ArrayRef>,
    timestamps: Option<ArrayRef>,
    headers: Option<ArrayRef>,
}

impl Records {
    /// Of a table's rows.
    ///
    /// # Errors
    /// When the options do not allow the table to be written.
    pub fn try_new(settings: &Settings, layout: &Layout) -> Result<Self> {
        let metadata = layout.written_metadata()?;
        let metadata: Vec<_> = metadata.into_iter().map(|(name, metadata)| (name.to_owned(), metadata)).collect();
        let has_topic = metadata.iter().any(|(_, m)| *m == Metadata::Topic);
        let topic = match &settings.topics {
            _ if has_topic => None,
            Topics::Named(names) if names.len() == 1 => names.first().cloned(),
            _ => {
                let message = "a table of several topics is written by a column topic STRING NOT NULL METADATA, which says where \
                               to; it has none";
                return Err(Error::Option(message.into()));
            }
        };
        let names = |schema: &SchemaRef| schema.fields().iter().map(|f| f.name().clone()).collect();
        let key = settings.key.as_ref().map(|key| Part::of(key, &layout.key, layout.key_names.clone()));
        Ok(Self {
            upsert: settings.kind == Kind::Upsert,
            topic,
            value: Part::of(&settings.value, &layout.value, names(&layout.value))?,
            key: key.transpose()?,
            metadata,
            partitioner: settings.partitioner,
            partitions: 0,
            turn: 0,
            is_prepared: false,
        })
    }

    /// The topic of all messages, where there is one.
    pub fn topic(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    /// Sends a message for each change, and gives the bytes that they have.
    ///
    /// # Errors
    /// When a row has no form, or a message cannot be sent.
    pub async fn send(&mut self, changes: &ChangeBatch, producer: &Producer) -> Result<u64> {
        self.prepare(producer).await?;
        self.encode(changes)?;
        let extras = self.extras(&changes.rows)?;
        let mut value = 0;
        for row in 0..changes.num_rows() {
            let payload = match self.upsert && !changes.kind(row).is_addition() {
                true => None,
                false => {
                    value += 1;
                    self.value.messages.get(value - 1)
                }
            };
            let topic = match (&extras.topics, &self.topic) {
                (Some(topics), _) if topics.is_valid(row) => topics.as_string::<i32>().value(row),
                (None, Some(topic)) => topic,
                _ => {
                    return Err(Error::Execution(
                        "a message whose column 'topic' is NULL has no topic to go to".into(),
                    ));
                }
            };
            let timestamps = extras.timestamps.as_ref().filter(|t| t.is_valid(row));
            let record = Record {
                topic,
                partition: self.partition(),
                payload,
                key: self.key.as_ref().and_then(|key| key.messages.get(row)),
                timestamp: timestamps.map(|t| t.as_primitive::<TimestampMillisecondType>().value(row)),
                headers: extras.headers.as_ref().and_then(|headers| headers_of(headers, row)),
                delivery_opaque: (),
            };
            producer.send(record).await?;
            self.turn = self.turn.wrapping_add(1) & i32::MAX;
        }
        let keys = self.key.as_ref().map_or(0, |key| key.messages.size());
        Ok((self.value.messages.size() + keys) as u64)
    }

    /// Which partition the next message goes to; `None` where its key decides.
    fn partition(&self) -> Option<i32> {
        match self.partitioner {
            Partitioner::Default => None,
            Partitioner::Fixed => Some(0),
            Partitioner::RoundRobin => Some(self.turn % self.partitions.max(1)),
        }
    }

    async fn prepare(&mut self, producer: &Producer) -> Result<()> {
        if self.is_prepared {
            return Ok(());
        }
        self.value.encoder.prepare().await?;
        if let Some(key) = &mut self.key {
            key.encoder.prepare().await?;
        }
        if self.partitioner == Partitioner::RoundRobin
            && let Some(topic) = &self.topic
        {
            self.partitions = super::sink::partitions_of(producer, topic).await?;
        }
        self.is_prepared = true;
        Ok(())
    }

    fn encode(&mut self, changes: &ChangeBatch) -> Result<()> {
        if let Some(key) = &mut self.key {
            let keys = ChangeBatch::append(key.columns(&changes.rows)?);
            key.encode(&keys)?;
        }
        let values = self.value.columns(&changes.rows)?;
        if !self.upsert {
            return self.value.encode(&changes.with_rows(values));
        }
        let added: BooleanArray = (0..changes.num_rows()).map(|row| Some(changes.kind(row).is_addition())).collect();
        let values = match added.true_count() == changes.num_rows() {
            true => values,
            false => arrow::compute::filter_record_batch(&values, &added)?,
        };
        self.value.encode(&ChangeBatch::append(values))
    }

    fn extras(&self, rows: &RecordBatch) -> Result<Extras> {
        let mut extras = Extras::default();
        for (name, metadata) in &self.metadata {
            let values = cast(&column(rows, name)?, &metadata.data_type())?;
            match metadata {
                Metadata::Topic => extras.topics = Some(values),
                Metadata::Timestamp => extras.timestamps = Some(values),
                Metadata::Headers => extras.headers = Some(values),
                _ => return Err(Error::internal(format!("metadata '{}' is not written", metadata.key()))),
            }
        }
        Ok(extras)
    }
}

fn column(rows: &RecordBatch, name: &str) -> Result<ArrayRef> {
    let column = rows.column_by_name(name).cloned();
    column.ok_or_else(|| Error::internal(format!("rows to be written without the column '{name}'")))
}

fn headers_of(maps: &ArrayRef, row: usize) -> Option<OwnedHeaders> {
    let maps = maps.as_map();
    if maps.is_null(row) {
        return None;
    }
    let entries = maps.value(row);
    let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_binary::<i32>());
    let mut headers = OwnedHeaders::new_with_capacity(entries.len());
    for i in 0..entries.len() {
        let value = values.is_valid(i).then(|| values.value(i));
        headers = headers.insert(Header { key: keys.value(i), value });
    }
    Some(headers)
}
