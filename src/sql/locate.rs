//! Giving a place to what the plan room refuses.

use super::ast::Located;
use super::place::Place;
use crate::Error;

/// An error in planning a statement, with its place. A refusal names the SQL it refuses before a colon: there it points;
/// any other points at the statement.
pub(crate) fn locate_refusal(error: Error, statement: &Located) -> Error {
    let place = Place::of(statement);
    match error {
        Error::Unsupported(message) => match message.split_once(": ") {
            Some((sql, _)) => place.error_about(sql, format!("not supported: {message}")),
            None => place.error_at_start(format!("not supported: {message}")),
        },
        Error::Execution(message) => place.error_at_start(message),
        Error::Option(message) => place.error_at_start(message),
        other => other,
    }
}
