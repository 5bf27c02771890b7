use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion_sql::sqlparser::ast::{Ident, ObjectName, Query, SetExpr, Statement as SqlStatement};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::Parser;

use super::*;
use crate::connector::{Connector, OptionKind, OptionSpec, Options, Sink, Source, TableDescriptor};
use crate::error::Position;
use crate::sql::ast::{ColumnDef, ColumnKind, SqlOption, TypeName, WatermarkDef};

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
        vec![("timestamp", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())))]
    }

    fn source(&self, _table: &TableDescriptor, _projection: SchemaRef) -> crate::Result<Box<dyn Source>> {
        Err(crate::Error::Unsupported("reading".into()))
    }

    fn sink(&self, _table: &TableDescriptor) -> crate::Result<Box<dyn Sink>> {
        Err(crate::Error::Unsupported("writing".into()))
    }
}

fn session() -> Session {
    let mut connectors = Connectors::default();
    connectors.register(Arc::new(Fake));
    Session::new(connectors)
}

fn query_of(sql: &str) -> Box<Query> {
    match Parser::parse_sql(&GenericDialect {}, sql).unwrap().remove(0) {
        SqlStatement::Query(query) => query,
        other => panic!("{other}"),
    }
}

fn expr_of(sql: &str) -> datafusion_sql::sqlparser::ast::Expr {
    Parser::new(&GenericDialect {}).try_with_sql(sql).unwrap().parse_expr().unwrap()
}

fn located(statement: Statement, text: &str) -> Located {
    Located { statement, text: text.into(), start: Position { line: 1, column: 1 } }
}

fn physical(name: &str, data_type: &str) -> ColumnDef {
    let simple = Parser::new(&GenericDialect {}).try_with_sql(data_type).unwrap().parse_data_type().unwrap();
    let kind = ColumnKind::Physical { data_type: TypeName::Simple(simple), nullable: true };
    ColumnDef { name: Ident::new(name), kind, comment: None }
}

fn bid() -> Located {
    let option = SqlOption { key: "connector".into(), value: "fake".into(), position: Position { line: 1, column: 1 } };
    let table = CreateTable {
        name: ObjectName::from(vec![Ident::new("bid")]),
        temporary: false,
        if_not_exists: false,
        columns: vec![physical("auction", "BIGINT"), physical("price", "INT"), physical("ts", "TIMESTAMP(3)")],
        watermark: Some(WatermarkDef { column: Ident::new("ts"), expr: expr_of("ts - INTERVAL '5' SECOND") }),
        primary_key: vec![],
        comment: None,
        partitioned_by: vec![],
        options: vec![option],
        like: None,
    };
    located(Statement::CreateTable(Box::new(table)), "CREATE TABLE bid")
}

fn plan(session: &mut Session, sql: &str) -> LogicalPlan {
    match session.execute(&located(Statement::Query(query_of(sql)), sql)) {
        Ok(Outcome::Query(q)) => q.plan,
        Ok(other) => panic!("{other:?}"),
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn a_projection_with_a_filter_is_planned() {
    let mut session = session();
    session.execute(&bid()).unwrap();
    let plan = plan(&mut session, "SELECT auction, price + 1 FROM bid WHERE price > 100");
    let fields: Vec<_> = plan.schema().fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(fields, ["auction", "EXPR$1"]);
    assert!(format!("{}", plan.display_indent()).contains("Filter: bid.price > "), "{}", plan.display_indent());
}

#[test]
fn a_windowed_aggregate_is_planned() {
    let mut session = session();
    session.execute(&bid()).unwrap();
    let sql = "SELECT window_start, window_end, auction, COUNT(*) AS n, MAX(price) \
               FROM TABLE(TUMBLE(bid, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
               GROUP BY window_start, window_end, auction";
    let plan = plan(&mut session, sql);
    let text = plan.display_indent().to_string();
    assert!(text.contains("WindowTableFunction(time=ts, TUMBLE(size=10s))"), "{text}");
    assert!(text.contains("Aggregate: groupBy="), "{text}");
    assert_eq!(plan.schema().field(3).data_type(), &DataType::Int64);
    assert_eq!(plan.schema().field(4).name(), "EXPR$4");
}

#[test]
fn unknown_names_are_told_with_their_place() {
    let mut session = session();
    session.execute(&bid()).unwrap();
    let sql = "SELECT pric FROM bid";
    let error = session.execute(&located(Statement::Query(query_of(sql)), sql)).unwrap_err().to_string();
    assert!(error.starts_with("line 1, column 8: unknown column 'pric'; did you mean 'price'?"), "{error}");
    assert!(error.ends_with("^^^^"), "{error}");
    let sql = "SELECT price FROM bids";
    let error = session.execute(&located(Statement::Query(query_of(sql)), sql)).unwrap_err().to_string();
    assert!(error.starts_with("line 1, column 19: unknown table 'bids'; did you mean 'bid'?"), "{error}");
}

#[test]
fn a_query_has_no_select_list_of_its_own_in_values() {
    let mut session = session();
    let plan = plan(&mut session, "VALUES (1, 'a')");
    assert!(matches!(*query_of("VALUES (1, 'a')").body, SetExpr::Values(_)));
    assert_eq!(plan.schema().field(1).name(), "EXPR$1");
}
