//! Random queries.

use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::table::Table;

type Rng64 = Xoshiro256PlusPlus;

/// What is asked: views first, then queries that run side by side.
#[derive(Debug, Clone, Default)]
pub struct Script {
    pub views: Vec<String>,
    pub queries: Vec<String>,
    pub late: Late,
}

/// How late rows are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Late {
    /// A row is late when all its windows are closed.
    #[default]
    Rows,
    /// A row comes with one window, and is late when that is closed.
    Pairs,
    /// Rows are counted more than once.
    Uncounted,
}

pub fn pick<'a>(from: &[&'a str], rng: &mut Rng64) -> &'a str {
    from[rng.random_range(0..from.len())]
}

/// Between `least` and `most` different ones.
fn some<'a>(from: &[&'a str], least: usize, most: usize, rng: &mut Rng64) -> Vec<&'a str> {
    let mut left = from.to_vec();
    let count = rng.random_range(least..=most);
    (0..count).map(|_| left.remove(rng.random_range(0..left.len()))).collect()
}

const SCALARS: &[&str] = &[
    "dt",
    "at",
    "i + i",
    "e",
    "CAST(dt AS STRING)",
    "at + INTERVAL '1' DAY",
    "i * v",
    "CAST(v AS TINYINT)",
    "ROUND(f, 1)",
    "FLOOR(f)",
    "POSITION('a' IN k)",
    "TRIM(k)",
    "LOWER(k)",
    "REPLACE(k, 'a', 'z')",
    "CAST(ts AS DATE)",
    "GREATEST(n, 3)",
    "IF(b, n, 0)",
    "EXTRACT(DAY FROM dt)",
    "id",
    "k",
    "b",
    "n",
    "v",
    "f",
    "d",
    "c",
    "arr",
    "r.x",
    "r.y",
    "ts",
    "v + n",
    "v * 2 - 1",
    "n * 1.5",
    "d + 1",
    "f / 2",
    "CASE WHEN b THEN n ELSE 7 END",
    "UPPER(k)",
    "COALESCE(k, 'none')",
    "k || '_' || k",
    "n IS NULL",
    "NOT b",
    "n BETWEEN 2 AND 5",
    "k IN ('a', 'b')",
    "k LIKE 'a%'",
    "ABS(n)",
    "CHAR_LENGTH(k)",
    "arr[1]",
    "EXTRACT(SECOND FROM ts)",
    "CAST(n AS STRING)",
    "CAST(v AS DOUBLE)",
    "NULLIF(k, 'a')",
    "b IS TRUE",
    "n = v",
    "CARDINALITY(arr)",
    "MOD(v, 7)",
    "ts + INTERVAL '1' MINUTE",
    "SUBSTRING(k FROM 2)",
    "CAST(d AS INT)",
];

const CONDITIONS: &[&str] = &[
    "n > 0",
    "k = 'a'",
    "k IS NOT NULL",
    "b",
    "NOT b OR n < 3",
    "v BETWEEN -500 AND 500",
    "c > 0 AND f < 5",
    "r.x IS NULL OR r.x > 0",
    "d >= 1.00",
    "k LIKE '%a%'",
    "n IN (0, 1, 2)",
    "MOD(id, 3) = 1",
    "FALSE",
    "ARRAY_CONTAINS(arr, 0)",
    "k <> 'b' AND k <> ''",
];

const KEYS: &[&str] = &[
    "dt",
    "at",
    "i",
    "id > 40",
    "k",
    "b",
    "n",
    "d",
    "r.y",
    "MOD(v, 3)",
    "c",
    "CASE WHEN n > 0 THEN 'more' ELSE k END",
    "UPPER(k)",
];

