use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};

use super::*;
use crate::connector::{Connector, OptionKind, OptionSpec, Options, Sink, Source, TableDescriptor};
use crate::plan::ColumnOrigin;
use crate::sql::parse::parse_script;

mod ddl;
mod errors;
mod queries;

#[derive(Debug)]
struct Fake;

impl Connector for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn options(&self, _table: &Options) -> Vec<OptionSpec> {
        vec![OptionSpec::optional("path", OptionKind::Text), OptionSpec::optional("rows", OptionKind::Integer)]
    }

    fn metadata(&self) -> Vec<(&'static str, DataType)> {
        vec![("timestamp", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))), ("offset", DataType::Int64)]
    }

    fn source(&self, _table: &TableDescriptor, _projection: SchemaRef) -> crate::Result<Box<dyn Source>> {
        Err(crate::Error::Unsupported("reading".into()))
    }

    fn sink(&self, _table: &TableDescriptor) -> crate::Result<Box<dyn Sink>> {
        Err(crate::Error::Unsupported("writing".into()))
    }
}

const BID: &str = "CREATE TABLE bid (
    auction BIGINT, price INT, extra ROW<url STRING, tags ARRAY<STRING>>, tags ARRAY<STRING>, attrs MAP<STRING, INT>,
    items ARRAY<ROW<sku STRING, n INT>>, ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'fake');";

fn session() -> Session {
    let mut connectors = Connectors::default();
    connectors.register(Arc::new(Fake));
    Session::new(connectors)
}

/// Runs a script; the outcome of its last statement.
fn run(session: &mut Session, script: &str) -> crate::Result<Outcome> {
    let mut last = Ok(Outcome::done());
    for statement in parse_script(script)? {
        last = Ok(session.execute(&statement)?);
    }
    last
}

fn with_bid() -> Session {
    let mut session = session();
    run(&mut session, BID).unwrap();
    session
}

fn plan(session: &mut Session, sql: &str) -> LogicalPlan {
    match run(session, sql) {
        Ok(Outcome::Query(q)) => q.plan,
        Ok(other) => panic!("{other:?}"),
        Err(e) => panic!("{e}"),
    }
}

fn refused(session: &mut Session, sql: &str) -> String {
    match run(session, sql) {
        Err(e) => e.to_string(),
        Ok(other) => panic!("{sql} gave {other:?}"),
    }
}

/// `name: type` of each column.
fn columns(plan: &LogicalPlan) -> Vec<String> {
    plan.schema().fields().iter().map(|f| format!("{}: {}", f.name(), f.data_type())).collect()
}

fn rows(session: &mut Session, sql: &str) -> Vec<Vec<String>> {
    match run(session, sql) {
        Ok(Outcome::Rows { rows, .. }) => rows,
        other => panic!("{other:?}"),
    }
}
