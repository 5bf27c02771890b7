//! MATCH_RECOGNIZE made to do harm: patterns, conditions and measures at random, deep, long, and with large numbers.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{check_all, nested};

type Random = Xoshiro256PlusPlus;

fn one<'a>(of: &[&'a str], rng: &mut Random) -> &'a str {
    of[rng.random_range(0..of.len())]
}

fn variable(rng: &mut Random) -> &'static str {
    one(&["A", "B", "C", "D", "A", "B", "C", "nope", "`a b`", "ONLY"], rng)
}

fn quantifier(rng: &mut Random) -> &'static str {
    const ALL: [&str; 24] = [
        "*",
        "+",
        "?",
        "*?",
        "+?",
        "??",
        "{2}",
        "{,3}",
        "{2,}",
        "{1,4}",
        "{1,4}?",
        "{0}",
        "{3,1}",
        "{,0}",
        "{1000000}",
        "{4294967295}",
        "{4294967296}",
        "{99999999999999999999}",
        "{-1}",
        "{n}",
        "{}",
        "{,}",
        "+ +",
        "{0,1000000}?",
    ];
    let some = if rng.random_bool(0.8) { 11 } else { 24 };
    ALL[rng.random_range(0..some)]
}

fn pattern(depth: usize, rng: &mut Random) -> String {
    let many = |between: &str, rng: &mut Random| {
        let parts: Vec<String> = (0..rng.random_range(1..4)).map(|_| pattern(depth - 1, rng)).collect();
        parts.join(between)
    };
    match rng.random_range(0..24) {
        0..4 if depth > 0 => many(" ", rng),
        4..7 if depth > 0 => format!("({})", many(" | ", rng)),
        7..11 if depth > 0 => format!("({}){}", pattern(depth - 1, rng), quantifier(rng)),
        11 if depth > 0 => format!("{{- {} -}}", pattern(depth - 1, rng)),
        12 if depth > 0 => format!("PERMUTE({})", many(", ", rng)),
        13 if depth > 0 => format!("({} | )", pattern(depth - 1, rng)),
        14 if depth > 0 => format!("( | {})", pattern(depth - 1, rng)),
        15 => one(&["()", "^", "$", "{- -}", "PERMUTE()", "^ A $", "|", "(A | | B)"], rng).to_string(),
        16..20 => format!("{}{}", variable(rng), quantifier(rng)),
        _ => variable(rng).to_string(),
    }
}

/// A number of rows, or what is none.
fn offset(rng: &mut Random) -> &'static str {
    const ALL: [&str; 16] = [
        "0",
        "1",
        "2",
        "1000",
        "4294967295",
        "4294967296",
        "9223372036854775807",
        "18446744073709551616",
        "-1",
        "1.5",
        "1e3",
        "NULL",
        "n",
        "A.n",
        "'1'",
        "1 + 1",
    ];
    let some = if rng.random_bool(0.7) { 4 } else { 16 };
    ALL[rng.random_range(0..some)]
}

fn value(depth: usize, rng: &mut Random) -> String {
    let column = one(&["n", "n", "n", "id", "f", "d", "ts", "k", "a", "nope", "r.x"], rng);
    let column = if rng.random_bool(0.6) { format!("{}.{column}", variable(rng)) } else { column.to_string() };
    if depth == 0 {
        return column;
    }
    let inner = value(depth - 1, rng);
    match rng.random_range(0..12) {
        0..4 => {
            let navigation = one(&["PREV", "NEXT", "FIRST", "LAST"], rng);
            format!("{navigation}({inner}, {})", offset(rng))
        }
        4 => format!("{}({inner})", one(&["PREV", "NEXT", "FIRST", "LAST", "FINAL LAST", "RUNNING FIRST"], rng)),
        5 => format!("{}({}({inner}), {})", one(&["PREV", "NEXT"], rng), one(&["FIRST", "LAST"], rng), offset(rng)),
        6 => format!("{}{inner})", one(&["SUM(", "COUNT(", "AVG(", "MIN(", "COUNT(DISTINCT ", "FINAL SUM("], rng)),
        7 => format!("({inner} {} {})", one(&["+", "-", "*", "/", "%", "||"], rng), value(depth - 1, rng)),
        8 => format!("NEXT({}, {inner})", value(depth - 1, rng)),
        9 => one(
            &["CLASSIFIER()", "PREV(CLASSIFIER(), 2)", "NEXT(CLASSIFIER())", "MATCH_NUMBER()", "MATCH_ROWTIME()"],
            rng,
        )
        .to_string(),
        10 => format!("CASE WHEN {inner} IS NULL THEN 1 ELSE {} END", value(depth - 1, rng)),
        _ => format!("ABS({inner})"),
    }
}