const AGGREGATES: &[&str] = &[
    "SUM(i)",
    "AVG(i)",
    "MAX(dt)",
    "MIN(at)",
    "SUM(e)",
    "AVG(e)",
    "COUNT(DISTINCT dt)",
    "SUM(v) + COUNT(*)",
    "CAST(SUM(n) AS DOUBLE) / COUNT(*)",
    "UPPER(MAX(k))",
    "COUNT(DISTINCT k) > 1",
    "COUNT(*)",
    "COUNT(n)",
    "SUM(v)",
    "SUM(n)",
    "SUM(d)",
    "SUM(f)",
    "AVG(v)",
    "AVG(n)",
    "AVG(d)",
    "AVG(f)",
    "MIN(v)",
    "MAX(k)",
    "MIN(k)",
    "MAX(d)",
    "MIN(f)",
    "MAX(b)",
    "MAX(ts)",
    "COUNT(DISTINCT k)",
    "COUNT(DISTINCT n)",
    "SUM(DISTINCT n)",
    "COUNT(DISTINCT d)",
    "STDDEV_POP(n)",
    "STDDEV_SAMP(f)",
    "VAR_POP(v)",
    "VAR_SAMP(n)",
    "bool_and(b)",
    "bool_or(b)",
    "bit_and(n)",
    "bit_or(v)",
    "ARRAY_AGG(n ORDER BY id)",
    "ARRAY_AGG(k ORDER BY id DESC)",
    "FIRST_VALUE(k ORDER BY id)",
    "LAST_VALUE(v ORDER BY id)",
    "FIRST_VALUE(n ORDER BY v, id)",
    "LISTAGG(k, ',' ORDER BY id)",
    "COUNT(*) FILTER (WHERE n > 0)",
    "SUM(v) FILTER (WHERE b)",
    "COUNT(DISTINCT k) FILTER (WHERE n < 5)",
    "MAX(n + v)",
    "SUM(CASE WHEN b THEN 1 ELSE 0 END)",
    "median(n)",
    "approx_distinct(k)",
    "MIN(r.x)",
    "corr(n, f)",
    "COUNT(r)",
    "SUM(c)",
];

/// A window function over a table or view.
pub fn windows(over: &str, time: &str, rng: &mut Rng64) -> String {
    let seconds = |n: i64| format!("INTERVAL '{n}' SECOND");
    let part = rng.random_range(1..=7);
    let whole = part * rng.random_range(1..=4);
    let (name, spans) = match rng.random_range(0..3) {
        0 => ("TUMBLE", seconds(whole)),
        1 => ("HOP", format!("{}, {}", seconds(part), seconds(whole))),
        _ => ("CUMULATE", format!("{}, {}", seconds(part), seconds(whole))),
    };
    let offset =
        if rng.random_bool(0.4) { format!(", {}", seconds(rng.random_range(1 - whole..whole))) } else { String::new() };
    format!("TABLE({name}(TABLE {over}, DESCRIPTOR({time}), {spans}{offset}))")
}

fn condition(rng: &mut Rng64) -> String {
    match rng.random_range(0..3) {
        0 => String::new(),
        1 => format!(" WHERE {}", pick(CONDITIONS, rng)),
        _ => format!(" WHERE ({}) AND ({})", pick(CONDITIONS, rng), pick(CONDITIONS, rng)),
    }
}

fn named(exprs: &[&str], prefix: &str) -> Vec<String> {
    exprs.iter().enumerate().map(|(i, e)| format!("{e} AS {prefix}{i}")).collect()
}

