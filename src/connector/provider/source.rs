//! A provider's rows, partition by partition, so that their order is the same in every run.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion_execution::SendableRecordBatchStream;
use datafusion_physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion_session::{Session, TableProvider};
use futures::StreamExt;

use super::types::flink_type;
use crate::change::ChangeBatch;
use crate::connector::{Source, SourceBatch};
use crate::table::project;
use crate::{Error, Result};

pub(super) struct ProviderSource {
    provider: Arc<dyn TableProvider>,
    session: Arc<dyn Session>,
    /// The provider's columns that are read.
    columns: Vec<usize>,
    projection: SchemaRef,
    state: State,
}

enum State {
    New,
    /// The plan, the number of the partition that is read, and what is left of it.
    Reading(Arc<dyn ExecutionPlan>, usize, SendableRecordBatchStream),
    Done,
}

impl ProviderSource {
    pub fn try_new(provider: Arc<dyn TableProvider>, session: Arc<dyn Session>, projection: SchemaRef) -> Result<Self> {
        let schema = provider.schema();
        let columns = projection.fields().iter().map(|f| Ok(schema.index_of(f.name())?)).collect::<Result<Vec<_>>>()?;
        Ok(Self { provider, session, columns, projection, state: State::New })
    }

    fn partition(&self, plan: Arc<dyn ExecutionPlan>, number: usize) -> Result<State> {
        if number >= plan.output_partitioning().partition_count() {
            return Ok(State::Done);
        }
        let rows = plan.execute(number, self.session.task_ctx())?;
        Ok(State::Reading(plan, number, rows))
    }

    /// The rows with the types that SQL has, and of each ROW the fields that are read.
    fn read(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (wanted, column) in self.projection.fields().iter().zip(rows.columns()) {
            let zone = "UTC".into();
            let whole = flink_type(column.data_type(), &zone).filter(|t| t.is_nested());
            let data_type = whole.unwrap_or_else(|| wanted.data_type().clone());
            columns.push(cast_with_options(column, &data_type, &options)?);
            fields.push(Field::new(wanted.name(), data_type, true));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
        project(&rows, &self.projection)
    }
}

#[async_trait]
impl Source for ProviderSource {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        loop {
            self.state = match std::mem::replace(&mut self.state, State::Done) {
                State::New => {
                    // What is borrowed across the await must not hold the rows, which cannot be shared.
                    let (provider, session) = (Arc::clone(&self.provider), Arc::clone(&self.session));
                    let columns = self.columns.clone();
                    let plan = provider.scan(session.as_ref(), Some(&columns), &[], None).await?;
                    self.partition(plan, 0)?
                }
                State::Reading(plan, number, mut rows) => match rows.next().await {
                    Some(batch) => {
                        let rows_read = self.read(&batch.map_err(Error::from)?)?;
                        self.state = State::Reading(plan, number, rows);
                        return Ok(Some(SourceBatch { changes: ChangeBatch::append(rows_read), bytes: 0 }));
                    }
                    None => self.partition(plan, number + 1)?,
                },
                State::Done => return Ok(None),
            };
        }
    }
}