fn condition(depth: usize, rng: &mut Random) -> String {
    match rng.random_range(0..8) {
        0 if depth > 0 => format!("({} AND {})", condition(depth - 1, rng), condition(depth - 1, rng)),
        1 if depth > 0 => format!("({} OR NOT {})", condition(depth - 1, rng), condition(depth - 1, rng)),
        2 => format!("{} IS NULL", value(depth, rng)),
        3 => value(depth, rng),
        4 => format!("{} IN (SELECT id FROM t)", value(depth, rng)),
        _ => format!("{} {} {}", value(depth, rng), one(&["<", ">=", "=", "<>"], rng), value(depth, rng)),
    }
}

fn query(rng: &mut Random) -> String {
    let pattern = pattern(3, rng);
    let defines: Vec<String> = (0..rng.random_range(1..4))
        .map(|_| {
            let depth = rng.random_range(0..3);
            format!("{} AS {}", variable(rng), condition(depth, rng))
        })
        .collect();
    let measures: Vec<String> = (0..rng.random_range(1..4))
        .map(|m| {
            let depth = rng.random_range(0..3);
            format!("{} AS m{m}", value(depth, rng))
        })
        .collect();
    let rows = one(&["", "ONE ROW PER MATCH ", "ALL ROWS PER MATCH ", "ALL ROWS PER MATCH WITH UNMATCHED ROWS "], rng);
    let skip = match rng.random_range(0..4) {
        0 => String::new(),
        1 => format!("AFTER MATCH SKIP TO {} {} ", one(&["FIRST", "LAST", ""], rng), variable(rng)),
        2 => "AFTER MATCH SKIP TO NEXT ROW ".into(),
        _ => "AFTER MATCH SKIP PAST LAST ROW ".into(),
    };
    let within = one(&["", "", "", " WITHIN INTERVAL '5' SECOND", " WITHIN INTERVAL '-5' SECOND", " WITHIN 3"], rng);
    let subset = one(&["", "", "", " SUBSET X = (A, B)", " SUBSET A = (A)", " SUBSET X = ()"], rng);
    let order = one(&["ts", "ts", "ts", "ts, n DESC", "n", "ts DESC"], rng);
    format!(
        "SELECT * FROM t MATCH_RECOGNIZE ({}ORDER BY {order} MEASURES {} {rows}{skip}PATTERN ({pattern}){within}{subset} \
         DEFINE {}) AS x",
        one(&["", "PARTITION BY k "], rng),
        measures.join(", "),
        defines.join(", ")
    )
}

#[test]
fn random_patterns() {
    const COUNT: usize = 1500;
    let accepted = check_all((0..COUNT as u64).map(|seed| {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        (format!("seed {seed}"), query(&mut rng))
    }));
    assert!((COUNT / 50..COUNT * 4 / 5).contains(&accepted), "{accepted} of {COUNT} are accepted");
}

/// A query whose pattern, measure and conditions are given.
fn of(pattern: &str, measure: &str, defines: &str) -> String {
    format!(
        "SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES {measure} AS m PATTERN ({pattern}) DEFINE {defines})"
    )
}

