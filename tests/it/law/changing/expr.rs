//! Random expressions over the columns in scope.

use rand::Rng;

use super::Random;
use super::table::Kind;

/// A column that may be used.
#[derive(Debug, Clone)]
pub struct Column {
    /// As it is written in an expression.
    pub text: String,
    pub kind: Kind,
}

/// The columns in scope.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    pub columns: Vec<Column>,
    /// Columns that tell all rows apart but those that are equal in everything; none where no such columns can be ordered by.
    pub total: Option<Vec<String>>,
}

pub fn one<'a, T>(from: &'a [T], rng: &mut Random) -> &'a T {
    &from[rng.random_range(0..from.len())]
}

impl Scope {
    /// Columns of a kind.
    pub fn of(&self, kind: Kind) -> Vec<&str> {
        self.columns.iter().filter(|c| c.kind == kind).map(|c| c.text.as_str()).collect()
    }

    /// Columns that can be compared.
    pub fn plain(&self) -> Vec<&Column> {
        self.columns.iter().filter(|c| c.kind != Kind::Opaque).collect()
    }

    /// A column that can be compared, if there is one.
    pub fn column(&self, rng: &mut Random) -> Option<&Column> {
        let plain = self.plain();
        if plain.is_empty() { None } else { Some(*one(&plain, rng)) }
    }

    /// An expression of a kind.
    pub fn expr(&self, kind: Kind, rng: &mut Random) -> String {
        let columns = self.of(kind);
        if columns.is_empty() {
            return match (kind, self.of(Kind::Int).first(), self.of(Kind::Text).first()) {
                (Kind::Big, Some(int), _) if rng.random_bool(0.8) => format!("CAST({int} AS BIGINT)"),
                (Kind::Int, _, Some(text)) if rng.random_bool(0.8) => format!("CHAR_LENGTH({text})"),
                (Kind::Bool, ..) => self.condition(rng),
                _ => literal(kind, rng),
            };
        }
        let column = one(&columns, rng).to_string();
        if rng.random_bool(0.65) {
            return column;
        }
        let other = one(&columns, rng).to_string();
        let shared = match rng.random_range(0..3) {
            0 => Some(format!("COALESCE({column}, {})", literal(kind, rng))),
            1 => Some(format!("CASE WHEN {} THEN {column} ELSE {other} END", self.comparison(rng))),
            _ => None,
        };
        shared.unwrap_or_else(|| match kind {
            Kind::Int | Kind::Big => match rng.random_range(0..5) {
                0 => format!("{column} + 1"),
                1 => format!("{column} - {other}"),
                2 => format!("ABS({column})"),
                3 => format!("MOD({column}, 3)"),
                _ => format!("NULLIF({column}, 0)"),
            },
            Kind::Text => match rng.random_range(0..3) {
                0 => format!("UPPER({column})"),
                1 => format!("{column} || 'x'"),
                _ => format!("NULLIF({column}, 'a')"),
            },
            Kind::Double => format!("{column} + 1"),
            Kind::Bool => format!("NOT {column}"),
            Kind::Date => format!("{column} + INTERVAL '1' DAY"),
            Kind::Time => format!("{column} + INTERVAL '1' SECOND"),
            Kind::Decimal | Kind::Opaque => column,
        })
    }

    /// A condition.
    pub fn condition(&self, rng: &mut Random) -> String {
        match rng.random_range(0..8) {
            0 => format!("({} OR {})", self.comparison(rng), self.comparison(rng)),
            1 => format!("NOT ({})", self.comparison(rng)),
            2 => format!("({}) IS NOT TRUE", self.comparison(rng)),
            _ => self.comparison(rng),
        }
    }

    fn comparison(&self, rng: &mut Random) -> String {
        let Some(Column { text, kind }) = self.column(rng) else { return "1 = 1".into() };
        let kind = *kind;
        let operator = *one(&["=", "<>", "<", ">", "<=", ">="], rng);
        match rng.random_range(0..8) {
            0 => format!("{text} IS NULL"),
            1 => format!("{text} IS NOT NULL"),
            2 if kind == Kind::Bool => text.clone(),
            2 | 3 if self.of(kind).len() > 1 => format!("{text} {operator} {}", one(&self.of(kind), rng)),
            4 if kind != Kind::Bool => format!("{text} IN ({}, {})", literal(kind, rng), literal(kind, rng)),
            5 if kind != Kind::Bool => format!("{text} BETWEEN {} AND {}", literal(kind, rng), literal(kind, rng)),
            5 => format!("{text} IS TRUE"),
            6 if kind == Kind::Text => format!("{text} LIKE '%a%'"),
            _ => format!("{text} {operator} {}", literal(kind, rng)),
        }
    }
}

/// A value such as the tables hold.
pub fn literal(kind: Kind, rng: &mut Random) -> String {
    let n = rng.random_range(0..4);
    match kind {
        Kind::Int => n.to_string(),
        Kind::Big => format!("CAST({n} AS BIGINT)"),
        Kind::Text => one(&["'a'", "'b'", "'c'", "''"], rng).to_string(),
        Kind::Double => format!("CAST({n} AS DOUBLE) / 8"),
        Kind::Decimal => one(&["0.00", "0.25", "1.50"], rng).to_string(),
        Kind::Bool => one(&["TRUE", "FALSE"], rng).to_string(),
        Kind::Date => format!("DATE '1970-01-0{}'", n + 1),
        Kind::Time | Kind::Opaque => format!("TIMESTAMP '1970-01-01 00:00:0{}'", n / 2),
    }
}
