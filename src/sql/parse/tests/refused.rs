//! Statements that are refused: what is said, and where.

use super::{error, parse_script};

/// A script, the line and column of its error, and what the message holds.
const WRONG: &[(&str, u64, u64, &str)] = &[
    ("SELECT", 1, 7, "expected an expression, found the end of the statement"),
    ("SELECT a FROM", 1, 14, "expected identifier, found the end of the statement"),
    ("SELECT a FROM t WHERE", 1, 22, "expected an expression, found the end of the statement"),
    ("SELECT a b c FROM t", 1, 12, "expected the end of the statement, found c"),
    ("SELEC a", 1, 1, "expected a statement"),
    ("SELECT 1;\nSELECT FROM t", 2, 8, "expected an expression, found FROM"),
    ("SELECT *\nFROM (SELECT a,\n  FROM t) AS x", 3, 3, "expected an expression, found FROM"),
    ("SELECT * FROM (SELECT a FROM (SELECT b FROM t WHERE c = ) AS x) AS y", 1, 57, "expected an expression, found )"),
    ("SELECT * FROM (SELECT a FROM t GROUP a) AS x", 1, 38, "expected"),
    ("WITH x AS (\n  SELECT * FROM (SELECT a FROM t WHERE) AS y\n) SELECT * FROM x", 2, 39, "expected an expression"),
    ("CREATE VIEW v AS SELECT * FROM (SELECT CAST(a AS INTT) FROM t)", 1, 50, "unknown type INTT; did you mean INT?"),
    (
        "INSERT INTO t SELECT * FROM ((SELECT a FROM t) AS x JOIN (SELECT b + FROM u) AS y ON TRUE)",
        1,
        70,
        "expected an expression, found FROM",
    ),
    ("SELECT CASE WHEN a THEN 1 ELSE END", 1, 32, "expected"),
    ("SELECT * FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), SIZE => INTERVAL MINUTE))", 1, 70, "INTERVAL '1' HOUR"),
    ("SELECT f(a => b +)", 1, 18, "expected an expression, found )"),
    ("SELECT a FROM t WHERE (a = 1", 1, 29, "expected ), found the end of the statement"),
    ("SELECT \"a\" FROM t", 1, 8, "backquotes"),
    ("SELECT 'abc", 1, 8, "unterminated string literal"),
    ("SELECT a FROM t /* x", 1, 21, "unexpected EOF while in a multi-line comment"),
    ("SELECT a::INT FROM t", 1, 9, "found ::"),
    ("SELECT * FROM t /*+ FOO('a'='b') */", 1, 17, "a table takes the hint OPTIONS"),
    ("SELECT * FROM /*+ OPTIONS('a'='b') */ (SELECT 1)", 1, 15, "stands right behind the table's name"),
    ("SELECT (1) /*+ OPTIONS('a'='b') */", 1, 12, "stands right behind the table's name"),
    ("CREATE TABLE t (a INT, PRIMARY KEY (a))", 1, 39, "NOT ENFORCED"),
    ("CREATE TABLE t (a INT PRIMARY KEY, b INT)", 1, 34, "NOT ENFORCED"),
    ("CREATE TABLE t (a INT,)", 1, 23, "expected the name of a column, found )"),
    ("CREATE TABLE t (a)", 1, 18, "expected a type, found )"),
    ("CREATE TABLE t (a INT b INT)", 1, 23, "expected ',' or ')'"),
    ("CREATE TABLE t (a ROW<x INT)", 1, 28, "expected >, found )"),
    ("CREATE TABLE t (a ARRAY<INT>>)", 1, 28, "unexpected '>'"),
    ("CREATE TABLE t (a DECIMAL(39))", 1, 27, "from 1 to 38"),
    ("CREATE TABLE t (a DECIMAL(4, 5))", 1, 30, "scale of a DECIMAL is from 0 to 4"),
    ("CREATE TABLE t (a TIMESTAMP(10))", 1, 29, "from 0 to 9"),
    ("CREATE TABLE t (a RAW('x', 'y'))", 1, 19, "RAW"),
    ("CREATE TABLE t (a TIMESTAMP WITH TIME ZONE)", 1, 29, "TIMESTAMP_LTZ"),
    ("CREATE TABLE t (a ROW<b TIMESTAMP(3)>, WATERMARK FOR a.b AS a.b)", 1, 55, "nested field"),
    ("CREATE TABLE t (ts TIMESTAMP(3), WATERMARK FOR ts AS ts, WATERMARK FOR ts AS ts)", 1, 58, "one WATERMARK"),
    ("CREATE TABLE t (a INT) WITH ('k' 'v')", 1, 34, "expected =, found 'v'"),
    ("CREATE TABLE t (a INT) WITH (k = 'v')", 1, 30, "option's key in single quotes"),
    ("CREATE TABLE t (a INT) WITH ('k' = v)", 1, 36, "option's value in single quotes"),
    ("CREATE TABLE t WITH ('k' = 'v') AS SELECT 1", 1, 33, "AS SELECT is not supported"),
    ("CREATE TABLE t (a INT) LIKE u (OVERWRITING ALL)", 1, 44, "OVERWRITING is for"),
    ("CREATE FUNCTION f AS 'x.Y'", 1, 8, "CREATE FUNCTION is not supported"),
    ("CREATE CATALOG c WITH ('type' = 'x')", 1, 8, "CREATE CATALOG is not supported"),
    ("CREATE DATABASE d", 1, 8, "CREATE DATABASE is not supported"),
    ("ADD JAR 'x.jar'", 1, 1, "ADD JAR is not supported"),
    ("USE CATALOG c", 1, 1, "USE is not supported"),
    ("ANALYZE TABLE t COMPUTE STATISTICS", 1, 1, "ANALYZE is not supported"),
    ("DELETE FROM t", 1, 1, "DELETE is not supported"),
    ("ALTER TABLE t ADD (a INT)", 1, 15, "ALTER TABLE … ADD is not supported"),
    ("SHOW CATALOGS", 1, 6, "SHOW CATALOGS is not supported"),
    ("EXPLAIN DROP TABLE t", 1, 9, "EXPLAIN takes"),
    ("EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1;", 1, 52, "expected INSERT or END"),
    (
        "EXECUTE STATEMENT SET BEGIN\nINSERT INTO a SELECT 1;\nSELECT 1; END",
        3,
        1,
        "expected INSERT or END, found SELECT",
    ),
    ("INSERT t SELECT 1", 1, 8, "INTO or OVERWRITE"),
    ("SET 'a'", 1, 8, "expected =, found the end of the statement"),
    (
        "SELECT * FROM t MATCH_RECOGNIZE (PATTERN (A B) WITHIN '1' DEFINE A AS a >)",
        1,
        74,
        "expected an expression, found )",
    ),
    ("SELECT CAST(CAST(CAST(a AS) AS INT) AS INT)", 1, 27, "expected a type, found )"),
];

#[test]
fn errors_say_what_is_wrong_and_where() {
    let mut wrong = vec![];
    for (sql, line, column, message) in WRONG {
        let e = error(sql);
        let place = e.position.map(|p| (p.line, p.column));
        let within = *column <= e.line_text.chars().count() as u64 + 1;
        if !e.message.contains(message) || place != Some((*line, *column)) || e.length == 0 || !within {
            wrong.push(format!("{sql}\n{e}\nwanted {line}:{column} {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn errors_underline_the_offending_word() {
    let e = error("SELECT 1;\n\tSELECT größe, FROM t");
    assert_eq!(
        e.to_string(),
        "line 2, column 16: expected an expression, found FROM\n  |\n2 | \tSELECT größe, FROM t\n  | \t              ^^^^"
    );
}

#[test]
fn an_error_in_a_later_statement_does_not_hide_behind_an_earlier_one() {
    assert!(parse_script("SELECT 1; SELECT 2; SELECT").is_err());
}
