//! Giving a place to what the plan room refuses.

use super::ast::Located;
use super::place::Place;
use crate::Error;

/// An error in planning a statement, with its place. A refusal names the SQL it refuses before a colon: there it points;
/// what is wrong with a table points at its name, any other at the statement.
pub(crate) fn locate_refusal(error: Error, statement: &Located) -> Error {
    let place = Place::of(statement);
    match error {
        Error::Unsupported(message) => match message.split_once(": ") {
            Some((sql, why)) => {
                let sql = as_written(sql, &statement.text);
                place.error_about(sql, format!("not supported: {sql}: {why}"))
            }
            None => place.error_at_start(format!("not supported: {message}")),
        },
        Error::Unbounded { sql, message } => {
            let sql = as_written(&sql, &statement.text);
            place.error_about(sql, format!("refused: {message}"))
        }
        Error::Execution(message) => place.error_at_start(message),
        Error::Option(message) => match message.strip_prefix("table '").and_then(|m| m.split_once('\'')) {
            Some((table, _)) => place.error_about(table, message.clone()),
            None => place.error_at_start(message),
        },
        other => other,
    }
}

/// The set operation that was written, where the planner has made another construct of it.
fn as_written<'a>(sql: &'a str, text: &str) -> &'a str {
    let upper = text.to_ascii_uppercase();
    let alternatives: &[&'static str] = match sql {
        "DISTINCT" => &["DISTINCT", "UNION"],
        "JOIN" => &["JOIN", "INTERSECT", "EXCEPT"],
        "EXCEPT" => &["EXCEPT", "INTERSECT"],
        "GROUP BY" => &["GROUP BY", "SELECT"],
        _ => &[],
    };
    alternatives.iter().find(|a| upper.contains(**a)).copied().unwrap_or(sql)
}
