//! No text may bring the parser down.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::accepted::{QUERIES, STATEMENTS};
use super::{error, parse_script};

/// The stack of a test's thread, and of most threads: 2 MiB.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(work);
    assert!(thread.unwrap().join().is_ok());
}

#[test]
fn long_chains_and_deep_nesting_are_errors() {
    on_a_small_stack(|| {
        for n in [101, 300, 20_000] {
            let scripts = [
                format!("SELECT {}a", "a + ".repeat(n * 10)),
                format!("SELECT a{}", " IS NULL".repeat(n * 10)),
                format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n)),
                format!("SELECT {}1{}", "ARRAY[".repeat(n), "]".repeat(n)),
                format!("SELECT {}1{}", "CASE WHEN a THEN ".repeat(n * 2), " END".repeat(n * 2)),
                format!("SELECT {}1{}", "CAST(".repeat(n), " AS INT)".repeat(n)),
                format!("SELECT {}1", "- ".repeat(n * 2)),
                format!("SELECT {}1", "NOT ".repeat(n * 2)),
                format!("SELECT {}'1'", "INTERVAL ".repeat(n)),
                format!("SELECT {}a", "a.".repeat(n * 2)),
                format!("SELECT {}INT", "ARRAY<".repeat(n)),
                format!("SELECT CAST(a AS {}INT{})", "ARRAY<".repeat(n), ">".repeat(n)),
                format!("CREATE TABLE t (a INT{})", " ARRAY".repeat(n)),
                format!("{}SELECT 1{}", "SELECT * FROM (".repeat(n), ")".repeat(n)),
                format!("SELECT * FROM {}t{}", "(".repeat(n), ")".repeat(n)),
                format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(n * 10)),
                format!("SELECT * FROM t{}", " CROSS JOIN t".repeat(n * 10)),
                format!("SELECT * FROM t MATCH_RECOGNIZE (PATTERN (A{}) DEFINE A AS a)", " | A".repeat(n * 10)),
                format!("SELECT * FROM t MATCH_RECOGNIZE (PATTERN (A{}) DEFINE A AS a)", "+?".repeat(n * 10)),
                format!("{}SELECT 1", "EXPLAIN ".repeat(n)),
            ];
            for sql in scripts {
                let e = error(&sql);
                assert!(e.position.is_some(), "{}", e.message);
            }
        }
    });
}

#[test]
fn what_is_within_the_bounds_is_taken() {
    on_a_small_stack(|| {
        let scripts = [
            format!("SELECT {}a", "a + ".repeat(500)),
            format!("SELECT {}a", "a AND ".repeat(500)),
            format!("SELECT {}1{}", "(".repeat(40), ")".repeat(40)),
            format!("SELECT {}1{}", "f(a, ".repeat(40), ")".repeat(40)),
            format!("SELECT {}1{}", "CASE WHEN a THEN ".repeat(40), " END".repeat(40)),
            format!("{}SELECT 1{}", "SELECT * FROM (".repeat(20), ")".repeat(20)),
            format!("{}SELECT 1{}{}", "SELECT * FROM (".repeat(20), " UNION ALL SELECT 1".repeat(64), ")".repeat(20)),
            format!("SELECT CAST(a AS {}INT{})", "ARRAY<".repeat(31), ">".repeat(31)),
            format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(64)),
            format!("SELECT a IN (1{})", ", 1".repeat(50_000)),
            format!("VALUES (1, 'a'){}", ", (2, 'b')".repeat(10_000)),
        ];
        for sql in scripts {
            let head: String = sql.chars().take(60).collect();
            match parse_script(&sql) {
                Ok(statements) => assert_eq!(statements, statements.clone(), "{head}"),
                Err(e) => panic!("{head}: {}", e.to_string().chars().take(200).collect::<String>()),
            }
        }
    });
}

#[test]
fn backtracking_ends() {
    on_a_small_stack(|| {
        for (open, close) in [
            ("(((SELECT * FROM ", ")))"),
            ("CAST(", ")"),
            ("CASE WHEN ", " END"),
            ("CEIL(", ")"),
            ("f(x => ", ")"),
            ("a.f(", ")"),
            ("SELECT * FROM (", ")"),
        ] {
            for n in [5, 20, 60] {
                for head in ["SELECT ", "SELECT * FROM ", ""] {
                    let _ = parse_script(&format!("{head}{} + , {}", open.repeat(n), close.repeat(n)));
                }
            }
        }
    });
}

#[test]
fn time_grows_with_the_text_only() {
    let scripts = [
        "SET;".repeat(100_000),
        format!("SELECT {}1", "LATERAL TABLE(".repeat(40_000)),
        format!("SELECT {}1", "MATCH_RECOGNIZE (".repeat(40_000)),
        format!("SELECT f(a{})", ", KEY 'a' VALUE 1".repeat(20_000)),
        format!("SELECT f(a{})", ", TRIM(BOTH FROM a)".repeat(20_000)),
        format!("SELECT f(a{}", ", b => 1".repeat(20_000)),
        format!("SELECT a IN ({}", "(SELECT 1), ".repeat(20_000)),
    ];
    for sql in scripts {
        let _ = parse_script(&sql);
    }
}

#[test]
fn random_bytes_do_no_harm() {
    let seed = 0x5eed_0001;
    println!("seed {seed}");
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    for _ in 0..1_000 {
        let length = random.random_range(0..200);
        let bytes: Vec<u8> = (0..length).map(|_| random.random()).collect();
        let _ = parse_script(&String::from_utf8_lossy(&bytes));
        let printable: String = bytes.iter().map(|b| char::from(b' ' + b % 95)).collect();
        let _ = parse_script(&printable);
    }
}

#[test]
fn mutations_of_valid_sql_do_no_harm() {
    let seed = 0x5eed_0002;
    println!("seed {seed}");
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let all: Vec<&str> = QUERIES.iter().chain(STATEMENTS).copied().collect();
    for _ in 0..1_000 {
        let sql = all[random.random_range(0..all.len())];
        let mut words: Vec<&str> = sql.split_inclusive([' ', '(', ')', ',', '\'', '.']).collect();
        for _ in 0..random.random_range(1..4) {
            let (a, b) = (random.random_range(0..words.len()), random.random_range(0..words.len()));
            match random.random_range(0..4) {
                0 if words.len() > 1 => drop(words.remove(a)),
                1 => words.swap(a, b),
                2 => words.insert(a, words[b]),
                _ => words.insert(a, ["(", ")", "'", "`", "SELECT ", ";", "<", "\u{e9}", "/*", "0"][b % 10]),
            }
        }
        let mutated = words.concat();
        if let Err(crate::Error::Sql(e)) = parse_script(&mutated) {
            assert!(e.position.is_some_and(|p| p.line >= 1 && p.column >= 1), "seed {seed}: {mutated}\n{e}");
            assert!(e.length >= 1, "seed {seed}: {mutated}");
        }
    }
}
