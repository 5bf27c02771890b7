//! Statements that are taken.

use super::parse_script;

/// Queries, expressions within them included.
pub(super) const QUERIES: &[&str] = &[
    "SELECT * FROM t",
    "SELECT a, t.b AS c, t.* FROM cat.db.t AS t WHERE a > 1 AND b <> 'x''y' OR NOT c",
    "SELECT `select`, `a b`.`c``d` FROM `a b`",
    "SELECT U&'\\00e9', X'0aFF', 1.5e3, .5, 'it''s'",
    "SELECT a FROM t AS x (a, b), u y",
    "SELECT DISTINCT a FROM t ORDER BY a DESC NULLS LAST LIMIT 10 OFFSET 5",
    "SELECT a FROM t ORDER BY a FETCH FIRST 5 ROWS ONLY",
    "VALUES (1, 'a'), (2, 'b')",
    "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t (id, name)",
    "WITH a AS (SELECT 1 AS x), b (y) AS (SELECT x FROM a) SELECT * FROM a, b",
    "SELECT a FROM t UNION ALL SELECT b FROM u UNION SELECT c FROM v",
    "(SELECT a FROM t) INTERSECT (SELECT a FROM u) EXCEPT SELECT a FROM v",
    "SELECT COUNT(*), COUNT(DISTINCT a), SUM(b) FILTER (WHERE b > 0) FROM t GROUP BY c HAVING COUNT(*) > 1",
    "SELECT a, b, COUNT(*) FROM t GROUP BY GROUPING SETS ((a, b), (a), ())",
    "SELECT a, b, COUNT(*) FROM t GROUP BY CUBE (a, b)",
    "SELECT a, b, COUNT(*) FROM t GROUP BY ROLLUP (a, b)",
    "SELECT * FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE))",
    "SELECT * FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '5' SECOND)) AS w",
    "SELECT * FROM TABLE(TUMBLE(DATA => TABLE c.d.t, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '1' MINUTE))",
    "SELECT * FROM TABLE(HOP(DATA => TABLE t, TIMECOL => DESCRIPTOR(ts), SLIDE => INTERVAL '5' MINUTES, SIZE => INTERVAL '10' MINUTES))",
    "SELECT * FROM TABLE(CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '2' MINUTES, INTERVAL '10' MINUTES))",
    "SELECT * FROM TABLE(SESSION(TABLE t PARTITION BY (a, b), DESCRIPTOR(ts), INTERVAL '5' MINUTES))",
    "SELECT * FROM TABLE(SESSION(TABLE t PARTITION BY a, DESCRIPTOR(ts), INTERVAL '5' MINUTES))",
    "SELECT window_start, COUNT(*) FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' DAY) GROUP BY window_start, window_end",
    "SELECT TUMBLE_START(ts, INTERVAL '1' DAY), COUNT(*) FROM t GROUP BY TUMBLE(ts, INTERVAL '1' DAY), a",
    "SELECT HOP_END(ts, INTERVAL '1' HOUR, INTERVAL '1' DAY) FROM t GROUP BY HOP(ts, INTERVAL '1' HOUR, INTERVAL '1' DAY)",
    "SELECT SESSION_ROWTIME(ts, INTERVAL '1' HOUR) FROM t GROUP BY SESSION(ts, INTERVAL '1' HOUR)",
    "SELECT SUM(a) OVER (PARTITION BY b ORDER BY ts RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW) FROM t",
    "SELECT SUM(a) OVER w, COUNT(*) OVER w FROM t WINDOW w AS (PARTITION BY b ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
    "SELECT LAG(a, 1) IGNORE NULLS OVER (ORDER BY ts) FROM t",
    "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY a ORDER BY b DESC) AS rn FROM t) WHERE rn <= 3",
    "SELECT * FROM a JOIN b ON a.x = b.x LEFT JOIN c ON b.y = c.y RIGHT OUTER JOIN d USING (z) FULL JOIN e ON TRUE",
    "SELECT * FROM a, b WHERE a.ts BETWEEN b.ts - INTERVAL '5' MINUTE AND b.ts + INTERVAL '5' MINUTE",
    "SELECT * FROM o JOIN r FOR SYSTEM_TIME AS OF o.ts AS r ON o.c = r.c",
    "SELECT * FROM o LEFT JOIN r FOR SYSTEM_TIME AS OF o.proc_time ON o.c = r.c",
    "SELECT * FROM t CROSS JOIN UNNEST(arr) AS u (a)",
    "SELECT * FROM t CROSS JOIN UNNEST(t.arr) WITH ORDINALITY AS u (a, n)",
    "SELECT * FROM t, LATERAL TABLE(f(x)) AS u (a)",
    "SELECT * FROM t LEFT JOIN LATERAL TABLE(f(x, 1)) AS u (a) ON TRUE",
    "SELECT * FROM t, LATERAL (SELECT * FROM u WHERE u.a = t.a) AS v",
    "SELECT ROW(1, 'a'), (a, b), ARRAY[1, 2], MAP['k', 1, 'l', 2], ARRAY[ARRAY[1]], MAP['k', ARRAY[1]]['k'][1]",
    "SELECT bid.price, t.bid.price, arr[1], m['k'], t.arr[i + 1].b, f(x).y FROM t",
    "SELECT CAST(a AS BYTES), CAST(a AS STRING), CAST(a AS TIMESTAMP_LTZ(3)), TRY_CAST(a AS DECIMAL(10, 2)) FROM t",
    "SELECT CAST(a AS TIMESTAMP(3) WITH LOCAL TIME ZONE), CAST(a AS ROW<x INT, y ARRAY<STRING>>), CAST(a AS MAP<STRING, ARRAY<INT>>)",
    "SELECT CAST(a AS INTERVAL DAY TO SECOND(3)), CAST(a AS INT ARRAY), CAST(a AS DOUBLE PRECISION), CAST(NULL AS INT)",
    "SELECT INTERVAL '1' HOUR, INTERVAL '1:30' MINUTE TO SECOND, INTERVAL '10' DAY(2), INTERVAL '1-2' YEAR TO MONTH, INTERVAL -'1' DAY",
    "SELECT INTERVAL '1 02:03:04.5' DAY TO SECOND(3), INTERVAL '400' DAY(3), INTERVAL '1' SECOND(2, 3)",
    "SELECT TIMESTAMP '2020-01-01 00:00:00.123', DATE '2020-01-01', TIME '12:00:00'",
    "SELECT TIMESTAMPDIFF(MINUTE, a, b), TIMESTAMPADD(DAY, 1, a), EXTRACT(HOUR FROM a), CEIL(a TO DAY), FLOOR(a TO HOUR), CEIL(1.5)",
    "SELECT TRIM(a), TRIM(BOTH ' ' FROM a), TRIM(LEADING FROM a), OVERLAY(a PLACING b FROM 1 FOR 2), POSITION(a IN b)",
    "SELECT SUBSTRING(a FROM 1 FOR 2), SUBSTRING(a, 1, 2), SUBSTR(a, 1), a || b, a LIKE 'x%' ESCAPE '!', a % 2",
    "SELECT a IS NULL, a IS NOT NULL, a IS TRUE, a IS NOT UNKNOWN, a IS DISTINCT FROM b, a IS NOT DISTINCT FROM b AND c",
    "SELECT a BETWEEN 1 AND 2, a NOT BETWEEN SYMMETRIC 2 AND 1, a BETWEEN ASYMMETRIC 1 AND 2 AND b FROM t",
    "SELECT a SIMILAR TO 'x', a NOT SIMILAR TO 'x', a IN (1, 2), a NOT IN (SELECT b FROM u), EXISTS (SELECT 1 FROM u)",
    "SELECT a IS JSON, a IS NOT JSON OBJECT, a IS JSON ARRAY AND b",
    "SELECT CASE WHEN a THEN 1 WHEN b THEN 2 ELSE 3 END, CASE a WHEN 1 THEN 'x' END, COALESCE(a, b), NULLIF(a, b)",
    "SELECT CURRENT_TIMESTAMP, LOCALTIMESTAMP, CURRENT_DATE, CURRENT_ROW_TIMESTAMP(), PROCTIME(), NOW()",
    "SELECT /*+ STATE_TTL('a' = '1d') */ a FROM t -- a comment",
    "SELECT /* inner */ a /* ; */ FROM t -- ; none",
    "SELECT LISTAGG(a, ','), JSON_VALUE(a, '$.b'), x'00' FROM t",
    "SELECT (SELECT MAX(a) FROM u), a = ANY (SELECT b FROM v), a > ALL (SELECT b FROM v) FROM t",
    "SELECT größe, _a, a$b, a1 FROM größen",
    "SELECT YEAR(ts), LEFT(a, 1), REPLACE(a, 'b', 'c'), TRUNCATE(a, 1), IF(a, b, c), FIRST_VALUE(a), GROUPING(a), UUID() FROM t",
    "SELECT JSON_OBJECT(KEY 'a' VALUE 1, KEY 'b' VALUE 2), JSON_OBJECT('a' VALUE 1 NULL ON NULL), JSON_QUERY(a, '$.b')",
    "SELECT a.b.c, (a).b, CAST(ROW(1, 'a') AS ROW<x INT, y STRING>).x, ts AT TIME ZONE 'UTC', f(x => 1, y => 'b') FROM t",
    "SELECT * FROM TABLE(TUMBLE(TABLE (SELECT * FROM t), DESCRIPTOR(`ts`), INTERVAL '1' DAY)) w JOIN u ON w.a = u.a",
    "SELECT * FROM TABLE(TUMBLE((SELECT * FROM t), DESCRIPTOR(ts), INTERVAL '1' DAY))",
    "SELECT * FROM TABLE(f(1)) AS t (x), UNNEST(ARRAY[ROW(1, 2)]) AS u (y, z)",
    "SELECT `value`, `key`, date, one FROM t NATURAL JOIN u CROSS JOIN v",
    MATCH,
    "SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES FINAL LAST(A.x) AS y ALL ROWS PER MATCH \
     AFTER MATCH SKIP TO FIRST A PATTERN (A+? B{2,3}? (C | D)*? E??) DEFINE A AS A.x > 1) AS m",
    "SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES A.x AS y AFTER MATCH SKIP TO B PATTERN (A B) DEFINE A AS TRUE)",
    "SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES A.x AS y AFTER MATCH SKIP TO NEXT ROW PATTERN (A B | C) DEFINE A AS TRUE)",
];

