//! MATCH_RECOGNIZE made to do harm: patterns, conditions and measures at random, deep, long, and with large numbers.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{check_all, nested};

/// Text at random: what may stand there, and in some queries what may not.
struct Text {
    rng: Xoshiro256PlusPlus,
    wild: bool,
}

impl Text {
    fn below(&mut self, n: usize) -> usize {
        self.rng.random_range(0..n)
    }

    /// Whether what stands here is to be odd.
    fn is_odd(&mut self) -> bool {
        self.wild && self.rng.random_bool(0.03)
    }

    fn one(&mut self, tame: &[&'static str], wild: &[&'static str]) -> &'static str {
        let all = if self.is_odd() { wild } else { tame };
        all[self.below(all.len())]
    }

    fn variable(&mut self) -> &'static str {
        self.one(&["A", "B"], &["C", "nope", "`a b`", "ONLY", "A.B"])
    }

    fn quantifier(&mut self) -> &'static str {
        let tame = ["*", "+", "?", "*?", "+?", "??", "{2}", "{,3}", "{2,}", "{1,4}", "{1,4}?"];
        let wild = [
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
        self.one(&tame, &wild)
    }

    fn pattern(&mut self, depth: usize) -> String {
        let many = |text: &mut Self, between: &str| {
            let parts: Vec<String> = (0..1 + text.below(3)).map(|_| text.pattern(depth - 1)).collect();
            parts.join(between)
        };
        match self.below(20) {
            0..4 if depth > 0 => many(self, " "),
            4..7 if depth > 0 => format!("({})", many(self, " | ")),
            7..11 if depth > 0 => format!("({}){}", self.pattern(depth - 1), self.quantifier()),
            11 if depth > 0 && self.wild => format!("{{- {} -}}", self.pattern(depth - 1)),
            12 if depth > 0 && self.wild => format!("PERMUTE({})", many(self, ", ")),
            13 => self
                .one(
                    &["{- A -}", "PERMUTE(A, B)", "(A | B)"],
                    &["()", "^", "$", "{- -}", "PERMUTE()", "^ A $", "|", "(A | | B)", "(A | )", "( | A)"],
                )
                .to_string(),
            14..18 => format!("{}{}", self.variable(), self.quantifier()),
            _ => self.variable().to_string(),
        }
    }

    /// A number of rows, or what is none.
    fn offset(&mut self) -> &'static str {
        let tame = ["0", "1", "2", "1000", "4294967295"];
        let wild = [
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
        self.one(&tame, &wild)
    }

    fn column(&mut self) -> String {
        let column = self.one(&["n", "n", "id"], &["f", "d", "ts", "k", "a", "nope", "r.x"]);
        if self.rng.random_bool(0.6) { format!("{}.{column}", self.variable()) } else { column.to_string() }
    }

    fn value(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.column();
        }
        // What is navigated to is a column, if all is well.
        let inner = if self.is_odd() { self.value(depth - 1) } else { self.column() };
        let navigation = self.one(&["PREV", "NEXT", "FIRST", "LAST"], &["SUM", "nope", "FINAL NEXT"]);
        match self.below(11) {
            0..3 => format!("{navigation}({inner}, {})", self.offset()),
            3 => format!("{navigation}({inner})"),
            4 => {
                let physical = self.one(&["PREV", "NEXT"], &["FIRST", "NEXT(NEXT"]);
                let logical = self.one(&["FIRST", "LAST"], &["PREV", "NEXT", "COUNT"]);
                format!("{physical}({logical}({inner}, {}), {})", self.offset(), self.offset())
            }
            5 => {
                format!("{}{inner})", self.one(&["SUM(", "COUNT(", "AVG(", "MIN("], &["COUNT(DISTINCT ", "FINAL SUM("]))
            }
            6 | 7 => {
                let operator = self.one(&["+", "-", "*"], &["/", "%", "||"]);
                format!("({} {operator} {})", self.value(depth - 1), self.value(depth - 1))
            }
            8 => self
                .one(
                    &["MATCH_NUMBER()", "NEXT(n)"],
                    &["CLASSIFIER()", "PREV(CLASSIFIER(), 2)", "NEXT(CLASSIFIER())", "NEXT(1)", "MATCH_ROWTIME()"],
                )
                .to_string(),
            9 => format!("CASE WHEN {inner} IS NULL THEN 1 ELSE {} END", self.value(depth - 1)),
            _ => format!("ABS({})", self.value(depth - 1)),
        }
    }

    fn condition(&mut self, depth: usize) -> String {
        match self.below(8) {
            0 if depth > 0 => format!("({} AND {})", self.condition(depth - 1), self.condition(depth - 1)),
            1 if depth > 0 => format!("({} OR NOT {})", self.condition(depth - 1), self.condition(depth - 1)),
            2 => format!("{} IS NULL", self.value(depth)),
            3 if self.is_odd() => self.value(depth),
            4 if self.is_odd() => format!("{} IN (SELECT id FROM t)", self.value(depth)),
            _ => {
                format!("{} {} {}", self.value(depth), self.one(&["<", ">=", "=", "<>"], &["LIKE"]), self.value(depth))
            }
        }
    }

    fn query(&mut self) -> String {
        let pattern = self.pattern(3);
        let mut defines = vec![format!("A AS {}", self.condition(1)), format!("B AS {}", self.condition(2))];
        if self.is_odd() {
            defines.push(format!("{} AS {}", self.variable(), self.condition(2)));
        }
        let measures: Vec<String> = (0..3).map(|m| format!("{} AS m{m}", self.value(m))).collect();
        let rows =
            self.one(&["", "ONE ROW PER MATCH ", "ALL ROWS PER MATCH "], &["ALL ROWS PER MATCH WITH UNMATCHED ROWS "]);
        let skip = self.one(
            &["", "AFTER MATCH SKIP TO FIRST B ", "AFTER MATCH SKIP PAST LAST ROW ", "AFTER MATCH SKIP TO NEXT ROW "],
            &["AFTER MATCH SKIP TO nope ", "AFTER MATCH SKIP TO LAST 1 "],
        );
        let within = self.one(&["", " WITHIN INTERVAL '5' SECOND"], &[" WITHIN INTERVAL '-5' SECOND", " WITHIN 3"]);
        let subset = self.one(&["", " SUBSET X = (A, B)"], &[" SUBSET A = (A)", " SUBSET X = ()"]);
        let order = self.one(&["ts", "ts, n DESC"], &["n", "ts DESC", "NEXT(ts)"]);
        format!(
            "SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY {order} MEASURES {} {rows}{skip}\
             PATTERN (A B {pattern}){within}{subset} DEFINE {}) AS x",
            measures.join(", "),
            defines.join(", ")
        )
    }
}

#[test]
fn random_patterns() {
    let accepted = |wild: bool| {
        check_all((0..700).map(|seed| {
            let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            (format!("seed {seed}, wild {wild}"), Text { rng, wild }.query())
        }))
    };
    let (tame, wild) = (accepted(false), accepted(true));
    assert!(tame > 500 && (50..500).contains(&wild), "{tame} and {wild} of 700 are accepted");
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
