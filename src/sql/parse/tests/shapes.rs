//! What trees look like.

use datafusion_sql::sqlparser::ast::{
    AfterMatchSkip, DataType, Expr, MatchRecognizePattern, RepetitionQuantifier, SelectItem, SetExpr, TableFactor,
};

use super::accepted::MATCH;
use super::{error, one, parse_script};
use crate::error::Position;
use crate::sql::ast::{ColumnKind, LikeFeature, LikeMode, Statement, TypeName};
use crate::sql::parse::parse_expression;
use crate::sql::parse::query::{WindowInput, as_window_call, within};

fn relation(sql: &str) -> TableFactor {
    let Statement::Query(query) = one(sql) else { panic!("{sql}") };
    let SetExpr::Select(select) = *query.body else { panic!("{sql}") };
    select.from.last().map(|f| f.joins.last().map_or(&f.relation, |j| &j.relation)).unwrap().clone()
}

fn item(expr: &str) -> Expr {
    let Statement::Query(query) = one(&format!("SELECT {expr}")) else { panic!("{expr}") };
    let SetExpr::Select(select) = *query.body else { panic!("{expr}") };
    match &select.projection[0] {
        SelectItem::UnnamedExpr(e) => e.clone(),
        other => panic!("{other}"),
    }
}

#[test]
fn window_calls_are_read_in_every_form() {
    for sql in [
        "SELECT * FROM TABLE(TUMBLE(TABLE c.t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) AS w",
        "SELECT * FROM TUMBLE(TABLE c.t, DESCRIPTOR(ts), INTERVAL '1' MINUTE) AS w",
        "SELECT * FROM a JOIN TABLE(tumble(TABLE c.t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) AS w ON TRUE",
    ] {
        let call = as_window_call(&relation(sql)).unwrap().unwrap();
        assert_eq!(call.name, "TUMBLE");
        assert!(matches!(&call.input, WindowInput::Table(t) if t.to_string() == "c.t"), "{call:?}");
        assert_eq!(call.time.iter().map(|t| t.value.as_str()).collect::<Vec<_>>(), ["ts"]);
        let args: Vec<_> = call.args.iter().map(|(n, e)| (n.clone(), e.to_string())).collect();
        assert_eq!(args, [(None, "INTERVAL '1' MINUTE".to_string())]);
    }
}