/// Projections, filters, UNION ALL, UNNEST, VALUES.
pub fn stateless(tables: &[Table], rng: &mut Rng64) -> Script {
    let exprs = named(&some(SCALARS, 1, 6, rng), "e").join(", ");
    let table = |rng: &mut Rng64| tables[rng.random_range(0..tables.len())].name.clone();
    let query = match rng.random_range(0..6) {
        0 | 1 => format!("SELECT {exprs} FROM {}{}", table(rng), condition(rng)),
        2 => format!("SELECT id, u.el, k FROM {} CROSS JOIN UNNEST(arr) AS u(el){}", table(rng), condition(rng)),
        3 => format!("SELECT id, u.el + n FROM {} LEFT JOIN UNNEST(arr) AS u(el) ON TRUE", table(rng)),
        4 => {
            let exprs = some(&["id", "k", "n", "v", "f", "d", "b"], 1, 4, rng).join(", ");
            let parts =
                (0..rng.random_range(2..4)).map(|_| format!("SELECT {exprs} FROM {}{}", table(rng), condition(rng)));
            parts.collect::<Vec<_>>().join(" UNION ALL ")
        }
        _ => format!(
            "SELECT id, k FROM {} WHERE n > 0 UNION ALL SELECT * FROM (VALUES (CAST(1 AS BIGINT), 'x'), (2, 'y')) AS w(a, b)",
            table(rng)
        ),
    };
    Script { queries: vec![query], ..Script::default() }
}

/// The window columns that are grouped by, and those of them that are shown.
fn window_columns(rng: &mut Rng64) -> (Vec<&'static str>, Vec<&'static str>) {
    let mut grouped = vec!["window_start", "window_end"];
    if rng.random_bool(0.4) {
        grouped.push("window_time");
    }
    let shown = some(&grouped, 0, grouped.len(), rng);
    (grouped, shown)
}

fn grouped(from: &str, rng: &mut Rng64) -> String {
    let (windows, shown) = window_columns(rng);
    let keys = some(KEYS, 0, 3, rng);
    let aggregates = named(&some(AGGREGATES, 0, 5, rng), "a");
    let mut select: Vec<String> = shown.iter().map(|s| s.to_string()).collect();
    select.extend(named(&keys, "k"));
    select.extend(aggregates);
    if select.is_empty() {
        select.push("COUNT(*) AS a".into());
    }
    let by: Vec<&str> = windows.into_iter().chain(keys).collect();
    let having = pick(&["", "", "", " HAVING COUNT(*) > 1", " HAVING MAX(v) > MIN(v) OR SUM(n) IS NULL"], rng);
    format!("SELECT {} FROM {from}{} GROUP BY {}{having}", select.join(", "), condition(rng), by.join(", "))
}

/// GROUP BY over TUMBLE, HOP and CUMULATE.
pub fn windowed(tables: &[Table], rng: &mut Rng64) -> Script {
    let t = &tables[0];
    Script { queries: vec![grouped(&windows(&t.name, &t.time, rng), rng)], ..Script::default() }
}

/// The window function SESSION over a table or view, and the columns of its PARTITION BY.
fn sessions(over: &str, time: &str, rng: &mut Rng64) -> (String, Vec<&'static str>) {
    let keys = some(&["k", "b", "n", "d", "dt"], 0, 2, rng);
    let partition = match keys.as_slice() {
        [] => String::new(),
        [key] => format!(" PARTITION BY {key}"),
        keys => format!(" PARTITION BY ({})", keys.join(", ")),
    };
    let gap = pick(&["0.001", "0.5", "1", "1", "2", "3", "7"], rng);
    (format!("TABLE(SESSION(TABLE {over}{partition}, DESCRIPTOR({time}), INTERVAL '{gap}' SECOND))"), keys)
}

