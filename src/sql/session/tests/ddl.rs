use super::*;

#[test]
fn types_become_arrows() {
    let ms = TimeUnit::Millisecond;
    let table = [
        ("STRING", DataType::Utf8),
        ("BYTES", DataType::Binary),
        ("DECIMAL", DataType::Decimal128(10, 0)),
        ("DECIMAL(12, 3)", DataType::Decimal128(12, 3)),
        ("TIME(3)", DataType::Time32(ms)),
        ("TIMESTAMP", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("TIMESTAMP(0)", DataType::Timestamp(TimeUnit::Second, None)),
        ("TIMESTAMP(9)", DataType::Timestamp(TimeUnit::Nanosecond, None)),
        ("TIMESTAMP(3) WITH LOCAL TIME ZONE", DataType::Timestamp(ms, Some("UTC".into()))),
    ];
    for (sql, expected) in table {
        let mut session = session();
        run(&mut session, &format!("CREATE TABLE t (a {sql}) WITH ('connector' = 'fake')")).unwrap();
        assert_eq!(session.table("t").unwrap().schema.field(0).data_type(), &expected, "{sql}");
    }
}

#[test]
fn columns_come_from_the_connector_or_are_computed() {
    let mut session = session();
    let sql = "CREATE TABLE t (
        a INT NOT NULL, twice AS a * 2, o BIGINT METADATA FROM 'offset' VIRTUAL, s STRING,
        ts AS CAST(s AS TIMESTAMP(3)), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND, PRIMARY KEY (s) NOT ENFORCED
    ) PARTITIONED BY (a) WITH ('connector' = 'fake', 'rows' = '7')";
    run(&mut session, sql).unwrap();
    let table = session.table("t").unwrap();
    let names: Vec<_> = table.descriptor.schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["a", "s", "o"]);
    assert_eq!(table.descriptor.metadata[0].column, 2);
    assert_eq!((&table.descriptor.primary_key[..], &table.descriptor.partition_keys[..]), (&[1][..], &[0][..]));
    assert!(!table.schema.field(3).is_nullable(), "a key is never NULL");
    assert_eq!(table.origins[2], ColumnOrigin::Connector(2));
    assert!(matches!(&table.origins[1], ColumnOrigin::Computed(_)));
    let watermark = table.watermark.as_ref().unwrap();
    assert_eq!(watermark.column, 4);
    assert!(watermark.expr.column_refs().iter().all(|c| c.name == "s"), "{}", watermark.expr);
}

const BASE: &str = "CREATE TABLE base (
    a INT, b AS a + 1, o BIGINT METADATA FROM 'offset' VIRTUAL, ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts, PRIMARY KEY (a) NOT ENFORCED
) WITH ('connector' = 'fake', 'path' = 'x');";

