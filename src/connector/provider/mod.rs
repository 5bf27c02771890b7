//! The embedder's own tables: DataFusion's `TableProvider`s, as bounded sources and for lookup joins.

mod session;
mod source;
mod types;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_common::Constraint;
use datafusion_session::{Session, TableProvider};

use self::session::PlainSession;
use self::source::ProviderSource;
use super::lookup::LookupMode;
use super::{Connector, OptionSpec, Options, Sink, Source, TableDescriptor};
use crate::{Error, Result};

/// A table of the embedder's, and how it is read.
///
/// It is read anew by each query that uses it; in a lookup join it is read whole before the first row is looked up, and again
/// as [`ProviderTable::reload_after`] says.
#[derive(Clone)]
pub struct ProviderTable {
    provider: Arc<dyn TableProvider>,
    session: Arc<dyn Session>,
    reload: Option<Duration>,
}

impl ProviderTable {
    /// A table that is scanned in a session of its own, which knows no functions and plans no queries.
    pub fn new(provider: Arc<dyn TableProvider>) -> Self {
        Self { provider, session: Arc::new(PlainSession::default()), reload: None }
    }

    /// Has it scanned in a session of the embedder's, as views need it.
    #[must_use]
    pub fn with_session(self, session: Arc<dyn Session>) -> Self {
        Self { session, ..self }
    }

    /// Has lookup joins read it again when it has been there for so long.
    #[must_use]
    pub fn reload_after(self, span: Duration) -> Self {
        Self { reload: Some(span), ..self }
    }

    /// The table as others see it; `zone` is that of its `TIMESTAMP_LTZ` columns.
    ///
    /// # Errors
    /// When a column is of a type that Flink does not have.
    pub fn describe(&self, name: &str, zone: &Arc<str>) -> Result<TableDescriptor> {
        let provided = self.provider.schema();
        let fields = provided.fields().iter().map(|field| {
            let data_type = types::flink_type(field.data_type(), zone).ok_or_else(|| {
                let (column, data_type) = (field.name(), field.data_type());
                Error::Option(format!(
                    "table '{name}': column '{column}' is {data_type}, a type that there is not in SQL"
                ))
            })?;
            Ok(Field::new(field.name(), data_type, field.is_nullable()))
        });
        let fields = fields.collect::<Result<Vec<_>>>()?;
        let primary_key = self.provider.constraints().into_iter().flat_map(|c| c.iter()).find_map(|c| match c {
            Constraint::PrimaryKey(columns) => Some(columns.clone()),
            Constraint::Unique(_) => None,
        });
        Ok(TableDescriptor {
            name: name.into(),
            schema: Arc::new(Schema::new(fields)),
            metadata: Vec::new(),
            options: Options::default(),
            partition_keys: Vec::new(),
            primary_key: primary_key.unwrap_or_default(),
        })
    }
}

impl From<Arc<dyn TableProvider>> for ProviderTable {
    fn from(provider: Arc<dyn TableProvider>) -> Self {
        Self::new(provider)
    }
}

impl fmt::Debug for ProviderTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderTable").field("reload", &self.reload).finish_non_exhaustive()
    }
}

impl Connector for ProviderTable {
    fn name(&self) -> &'static str {
        "table-provider"
    }

    fn options(&self, _table: &Options) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn is_bounded(&self, _table: &TableDescriptor) -> bool {
        true
    }

    fn lookup_mode(&self, _table: &TableDescriptor) -> Result<Option<LookupMode>> {
        Ok(Some(LookupMode::Whole { reload: self.reload, max_retries: 0 }))
    }

    fn source(&self, _table: &TableDescriptor, projection: SchemaRef) -> Result<Box<dyn Source>> {
        let (provider, session) = (Arc::clone(&self.provider), Arc::clone(&self.session));
        Ok(Box::new(ProviderSource::try_new(provider, session, projection)?))
    }

    fn can_write(&self) -> bool {
        false
    }

    fn sink(&self, table: &TableDescriptor) -> Result<Box<dyn Sink>> {
        Err(Error::Option(format!("table '{}' is the program's own and cannot be written", table.name)))
    }
}