pub(super) const MATCH: &str = "SELECT * FROM (SELECT * FROM t) MATCH_RECOGNIZE (PARTITION BY a ORDER BY ts \
    MEASURES FIRST(A.x) AS first_x, LAST(A.x, 1) AS y ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW \
    PATTERN (A B* C) WITHIN INTERVAL '1' HOUR DEFINE A AS A.x > 1, B AS B.x > LAST(B.x, 1)) AS m";

/// All other statements.
pub(super) const STATEMENTS: &[&str] = &[
    "CREATE TABLE t (a INT)",
    "CREATE TEMPORARY TABLE IF NOT EXISTS c.d.t (a INT NOT NULL COMMENT 'x', b STRING, c AS a + 1 COMMENT 'y') COMMENT 'z' WITH ('connector' = 'datagen')",
    "CREATE TABLE t (a BIGINT METADATA FROM 'offset' VIRTUAL, b TIMESTAMP_LTZ(3) NOT NULL METADATA, c INT METADATA VIRTUAL)",
    "CREATE TABLE t (id BIGINT PRIMARY KEY NOT ENFORCED, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ()",
    "CREATE TABLE t (a INT, b INT, CONSTRAINT pk PRIMARY KEY (a, b) NOT ENFORCED) PARTITIONED BY (a, b) WITH ('x' = 'y')",
    "CREATE TABLE t (a CHAR(3), b VARCHAR(10), c STRING, d BINARY(3), e VARBINARY(10), f BYTES, g BOOLEAN, h TINYINT, i SMALLINT, j INTEGER)",
    "CREATE TABLE t (a DECIMAL(10, 2), b DEC(5), c NUMERIC, d FLOAT, e DOUBLE, f DOUBLE PRECISION, g DATE, h TIME(3), i TIME WITHOUT TIME ZONE)",
    "CREATE TABLE t (a TIMESTAMP, b TIMESTAMP(9) WITHOUT TIME ZONE, c TIMESTAMP(3) WITH LOCAL TIME ZONE, d TIMESTAMP_LTZ)",
    "CREATE TABLE t (a ROW<x INT NOT NULL 'comment', y ROW<z ARRAY<STRING>>>, b ROW(x INT, y STRING), c MAP<STRING, INT NOT NULL>)",
    "CREATE TABLE t (a MULTISET<STRING>, b INT ARRAY, c INT ARRAY ARRAY, d ARRAY<ROW<x MAP<INT, ARRAY<INT>>>>, e INT MULTISET)",
    "CREATE TABLE t (a INTERVAL YEAR(4) TO MONTH, b INTERVAL DAY TO SECOND(3), c INTERVAL SECOND(3), d INTERVAL HOUR)",
    "CREATE TABLE t LIKE u",
    "CREATE TABLE t (c AS PROCTIME()) WITH ('k' = 'v') LIKE u (EXCLUDING ALL INCLUDING GENERATED OVERWRITING OPTIONS)",
    "CREATE TABLE t WITH ('k' = 'v') LIKE u (INCLUDING WATERMARKS)",
    "CREATE VIEW v AS SELECT * FROM t",
    "CREATE TEMPORARY VIEW IF NOT EXISTS v (a, b) COMMENT 'x' AS SELECT 1, 2 UNION ALL SELECT 3, 4",
    "DROP TABLE t",
    "DROP TEMPORARY VIEW IF EXISTS c.v",
    "ALTER TABLE t SET ('a' = 'b', 'c' = 'd')",
    "ALTER TABLE t RESET ('a')",
    "INSERT INTO t SELECT * FROM u",
    "INSERT INTO t (a, b) VALUES (1, 2)",
    "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
    "INSERT INTO t (SELECT * FROM u)",
    "INSERT OVERWRITE t PARTITION (d = '2020', h = 1) (a, b) SELECT a, b FROM u",
    "INSERT INTO t WITH x AS (SELECT 1 AS a) SELECT * FROM x",
    "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END",
    "BEGIN STATEMENT SET; INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END;",
    "EXPLAIN SELECT 1",
    "EXPLAIN PLAN FOR INSERT INTO t SELECT 1",
    "EXPLAIN CHANGELOG_MODE, ESTIMATED_COST SELECT 1",
    "EXPLAIN STATEMENT SET BEGIN INSERT INTO a SELECT 1; END",
    "SHOW TABLES",
    "SHOW VIEWS",
    "SHOW FUNCTIONS",
    "SHOW CREATE TABLE c.d.t",
    "SHOW CREATE VIEW v",
    "SHOW COLUMNS FROM t",
    "DESCRIBE t",
    "DESC c.d.t",
    "SET",
    "SET 'parallelism.default' = '4'",
    "SET parallelism.default = 4",
    "SET table.exec.source.idle-timeout = 10 s",
    "RESET",
    "RESET 'parallelism.default'",
];

