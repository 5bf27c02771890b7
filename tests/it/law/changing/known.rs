//! Queries that were answered wrongly once, or not at all.

use super::case::Case;
use super::table::{Mode, Table};

/// What each was wrong in, and the query; over `t` and `s`.
const QUERIES: &[(&str, &str)] = &[
    (
        "expressions in grouping sets were lost",
        "SELECT COALESCE(n, 0) AS k, UPPER(x) AS u, COUNT(*) AS c, GROUPING(UPPER(x)) AS g FROM t \
         GROUP BY ROLLUP(COALESCE(n, 0), UPPER(x))",
    ),
    (
        "an aggregate without rows had one, where no column of it was used",
        "SELECT 1 AS c FROM (SELECT COUNT(*) AS n FROM t)",
    ),
    ("rows without columns could not go", "SELECT 1 AS c FROM t CROSS JOIN s"),
    ("a union took its columns for NOT NULL", "SELECT id AS c FROM t UNION ALL SELECT n AS c FROM s"),
    ("NOT IN beside OR took not known for true", "SELECT id FROM t WHERE n NOT IN (SELECT id FROM s) OR x IS NOT NULL"),
    ("IN below NOT took not known for false", "SELECT id FROM t WHERE NOT (n IN (SELECT n FROM s) AND x IS NOT NULL)"),
    (
        "of joins in a row one said whether NULLs are equal",
        "SELECT b.x FROM t AS a JOIN t AS b ON a.x IS NOT DISTINCT FROM b.x JOIN s AS c ON a.id = c.id",
    ),
    (
        "a correlation that says what NOT IN says was taken for it",
        "SELECT a.id FROM t AS a WHERE a.n NOT IN (SELECT q.n FROM s AS q WHERE q.n = a.n)",
    ),
    (
        "the count of what cannot be was none",
        "SELECT a.id FROM t AS a WHERE a.id <> (SELECT COUNT(*) FROM s AS q WHERE q.id IS NULL AND q.n = a.n)",
    ),
    (
        "the value of an aggregate without rows was taken for NOT NULL",
        "SELECT id FROM (SELECT id, (SELECT COUNT(n) FROM s) AS c FROM t) WHERE c IS NOT NULL",
    ),
    ("equal rows changed places behind an OFFSET", "SELECT x, n FROM t ORDER BY x, n LIMIT 1 OFFSET 2"),
    (
        "equal rows changed places under their ranks",
        "SELECT x, rn FROM (SELECT x, n, ROW_NUMBER() OVER (ORDER BY x, n) AS rn FROM t) WHERE rn <= 4",
    ),
];

#[test]
fn what_went_wrong_once() {
    for (wrong, query) in QUERIES {
        for seed in 0..12 {
            let modes = [Mode::Append, Mode::Retract, Mode::Upsert];
            let tables: Vec<Table> =
                ["t", "s"].iter().map(|name| Table::fixed(name, modes[seed as usize % modes.len()])).collect();
            let case = Case::fixed(tables, query, seed).unwrap_or_else(|e| panic!("{wrong}: {e}"));
            if let Some(failure) = case.failure() {
                let (case, failure) = case.shrunk(failure);
                panic!("{wrong}\n{case}\n  {failure}");
            }
        }
    }
}