#[test]
fn window_calls_keep_names_and_partitions() {
    let sql = "SELECT * FROM TABLE(SESSION(DATA => TABLE t PARTITION BY (a, b), TIMECOL => DESCRIPTOR(ts), gap => INTERVAL '5' MINUTE))";
    let call = as_window_call(&relation(sql)).unwrap().unwrap();
    assert_eq!(call.partition_by.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(call.args[0].0.as_deref(), Some("GAP"));
    assert_eq!((call.span.start.line, call.span.start.column), (1, 21));
    assert!(as_window_call(&relation("SELECT * FROM t")).is_none());
    let missing = as_window_call(&relation("SELECT * FROM TABLE(HOP(TABLE t, INTERVAL '1' DAY))")).unwrap();
    assert!(missing.unwrap_err().message.contains("DESCRIPTOR"));
}

#[test]
fn match_recognize_keeps_within_skip_and_reluctance() {
    let matched = relation(MATCH);
    assert_eq!(within(&matched).map(ToString::to_string).as_deref(), Some("INTERVAL '1' HOUR"));
    let sql = "SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts AFTER MATCH SKIP TO B PATTERN (A+? B) DEFINE A AS TRUE)";
    let TableFactor::MatchRecognize { after_match_skip, pattern, symbols, .. } = relation(sql) else { panic!() };
    assert!(matches!(after_match_skip, Some(AfterMatchSkip::ToLast(b)) if b.value == "B"));
    assert_eq!(symbols.len(), 1);
    let MatchRecognizePattern::Concat(parts) = pattern else { panic!("{pattern}") };
    let MatchRecognizePattern::Repetition(inner, RepetitionQuantifier::AtMostOne) = &parts[0] else { panic!() };
    assert!(matches!(**inner, MatchRecognizePattern::Repetition(_, RepetitionQuantifier::OneOrMore)));
}

#[test]
fn lateral_functions_and_unnest_are_the_planners_own() {
    let lateral = relation("SELECT * FROM t, LATERAL TABLE(f(x)) AS u (a)");
    assert!(matches!(&lateral, TableFactor::Function { lateral: true, name, .. } if name.to_string() == "f"));
    let unnest = relation("SELECT * FROM t CROSS JOIN UNNEST(arr) WITH ORDINALITY AS u (a, n)");
    assert!(matches!(unnest, TableFactor::UNNEST { with_ordinality: true, .. }));
}

#[test]
fn operators_bind_as_in_flink() {
    assert!(matches!(item("a IS NOT DISTINCT FROM b AND c"), Expr::BinaryOp { .. }));
    assert!(matches!(item("a IS NOT JSON"), Expr::UnaryOp { .. }));
    assert_eq!(item("a BETWEEN SYMMETRIC 2 AND 1").to_string(), "(a BETWEEN 2 AND 1 OR a BETWEEN 1 AND 2)");
    assert_eq!(item("bid.price").to_string(), "bid.price");
    let cast = item("CAST(a AS ROW<x INT, y TIMESTAMP(3) WITH LOCAL TIME ZONE>)");
    let Expr::Cast { data_type: DataType::Struct(fields, _), .. } = cast else { panic!("{cast}") };
    assert_eq!(fields[1].field_type.to_string(), "TIMESTAMP_LTZ(3)");
}

#[test]
fn a_table_has_all_its_parts() {
    let sql = "CREATE TABLE T (a INT NOT NULL COMMENT 'c', b ROW<x INT NOT NULL, y STRING>, m BIGINT METADATA FROM 'k' VIRTUAL,\n\
        ts AS TO_TIMESTAMP(b.y), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND, PRIMARY KEY (a) NOT ENFORCED)\n\
        COMMENT 'z' PARTITIONED BY (a) WITH ('connector' = 'x',\n 'k' = 'v') LIKE u (EXCLUDING OPTIONS)";
    let Statement::CreateTable(table) = one(sql) else { panic!() };
    assert_eq!(table.name.to_string(), "T");
    assert_eq!(table.columns.len(), 4);
    assert_eq!(table.columns[0].comment.as_deref(), Some("c"));
    assert!(matches!(table.columns[0].kind, ColumnKind::Physical { nullable: false, .. }));
    let ColumnKind::Physical { data_type: TypeName::Row(fields), nullable: true } = &table.columns[1].kind else {
        panic!()
    };
    assert!(matches!(fields[0].data_type, TypeName::NotNull(_)));
    assert!(matches!(&table.columns[2].kind, ColumnKind::Metadata { from: Some(k), is_virtual: true, .. } if k == "k"));
    assert!(matches!(&table.columns[3].kind, ColumnKind::Computed(_)));
    assert_eq!(table.watermark.as_ref().map(|w| w.column.value.as_str()), Some("ts"));
    assert_eq!(table.primary_key.len() + table.partitioned_by.len(), 2);
    assert_eq!(table.options[1].position, Position { line: 4, column: 2 });
    assert_eq!(table.like.unwrap().options, [(LikeMode::Excluding, LikeFeature::Options)]);
}

#[test]
fn statements_know_their_text_and_place() {
    let script = "SELECT 1;\n\n  CREATE VIEW v AS SELECT 'größe'\n FROM t ; SET a.b-c = 10 s";
    let statements = parse_script(script).unwrap();
    assert_eq!(statements.len(), 3);
    assert_eq!(statements[1].start, Position { line: 3, column: 3 });
    assert_eq!(statements[1].text, "CREATE VIEW v AS SELECT 'größe'\n FROM t");
    let Statement::CreateView(view) = &statements[1].statement else { panic!() };
    assert_eq!(view.text, "SELECT 'größe'\n FROM t");
    assert_eq!(statements[2].statement, Statement::Set(Some(("a.b-c".into(), "10 s".into()))));
}

#[test]
fn statement_sets_hold_their_inserts() {
    let Statement::StatementSet(inserts) =
        one("EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END;")
    else {
        panic!()
    };
    assert_eq!(inserts.iter().map(|i| i.table.to_string()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn single_expressions_are_read() {
    assert_eq!(parse_expression("a + 1").unwrap().to_string(), "a + 1");
    assert!(parse_expression("a +").is_err());
    assert_eq!(error("SELECT 1 +").length, 1);
}