#[test]
fn like_takes_over_what_it_is_told_to() {
    let table = [
        ("CREATE TABLE t LIKE base", "a,b,o,ts", Some("x"), true, true),
        ("CREATE TABLE t (c INT) WITH ('path' = 'y') LIKE base", "a,b,o,ts,c", Some("y"), true, true),
        ("CREATE TABLE t WITH ('connector' = 'fake') LIKE base (EXCLUDING ALL)", "a,ts", None, false, false),
        ("CREATE TABLE t LIKE base (EXCLUDING GENERATED EXCLUDING METADATA)", "a,ts", Some("x"), true, true),
        ("CREATE TABLE t LIKE base (EXCLUDING WATERMARKS EXCLUDING CONSTRAINTS)", "a,b,o,ts", Some("x"), false, false),
        ("CREATE TABLE t (b AS a * 3) LIKE base (OVERWRITING GENERATED)", "a,b,o,ts", Some("x"), true, true),
    ];
    for (sql, names, path, watermark, key) in table {
        let mut session = session();
        run(&mut session, BASE).unwrap();
        run(&mut session, sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let t = session.table("t").unwrap();
        let found: Vec<_> = t.schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(found.join(","), names, "{sql}");
        assert_eq!(t.descriptor.options.get("path"), path, "{sql}");
        assert_eq!((t.watermark.is_some(), !t.descriptor.primary_key.is_empty()), (watermark, key), "{sql}");
    }
}

#[test]
fn like_refuses_clashes() {
    let table = [
        ("CREATE TABLE t (a INT) LIKE base", "already has a column 'a'"),
        ("CREATE TABLE t (b AS a * 3) LIKE base", "already has a column 'b'"),
        ("CREATE TABLE t (WATERMARK FOR ts AS ts) LIKE base", "already has a watermark"),
        ("CREATE TABLE t WITH ('path' = 'y') LIKE base (INCLUDING OPTIONS)", "already has the option 'path'"),
        ("CREATE TABLE t LIKE bse", "unknown table 'bse'; did you mean 'base'?"),
    ];
    for (sql, message) in table {
        let mut session = session();
        run(&mut session, BASE).unwrap();
        let error = refused(&mut session, sql);
        assert!(error.contains(message) && error.starts_with("line 1, column "), "{sql}\n{error}");
    }
}

#[test]
fn tables_are_altered_dropped_and_shown() {
    let mut session = with_bid();
    run(&mut session, "ALTER TABLE bid SET ('path' = 'p', 'rows' = '3'); ALTER TABLE bid RESET ('rows');").unwrap();
    assert_eq!(session.table("bid").unwrap().descriptor.options.get("path"), Some("p"));
    assert_eq!(session.table("bid").unwrap().descriptor.options.get("rows"), None);
    run(&mut session, "CREATE TEMPORARY VIEW v AS SELECT price FROM bid;").unwrap();
    assert_eq!(rows(&mut session, "SHOW TABLES"), [["bid"], ["v"]]);
    assert_eq!(rows(&mut session, "SHOW VIEWS"), [["v"]]);
    assert!(rows(&mut session, "SHOW FUNCTIONS").contains(&vec!["count".to_string()]));
    assert_eq!(rows(&mut session, "DESCRIBE v"), [["price", "INT", "TRUE", "", "", ""]]);
    let ts = rows(&mut session, "DESC bid").pop().unwrap();
    assert_eq!(ts, ["ts", "TIMESTAMP(3)", "TRUE", "", "", "ts - INTERVAL '5' SECOND"]);
    let shown = rows(&mut session, "SHOW CREATE TABLE bid").remove(0).remove(0);
    let mut copy = Session::new(session.connectors.clone());
    run(&mut copy, &shown).unwrap_or_else(|e| panic!("{shown}\n{e}"));
    assert_eq!(copy.table("bid").unwrap().schema, session.table("bid").unwrap().schema);
    run(&mut session, "CREATE TABLE IF NOT EXISTS bid (a INT); DROP VIEW v; DROP TABLE IF EXISTS no; DROP TABLE bid")
        .unwrap();
    assert_eq!(rows(&mut session, "SHOW TABLES"), Vec::<Vec<String>>::new());
}

#[test]
fn the_sessions_zone_reaches_tables_declared_before() {
    let mut session = session();
    run(
        &mut session,
        "CREATE TABLE t (a TIMESTAMP_LTZ(3)) WITH ('connector' = 'fake'); SET 'table.local-time-zone' = 'Asia/Tokyo';",
    )
    .unwrap();
    let expected = DataType::Timestamp(TimeUnit::Millisecond, Some("Asia/Tokyo".into()));
    assert_eq!(session.table("t").unwrap().schema.field(0).data_type(), &expected);
    let set = run(&mut session, "SET 'table.exec.mini-batch.size' = '10'");
    assert!(matches!(set, Ok(Outcome::Done { notes }) if notes.len() == 1));
    assert_eq!(rows(&mut session, "SET").len(), 2);
    run(&mut session, "RESET").unwrap();
    assert_eq!(&*session.settings().time_zone(), "UTC");
}

#[test]
fn jobs_that_run_side_by_side_have_a_step_clock_each() {
    let mut session = with_bid();
    let first = session.functions().clock().clone();
    session.renew_clock().unwrap();
    first.set(5);
    assert_eq!(session.functions().clock().millis(), 0);
    plan(&mut session, "SELECT auction FROM bid");
}