/// GROUP BY over SESSION, by its keys and by others, and SESSION by itself.
pub fn of_sessions(tables: &[Table], rng: &mut Rng64) -> Script {
    let t = &tables[0];
    let (mut views, mut over) = (Vec::new(), t.name.clone());
    if rng.random_bool(0.3) {
        views.push(format!("CREATE VIEW kept AS SELECT * FROM {}{}", t.name, condition(rng)));
        over = "kept".into();
    }
    let (from, keys) = sessions(&over, &t.time, rng);
    let query = match rng.random_range(0..5) {
        0 => {
            let shown = named(&some(SCALARS, 1, 4, rng), "e").join(", ");
            format!("SELECT window_start, window_end, window_time, {shown} FROM {from}{}", condition(rng))
        }
        1 => {
            let other = some(KEYS, 0, 2, rng);
            let by: Vec<&str> = ["window_start", "window_end"].into_iter().chain(other.iter().copied()).collect();
            let shown = named(&other, "k").into_iter().chain(named(&some(AGGREGATES, 1, 4, rng), "a"));
            let shown = shown.collect::<Vec<_>>().join(", ");
            format!("SELECT window_start, {shown} FROM {from} GROUP BY {}", by.join(", "))
        }
        _ => {
            let (windows, shown) = window_columns(rng);
            let by: Vec<&str> = windows.into_iter().chain(keys.iter().copied()).collect();
            let aggregates = named(&some(AGGREGATES, 0, 4, rng), "a");
            let shown = shown.iter().map(ToString::to_string).chain(named(&keys, "k")).chain(aggregates);
            let shown = shown.chain(["COUNT(*) AS n".into()]).collect::<Vec<_>>().join(", ");
            let having = pick(&["", "", " HAVING COUNT(*) > 1", " HAVING MAX(v) > MIN(v)"], rng);
            format!("SELECT {shown} FROM {from} GROUP BY {}{having}", by.join(", "))
        }
    };
    Script { views, queries: vec![query], late: Late::Rows }
}

/// GROUP BY TUMBLE, HOP and SESSION, where a HOP may have any size.
pub fn group_windows(tables: &[Table], rng: &mut Rng64) -> Script {
    let t = &tables[0];
    let seconds = |rng: &mut Rng64| format!("INTERVAL '{}' SECOND", rng.random_range(1..=9));
    let (name, spans) = match rng.random_range(0..3) {
        0 => ("TUMBLE", seconds(rng)),
        1 => ("HOP", format!("{}, {}", seconds(rng), seconds(rng))),
        _ => ("SESSION", format!("INTERVAL '{}' SECOND", pick(&["0.001", "0.5", "1", "2", "5"], rng))),
    };
    let call = |part: &str| format!("{name}{part}({}, {spans})", t.time);
    let keys = some(&["k", "b", "n", "d", "UPPER(k)", "MOD(v, 3)", "n > 2"], 0, 2, rng);
    let parts = some(&["_START", "_END", "_ROWTIME"], 0, 3, rng);
    let parts = parts.into_iter().map(call).collect::<Vec<_>>();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let mut shown = named(&parts, "w");
    shown.extend(named(&keys, "k"));
    shown.extend(named(&some(AGGREGATES, 1, 4, rng), "a"));
    let (having, late) = match rng.random_range(0..4) {
        0 => (" HAVING COUNT(*) > 1".to_string(), Late::Rows),
        // It is asked of rows, of which it leaves out some that are late.
        1 => (format!(" HAVING EXTRACT(SECOND FROM {}) < 40", call("_END")), Late::Uncounted),
        _ => (String::new(), Late::Rows),
    };
    let by: Vec<String> = keys.iter().map(ToString::to_string).chain([call("")]).collect();
    let (shown, by, condition) = (shown.join(", "), by.join(", "), condition(rng));
    let query = format!("SELECT {shown} FROM {}{condition} GROUP BY {by}{having}", t.name);
    Script { queries: vec![query], late, ..Script::default() }
}

