//! What is taken, what is refused and where, what the trees look like, and what no text may do.

mod accepted;
mod bounds;
mod refused;
mod shapes;

use super::parse_script;
use crate::Error;
use crate::error::SqlError;
use crate::sql::ast::Statement;

/// The only statement of a script.
fn one(sql: &str) -> Statement {
    match parse_script(sql) {
        Ok(mut statements) if statements.len() == 1 => statements.remove(0).statement,
        Ok(statements) => panic!("{} statements in {sql}", statements.len()),
        Err(e) => panic!("{sql}\n{e}"),
    }
}

/// The error of a script.
fn error(sql: &str) -> SqlError {
    match parse_script(sql) {
        Err(Error::Sql(e)) => *e,
        Err(other) => panic!("{sql}: {other}"),
        Ok(statements) => panic!("{sql}: taken as {statements:#?}"),
    }
}
