//! The table from beginning to end.

use std::pin::Pin;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::StreamExt;
use tokio_postgres::{Client, RowStream};

use super::columns;
use super::connection::Server;
use crate::Result;
use crate::change::ChangeBatch;
use crate::connector::{Source, SourceBatch};

/// How many rows are handed over at once.
const BATCH_ROWS: usize = 8192;

pub(super) struct JdbcSource {
    server: Server,
    statement: String,
    projection: SchemaRef,
    rows: Option<Rows>,
    ended: bool,
}

/// The rows that are still to come, and the connection that they come over.
struct Rows {
    stream: Pin<Box<RowStream>>,
    _client: Client,
}

impl Rows {
    async fn open(server: &Server, statement: &str) -> Result<Self> {
        let client = server.connect().await?;
        let none: [&str; 0] = [];
        let rows = client.query_raw(statement, none).await.map_err(|e| server.failed(&e))?;
        Ok(Self { stream: Box::pin(rows), _client: client })
    }
}

impl JdbcSource {
    pub fn try_new(server: Server, relation: &str, projection: SchemaRef) -> Result<Self> {
        let selected: Vec<String> = projection.fields().iter().map(|field| columns::selected(field)).collect();
        let statement = format!("SELECT {} FROM {relation} AS t", selected.join(", "));
        Ok(Self { server, statement, projection, rows: None, ended: false })
    }
}

#[async_trait]
impl Source for JdbcSource {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        if self.ended {
            return Ok(None);
        }
        let mut open = match self.rows.take() {
            Some(open) => open,
            None => Rows::open(&self.server, &self.statement).await?,
        };
        let mut rows = Vec::new();
        while rows.len() < BATCH_ROWS {
            match open.stream.next().await {
                Some(row) => rows.push(row.map_err(|e| self.server.failed(&e))?),
                None => {
                    self.ended = true;
                    break;
                }
            }
        }
        let changes = ChangeBatch::append(columns::from_rows(&rows, 0, &self.projection)?);
        self.rows = Some(open);
        Ok(Some(SourceBatch { changes, bytes: 0 }))
    }
}