/// ROLLUP, CUBE, GROUPING SETS over windows.
pub fn grouping_sets(tables: &[Table], rng: &mut Rng64) -> Script {
    let t = &tables[0];
    let from = windows(&t.name, &t.time, rng);
    let keys = some(&["k", "b", "n", "d"], 1, 3, rng);
    let list = keys.join(", ");
    let sets = match rng.random_range(0..if keys.len() > 1 { 3 } else { 2 }) {
        0 => format!("ROLLUP({list})"),
        1 => format!("CUBE({list})"),
        _ => format!("GROUPING SETS(({list}), ({}), ())", keys[0]),
    };
    let grouping: Vec<String> = keys.iter().map(|k| format!("GROUPING({k})")).collect();
    let aggregates = named(&some(AGGREGATES, 1, 4, rng), "a").join(", ");
    let query = format!(
        "SELECT window_start, window_end, {list}, {}, {aggregates} FROM {from}{} GROUP BY window_start, window_end, {sets}",
        grouping.join(", "),
        condition(rng)
    );
    Script { queries: vec![query], late: Late::Uncounted, ..Script::default() }
}

/// Windows over the results of windows.
pub fn cascaded(tables: &[Table], rng: &mut Rng64) -> Script {
    let t = &tables[0];
    let from = windows(&t.name, &t.time, rng);
    let view = format!(
        "CREATE VIEW w AS SELECT window_time AS rt, k, COUNT(*) AS n, SUM(v) AS v, MAX(n) AS m, MIN(id) AS id FROM {from}{} \
         GROUP BY window_start, window_end, window_time, k",
        condition(rng)
    );
    let from = windows("w", "rt", rng);
    let aggregates = ["COUNT(*)", "SUM(n)", "SUM(v)", "MAX(m)", "COUNT(DISTINCT k)", "MAX(rt)", "AVG(n)", "MIN(id)"];
    let aggregates = named(&some(&aggregates, 1, 4, rng), "a").join(", ");
    let key = pick(&["", ", k", ", n"], rng);
    let query = format!(
        "SELECT window_start, window_end{key}, {aggregates} FROM {from} GROUP BY window_start, window_end{key}"
    );
    Script { views: vec![view], queries: vec![query], late: Late::Rows }
}

/// A filter on the windows between the window function and the aggregate.
pub fn carried(tables: &[Table], rng: &mut Rng64) -> Script {
    let t = &tables[0];
    let from = windows(&t.name, &t.time, rng);
    let filter = pick(
        &[
            "window_start > TIMESTAMP '1970-01-01 00:00:03'",
            "EXTRACT(SECOND FROM window_end) > 20",
            "window_end <> TIMESTAMP '1970-01-01 00:00:10' AND window_start < window_end",
            "CHAR_LENGTH(k) < EXTRACT(SECOND FROM window_start)",
        ],
        rng,
    );
    let (windows, aggregates) = (window_columns(rng), named(&some(AGGREGATES, 1, 4, rng), "a").join(", "));
    let keys = some(&["k", "b", "n", "d"], 0, 2, rng);
    let by: Vec<&str> = windows.0.into_iter().chain(keys).collect();
    let by = by.join(", ");
    let query = format!("SELECT {by}, {aggregates} FROM (SELECT * FROM {from} WHERE {filter}) GROUP BY {by}");
    Script { queries: vec![query], late: Late::Pairs, ..Script::default() }
}

/// A window function without an aggregate.
pub fn alone(tables: &[Table], rng: &mut Rng64) -> Script {
    let t = &tables[0];
    let from = windows(&t.name, &t.time, rng);
    let exprs = named(&some(SCALARS, 0, 4, rng), "e");
    let windows = some(&["window_start", "window_end", "window_time"], 1, 3, rng);
    let select: Vec<String> = windows.iter().map(|w| w.to_string()).chain(exprs).collect();
    let query = format!("SELECT {} FROM {from}{}", select.join(", "), condition(rng));
    Script { queries: vec![query], ..Script::default() }
}