#[test]
fn statements_are_taken() {
    for sql in QUERIES.iter().chain(STATEMENTS) {
        for text in [sql.to_string(), format!("\n/* x */ {sql} ;;")] {
            match parse_script(&text) {
                Ok(statements) => assert_eq!(statements.len(), 1, "{text}"),
                Err(e) => panic!("{text}\n{e}"),
            }
        }
    }
}

#[test]
fn queries_are_taken_wherever_a_query_stands() {
    for sql in QUERIES {
        let text = format!(
            "INSERT INTO t {sql}\n; CREATE VIEW v AS {sql}\n; EXPLAIN {sql}\n; EXECUTE STATEMENT SET BEGIN INSERT INTO t {sql}\n; END"
        );
        match parse_script(&text) {
            Ok(statements) => assert_eq!(statements.len(), 4, "{text}"),
            Err(e) => panic!("{text}\n{e}"),
        }
    }
}

#[test]
fn queries_print_and_parse_again_to_the_same_text() {
    for sql in QUERIES {
        let again = |sql: &str| match super::one(sql) {
            crate::sql::ast::Statement::Query(query) => query.to_string(),
            other => panic!("{other:?}"),
        };
        let lifted = [
            "TABLE t",
            "TABLE c",
            "MATCH_RECOGNIZE",
            "MAP",
            "TIMESTAMP_LTZ",
            "LATERAL",
            "ROW<",
            "LOCAL",
            "U&",
            "SYSTEM_TIME",
        ];
        if lifted.iter().any(|word| sql.contains(word)) {
            continue;
        }
        let printed = again(sql);
        assert_eq!(again(&printed), printed, "{sql}");
    }
}
