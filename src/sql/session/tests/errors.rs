use super::*;

fn check(table: &[(&str, u64, u64, &str)]) {
    for (sql, line, column, message) in table {
        let error = refused(&mut with_bid(), sql);
        assert!(error.starts_with(&format!("line {line}, column {column}: ")), "{sql}\n{error}");
        assert!(error.contains(message), "{sql}\n{error}");
    }
}

#[test]
fn errors_have_a_place_and_a_suggestion() {
    check(&[
        ("SELECT pric FROM bid", 1, 8, "unknown column 'pric'; did you mean 'price'?"),
        ("SELECT price\nFROM bids", 2, 6, "unknown table 'bids'; did you mean 'bid'?"),
        ("SELECT 1;\n  SELECT b.pric FROM bid AS b", 2, 10, "unknown column 'pric'; did you mean 'price'?"),
        ("SELECT CUONT(*) FROM bid", 1, 8, "unknown function 'cuont'; did you mean 'count'?"),
        (
            "SELECT * FROM TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '3' SECOND, INTERVAL '10' SECOND))",
            1,
            61,
            "multiple",
        ),
        ("SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(tx), INTERVAL '1' SECOND))", 1, 50, "unknown column 'tx'"),
        (
            "SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(price), INTERVAL '1' SECOND))",
            1,
            50,
            "must be a TIMESTAMP",
        ),
        ("SELECT * FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' SECOND))", 1, 34, "unknown table 'bids'"),
        ("SELECT TUMBLE(ts, INTERVAL '1' MINUTE) FROM bid", 1, 8, "the group window 'TUMBLE' can stand in GROUP BY"),
        ("SELECT HOP_END(ts, INTERVAL '1' MINUTE, INTERVAL '2' MINUTE) FROM bid", 1, 8, "'HOP_END' needs HOP"),
        (
            "SELECT 1 FROM bid GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE, INTERVAL '1' SECOND)",
            1,
            28,
            "takes a time and a span",
        ),
        ("SELECT 1 FROM bid GROUP BY SESSION(ts, INTERVAL '0' MINUTE)", 1, 28, "more than 0"),
        ("SELECT 1 FROM bid GROUP BY TUMBLE(price, INTERVAL '1' MINUTE)", 1, 28, "must be a time attribute"),
        (
            "SELECT 1 FROM bid GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE), HOP(ts, INTERVAL '1' SECOND, INTERVAL '2' SECOND)",
            1,
            19,
            "holds two windows",
        ),
        ("SELECT * FROM bid FOR SYSTEM_TIME AS OF ts", 1, 41, "FOR SYSTEM_TIME AS OF takes a time attribute"),
        ("SELECT * FROM bid, LATERAL TABLE(split(auction)) AS t(x)", 1, 34, "is not supported yet"),
        ("INSERT INTO bid SELECT 1", 1, 13, "1 column"),
        ("INSERT INTO bids SELECT 1", 1, 13, "unknown table 'bids'; did you mean 'bid'?"),
        ("INSERT INTO bid (auction, prices) SELECT 1, 2", 1, 27, "unknown column 'prices'; did you mean 'price'?"),
        ("INSERT INTO bid (price) SELECT auction FROM bid", 1, 18, "BIGINT"),
        ("INSERT INTO bid (price) VALUES ('x')", 1, 18, "STRING"),
        ("DROP VIEW bid", 1, 11, "'bid' is a table, not a view"),
        ("SET 'parallelism.default' = 'x'", 1, 6, "expected a whole number"),
        ("SELECT * FROM elsewhere.default_database.bid", 1, 15, "unknown catalog 'elsewhere'"),
    ]);
}

#[test]
fn wrong_declarations_are_refused_at_their_place() {
    check(&[
        ("CREATE TABLE t (a INT)", 1, 14, "needs WITH ('connector' = …)"),
        ("CREATE TABLE t (a INT) WITH ('connector' = 'fak')", 1, 30, "unknown connector 'fak'; did you mean 'fake'?"),
        ("CREATE TABLE t (a INT) WITH ('connector' = 'fake',\n 'pth' = 'x')", 2, 2, "did you mean 'path'?"),
        ("CREATE TABLE t (a INT) WITH ('connector' = 'fake', 'rows' = 'x')", 1, 52, "expected a whole number"),
        ("CREATE TABLE t (a INT, b AS c + 1) WITH ('connector' = 'fake')", 1, 29, "unknown column 'c'"),
        ("CREATE TABLE t (a INT, b AS a + 1, c AS b + 1) WITH ('connector' = 'fake')", 1, 41, "unknown column 'b'"),
        ("CREATE TABLE t (a INT, WATERMARK FOR a AS a) WITH ('connector' = 'fake')", 1, 38, "must be TIMESTAMP"),
        (
            "CREATE TABLE t (a TIMESTAMP(6), WATERMARK FOR a AS a) WITH ('connector' = 'fake')",
            1,
            47,
            "it is TIMESTAMP(6)",
        ),
        (
            "CREATE TABLE t (a BIGINT METADATA FROM 'ofset') WITH ('connector' = 'fake')",
            1,
            17,
            "did you mean 'offset'?",
        ),
        ("CREATE TABLE bid (a INT) WITH ('connector' = 'fake')", 1, 14, "there is a table 'bid' already"),
        ("CREATE VIEW v AS SELECT nope FROM bid", 1, 25, "unknown column 'nope'"),
    ]);
}

#[test]
fn a_failed_statement_changes_nothing() {
    let mut session = with_bid();
    refused(&mut session, "ALTER TABLE bid SET ('pth' = 'x')");
    assert_eq!(session.table("bid").unwrap().descriptor.options.get("pth"), None);
}
