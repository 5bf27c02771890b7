//! The text of a script: places in it, and errors that show them.

use datafusion_sql::sqlparser::tokenizer::{Location, Span};

use super::words::position;
use crate::error::SqlError;

/// A script's text with its lines.
pub(super) struct Source<'a> {
    text: &'a str,
    /// The byte where each line begins.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, lines }
    }

    /// The text between two places; the second is the one behind it.
    pub(super) fn slice(&self, start: Location, end: Location) -> &'a str {
        self.text.get(self.offset(start)..self.offset(end)).unwrap_or_default()
    }

    fn offset(&self, at: Location) -> usize {
        let Some(rest) = self.line_start(at.line).and_then(|start| self.text.get(start..)) else {
            return self.text.len();
        };
        let column = usize::try_from(at.column.saturating_sub(1)).unwrap_or(usize::MAX);
        let within = rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at);
        self.text.len() - rest.len() + within
    }

    fn line_start(&self, line: u64) -> Option<usize> {
        let index = usize::try_from(line.checked_sub(1)?).ok()?;
        self.lines.get(index).copied()
    }

    /// A line's text without its end.
    fn line(&self, line: u64) -> &'a str {
        let rest = self.line_start(line).and_then(|start| self.text.get(start..)).unwrap_or_default();
        rest.lines().next().unwrap_or_default()
    }

    /// An error that underlines what stands at `span`, up to the end of its first line.
    pub(super) fn error(&self, message: impl Into<String>, span: Span) -> SqlError {
        let line_text = self.line(span.start.line);
        let to_end = (line_text.chars().count() as u64 + 1).saturating_sub(span.start.column);
        let wanted =
            if span.end.line == span.start.line { span.end.column.saturating_sub(span.start.column) } else { to_end };
        SqlError {
            message: message.into(),
            position: Some(position(span.start)),
            line_text: line_text.to_string(),
            length: usize::try_from(wanted.min(to_end).max(1)).unwrap_or(1),
        }
    }
}
