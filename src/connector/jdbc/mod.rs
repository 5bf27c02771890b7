//! `jdbc`: tables of a PostgreSQL server, under the options of Flink's JDBC connector. Asked by key in lookup joins, or read
//! once from beginning to end.
//!
//! Values cross as text in both directions, which every type of the server has, and are parameters, never part of a statement.

mod columns;
mod connection;
mod lookup;
mod source;

use arrow::datatypes::SchemaRef;

use self::connection::Server;
use super::lookup::{Lookup, LookupMode, cache_option_specs, keyed_mode};
use super::{Connector, OptionKind, OptionSpec, Options, Sink, Source, TableDescriptor};
use crate::{Error, Result};

const URL: &str = "url";
const TABLE: &str = "table-name";
const USER: &str = "username";
const PASSWORD: &str = "password";
const DRIVER: &str = "driver";

/// The `jdbc` connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct Jdbc;

impl Jdbc {
    fn server(table: &TableDescriptor) -> Result<Server> {
        let options = &table.options;
        Server::try_new(options.require(URL)?, options.get(USER), options.get(PASSWORD), &table.name)
    }

    /// The table's name at the server, quoted; a schema may stand before it.
    fn relation(table: &TableDescriptor) -> Result<String> {
        let name = table.options.require(TABLE)?;
        Ok(name.split('.').map(columns::quoted).collect::<Vec<_>>().join("."))
    }
}

impl Connector for Jdbc {
    fn name(&self) -> &'static str {
        "jdbc"
    }

    fn options(&self, _table: &Options) -> Vec<OptionSpec> {
        use OptionKind::Text;
        let own = [
            OptionSpec::required(URL, Text),
            OptionSpec::required(TABLE, Text),
            OptionSpec::optional(USER, Text),
            OptionSpec::optional(PASSWORD, Text),
            OptionSpec::optional(DRIVER, Text),
        ];
        own.into_iter().chain(cache_option_specs()).collect()
    }

    fn check(&self, table: &TableDescriptor) -> Result<()> {
        Self::server(table)?;
        table.schema.fields().iter().try_for_each(|field| columns::sql_type(field).map(|_| ()))
    }

    fn can_write(&self) -> bool {
        false
    }

    fn is_bounded(&self, _table: &TableDescriptor) -> bool {
        true
    }

    fn source(&self, table: &TableDescriptor, projection: SchemaRef) -> Result<Box<dyn Source>> {
        Ok(Box::new(source::JdbcSource::try_new(Self::server(table)?, &Self::relation(table)?, projection)?))
    }

    fn lookup_mode(&self, table: &TableDescriptor) -> Result<Option<LookupMode>> {
        keyed_mode(&table.options).map(Some)
    }

    fn lookup(&self, table: &TableDescriptor, keys: SchemaRef, projection: SchemaRef) -> Result<Box<dyn Lookup>> {
        let (server, relation) = (Self::server(table)?, Self::relation(table)?);
        Ok(Box::new(lookup::JdbcLookup::try_new(server, &relation, &keys, projection)?))
    }

    fn sink(&self, table: &TableDescriptor) -> Result<Box<dyn Sink>> {
        Err(Error::Option(format!("table '{}': connector 'jdbc' can only be read", table.name)))
    }
}
