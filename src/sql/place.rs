//! Errors with their place in the script.

use datafusion_common::{DataFusionError, SchemaError};
use datafusion_sql::sqlparser::ast::{ObjectName, Spanned};
use datafusion_sql::sqlparser::tokenizer::{Location, Span};

use super::ast::Located;
use crate::error::{Position, SqlError};
use crate::{Error, Result};

/// A statement's text, for pointing into it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    text: &'a str,
    start: Position,
}

impl<'a> Place<'a> {
    pub(super) fn of(located: &'a Located) -> Self {
        Self { text: &located.text, start: located.start }
    }

    pub(super) fn new(text: &'a str, start: Position) -> Self {
        Self { text, start }
    }

    /// An error about the statement as a whole.
    pub(super) fn error_at_start(&self, message: impl Into<String>) -> Error {
        self.error(Span::empty(), message)
    }

    /// An error about a word of the statement.
    pub(super) fn error_about(&self, word: &str, message: impl Into<String>) -> Error {
        self.error(self.span_about(word), message)
    }

    /// Where a word stands for the first time; nowhere: the statement's own place.
    pub(super) fn span_about(&self, word: &str) -> Span {
        self.find(word).unwrap_or_else(Span::empty)
    }

    /// An error that underlines a span; one without a span underlines the statement's first word.
    pub(super) fn error(&self, span: Span, message: impl Into<String>) -> Error {
        if span.start.line == 0 {
            return self.error_at(self.start, first_word(self.text).chars().count(), message);
        }
        let position = Position { line: span.start.line, column: span.start.column };
        let length = match span.end.line == span.start.line {
            true => span.end.column.saturating_sub(span.start.column),
            false => (self.line(position).chars().count() as u64 + 1).saturating_sub(position.column),
        };
        self.error_at(position, usize::try_from(length).unwrap_or(1), message)
    }

    /// An error at a position.
    pub(super) fn error_at(&self, position: Position, length: usize, message: impl Into<String>) -> Error {
        let (message, line_text) = (message.into(), self.line(position));
        SqlError { message, position: Some(position), line_text, length: length.max(1) }.into()
    }

    /// The span of a name.
    pub(super) fn span_of(&self, name: &ObjectName) -> Span {
        name.span()
    }

    /// Where the statement begins.
    pub(super) fn start(&self) -> Position {
        self.start
    }

    /// What DataFusion says, at the place it says it, or at the name it names.
    pub(super) fn planning(&self, error: &DataFusionError, names: &[&str]) -> Error {
        let message = message_of(error, names);
        if let Some(span) = error.diagnostic().and_then(|d| d.span) {
            let at = |l: datafusion_common::Location| Location::new(l.line, l.column);
            return self.error(Span::new(at(span.start), at(span.end)), message);
        }
        let span = quoted_words(&message).find_map(|word| self.find(word)).unwrap_or_else(Span::empty);
        self.error(span, message)
    }

    /// The whole line of a position. What stands before the statement on its own first line is left blank.
    fn line(&self, position: Position) -> String {
        let nth = usize::try_from(position.line.saturating_sub(self.start.line)).unwrap_or(usize::MAX);
        let text = self.text.lines().nth(nth).unwrap_or_default();
        let indent = if nth == 0 { self.start.column.saturating_sub(1) } else { 0 };
        format!("{}{text}", " ".repeat(usize::try_from(indent).unwrap_or(0)))
    }

    /// Where a word stands for the first time, in any case.
    fn find(&self, word: &str) -> Option<Span> {
        if word.is_empty() {
            return None;
        }
        let wanted = word.to_lowercase();
        for (nth, line) in self.text.lines().enumerate() {
            let lower = line.to_lowercase();
            let hit = lower.match_indices(&wanted).find(|(at, hit)| stands_alone(&lower, *at, at + hit.len()));
            let Some((at, _)) = hit else { continue };
            let indent = if nth == 0 { self.start.column.saturating_sub(1) } else { 0 };
            let column = lower.get(..at).map_or(0, |s| s.chars().count()) as u64 + indent + 1;
            let line = self.start.line + nth as u64;
            let end = column + word.chars().count() as u64;
            return Some(Span::new(Location::new(line, column), Location::new(line, end)));
        }
        None
    }
}

fn stands_alone(line: &str, from: usize, to: usize) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let before = line.get(..from).and_then(|s| s.chars().next_back());
    let after = line.get(to..).and_then(|s| s.chars().next());
    !before.is_some_and(part) && !after.is_some_and(part)
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// The words between quotation marks in a message, outermost names last.
fn quoted_words(message: &str) -> impl Iterator<Item = &str> {
    message.split(['\'', '"', '`']).skip(1).step_by(2).flat_map(|w| {
        let last = w.rsplit('.').next().unwrap_or(w);
        [w, last]
    })
}

/// What an error says, without its trimmings.
pub(super) fn message_of(error: &DataFusionError, names: &[&str]) -> String {
    match error.find_root() {
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let valid = valid_fields.iter().map(|c| c.name.as_str());
                unknown("column", &field.name, valid.chain(names.iter().copied()))
            }
            SchemaError::AmbiguousReference { field } => {
                format!("the column '{}' is ambiguous; say which table's it is", field.name)
            }
            other => other.to_string(),
        },
        DataFusionError::NotImplemented(m) => format!("not supported: {m}"),
        DataFusionError::Plan(m) => m.clone(),
        other => other.strip_backtrace(),
    }
}

/// "unknown table 'bits'; did you mean 'bids'?"
pub(super) fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match crate::table::options::nearest(name, known) {
        Some(near) => format!("unknown {what} '{name}'; did you mean '{near}'?"),
        None => format!("unknown {what} '{name}'"),
    }
}

/// Gives errors without a place the statement's own.
pub(super) trait OrPlace<T> {
    /// Points at a span.
    fn at(self, place: &Place<'_>, span: Span) -> Result<T>;
}

impl<T> OrPlace<T> for Result<T, String> {
    fn at(self, place: &Place<'_>, span: Span) -> Result<T> {
        self.map_err(|message| place.error(span, message))
    }
}