#[test]
fn deep_and_large_patterns_are_refused() {
    let n = 20_000;
    let a = "A AS n > 1";
    let names = |between: &str| (0..n).map(|i| format!("V{i}")).collect::<Vec<_>>().join(between);
    let texts = [
        ("groups", of(&nested(n, "(", "A", ")"), "A.n", a)),
        ("groups, each repeated", of(&nested(n, "(", "A", ")*"), "A.n", a)),
        ("groups, each repeated a thousand times", of(&nested(n, "(", "A", "){1000}"), "A.n", a)),
        ("exclusions", of(&nested(n, "{- ", "A", " -}"), "A.n", a)),
        ("alternations", of(&nested(n, "(B | ", "A", ")"), "A.n", a)),
        ("empty alternations", of(&nested(n, "( | ", "A", ")"), "A.n", a)),
        ("PERMUTE", of(&nested(n, "PERMUTE(A, ", "A", ")"), "A.n", a)),
        ("quantifiers", of(&format!("A{}", "+".repeat(n)), "A.n", a)),
        ("question marks", of(&format!("A{}", "?".repeat(n)), "A.n", a)),
        ("anchors", of(&"^".repeat(n), "A.n", a)),
        ("variables", of(&names(" "), "V1.n", "V1 AS n > 1")),
        ("alternatives", of(&names(" | "), "V1.n", "V1 AS n > 1")),
        ("permuted variables", of(&format!("PERMUTE({})", names(", ")), "V1.n", "V1 AS n > 1")),
        ("optional variables", of(&names("? "), "V1.n", "V1 AS n > 1")),
        ("NEXT", of("A", &nested(n, "NEXT(", "n", ")"), a)),
        ("NEXT of LAST", of("A", &nested(n, "NEXT(LAST(", "n", "))"), a)),
        ("NEXT in a condition", of("A", "n", &format!("A AS {} > 1", nested(n, "NEXT(", "n", ", 2)")))),
        ("FINAL", of("A", &nested(n, "FINAL ", "LAST(n)", ""), a)),
        ("rows behind rows", of("A", &format!("NEXT(n{})", " + NEXT(n)".repeat(n)), a)),
        ("members of a subset", {
            let members = vec!["A"; n].join(", ");
            format!("{} SUBSET X = ({members}) DEFINE A AS X.nope > 1)", of("A", "n", "").replace(" DEFINE )", ""))
        }),
    ];
    for (about, text) in texts {
        assert_eq!(check_all([(about.to_string(), text)].into_iter()), 0, "20,000 times {about} was accepted");
    }
}

#[test]
fn far_rows_and_long_lists_do_no_harm() {
    let n = 2_000;
    let list = |of: &dyn Fn(usize) -> String, between: &str| (0..n).map(of).collect::<Vec<_>>().join(between);
    let texts = [
        ("a far row ahead", of("A B", "NEXT(n, 4294967295)", "A AS NEXT(n, 4294967295) > 1"), true),
        ("a far row before", of("A B", "PREV(n, 4294967295)", "A AS PREV(n, 4294967295) > 1"), true),
        ("a far row of the match", of("A+ B", "LAST(n, 4294967295)", "A AS LAST(A.n, 4294967295) > 1"), true),
        ("a far first row", of("A+ B", "FIRST(n, 4294967295)", "A AS FIRST(A.n, 4294967295) > 1"), true),
        ("rows too far", of("A", "NEXT(n, 4294967296)", "A AS n > 1"), false),
        ("rows of an expression", of("A", "NEXT(n, n)", "A AS n > 1"), false),
        ("negative rows", of("A", "n", "A AS NEXT(n, -1) > 1"), false),
        (
            "many measures",
            of("A", &list(&|i| format!("NEXT(n, {i}) AS m{i}"), ", ").replacen(" AS m0", "", 1), "A AS n > 1"),
            false,
        ),
        (
            "many remembered rows",
            of("A+ B", "n", &format!("B AS {}", list(&|i| format!("LAST(A.n, {i}) > 0"), " OR "))),
            false,
        ),
        ("many values", of("A", "n", &format!("A AS NEXT(n) IN ({})", list(&|i| i.to_string(), ", "))), true),
    ];
    for (about, text, accepted) in texts {
        let ok = check_all([(about.to_string(), text)].into_iter()) == 1;
        assert!(ok || !accepted, "{about} was refused");
    }
}