/// Windows over a view: UNION ALL, UNNEST, or a projection.
pub fn over_views(tables: &[Table], rng: &mut Rng64) -> Script {
    let (a, b) = (&tables[0], &tables[tables.len() - 1]);
    let columns = "id, k, b, n, v, f, d, arr, r, c, dt, at, i, e, ts";
    let view = match rng.random_range(0..3) {
        0 => format!(
            "SELECT {columns}, {} AS rt FROM {}{} UNION ALL SELECT {columns}, {} AS rt FROM {}{}",
            a.time,
            a.name,
            condition(rng),
            b.time,
            b.name,
            condition(rng)
        ),
        1 => format!(
            "SELECT id, k, b, u.el AS n, v, f, d, arr, r, c, dt, at, i, e, ts, {} AS rt FROM {} CROSS JOIN UNNEST(arr) AS u(el)",
            a.time, a.name
        ),
        _ => format!(
            "SELECT *, {} AS rt FROM (SELECT {columns}{} FROM {}{})",
            a.time,
            if a.time == "ts" { "" } else { ", rt AS rt0" },
            a.name,
            condition(rng)
        ),
    };
    // A branch that is found to be empty no longer holds the watermark back.
    let view = view.replace("FALSE", "n > 4");
    let view = view
        .replace("SELECT *, rt AS rt FROM", "SELECT id, k, b, n, v, f, d, arr, r, c, dt, at, i, e, ts, rt0 AS rt FROM");
    let query = grouped(&windows("w", "rt", rng), rng).replace("FIRST_VALUE(n ORDER BY v, id)", "MIN(n)");
    Script { views: vec![format!("CREATE VIEW w AS {view}")], queries: vec![query], late: Late::Rows }
}

/// Several queries in one circuit.
pub fn statement_set(tables: &[Table], rng: &mut Rng64) -> Script {
    let mut set = Script { late: Late::Uncounted, ..Script::default() };
    for _ in 0..rng.random_range(2..=4) {
        let one = match rng.random_range(0..3) {
            0 => stateless(tables, rng),
            1 => carried(tables, rng),
            _ => windowed(tables, rng),
        };
        set.queries.extend(one.queries);
    }
    if rng.random_bool(0.3) {
        set.queries.push(set.queries[0].clone());
    }
    set
}

/// Queries that were answered wrongly once.
pub fn regressions(tables: &[Table], rng: &mut Rng64) -> Script {
    let Table { name, time, .. } = &tables[0];
    let tvf = format!("TABLE(CUMULATE(TABLE {name}, DESCRIPTOR({time}), INTERVAL '2' SECOND, INTERVAL '6' SECOND))");
    let over_view = "TABLE(HOP(TABLE w, DESCRIPTOR(rt), INTERVAL '2' SECOND, INTERVAL '6' SECOND))";
    let windows = "window_start, window_end";
    let (view, query, late) = match rng.random_range(0..4) {
        // A late row closed windows of the first grouping set before the rows of the others were there.
        0 => {
            let sets = "GROUPING SETS((d), ())";
            (None, format!("SELECT {windows}, d, COUNT(*) FROM {tvf} GROUP BY {windows}, {sets}"), Late::Uncounted)
        }
        // A union of a table with itself held its own watermark back.
        1 => {
            let part = format!("SELECT id, {time} AS rt FROM {name}");
            let query = format!("SELECT {windows}, COUNT(*) FROM {over_view} GROUP BY {windows}");
            (Some(format!("{part} WHERE b UNION ALL {part} WHERE n > 0")), query, Late::Rows)
        }
        // Rows with empty arrays were lost.
        2 => (None, format!("SELECT id, u.el FROM {name} LEFT JOIN UNNEST(arr) AS u(el) ON TRUE"), Late::Rows),
        // What is known to be empty had no time attribute.
        _ => {
            let view = format!("SELECT window_time AS rt, k FROM {tvf} WHERE FALSE GROUP BY {windows}, window_time, k");
            (
                Some(view),
                format!("SELECT {windows}, k, COUNT(*) FROM {over_view} GROUP BY {windows}, k"),
                Late::Uncounted,
            )
        }
    };
    Script { views: view.map(|v| format!("CREATE VIEW w AS {v}")).into_iter().collect(), queries: vec![query], late }
}
