//! One run of the parser over one statement, and finding out where it really failed.

use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::source::Source;
use super::tokens::{decapitalized, span_at};
use super::words::{Parsed, is_word};
use crate::error::SqlError;
use crate::sql::dialect::FlinkDialect;

/// How deep queries and expressions may be nested.
const MAX_DEPTH: usize = 100;
/// How often the parser may begin an expression, for each token: more is a search without end.
const TRIES_PER_TOKEN: usize = 40;
/// How many places are tried to find the reason of a failure.
const MAX_RESTARTS: usize = 32;

/// What is to be parsed.
pub(super) struct Attempt<'a> {
    /// The statement's tokens, without its semicolon.
    pub(super) tokens: &'a [TokenWithSpan],
    /// The script.
    pub(super) source: &'a Source<'a>,
}

/// A failure: a message and the place (line, column), where the end of the text is beyond all others.
struct Failure {
    message: String,
    place: (u64, u64),
}

const END: (u64, u64) = (u64::MAX, 0);

impl Attempt<'_> {
    /// Parses all tokens.
    pub(super) fn run<T>(&self, parse: impl FnOnce(&mut Parser) -> Parsed<T>) -> Result<T, SqlError> {
        let (result, reached) = self.parse_from(0, |p| {
            let parsed = parse(p)?;
            match p.peek_token_ref().token {
                Token::EOF => Ok(parsed),
                _ => p.expected_ref("the end of the statement", p.peek_token_ref()),
            }
        });
        result.map_err(|e| self.describe(self.explain(e, reached)))
    }

    /// Parses from a token on; also tells how far it came.
    fn parse_from<T>(&self, start: usize, parse: impl FnOnce(&mut Parser) -> Parsed<T>) -> (Parsed<T>, (u64, u64)) {
        let tokens = self.tokens.get(start..).unwrap_or_default().to_vec();
        let dialect = FlinkDialect::with_budget(1_000 + tokens.len() * TRIES_PER_TOKEN);
        let mut parser = Parser::new(&dialect).with_recursion_limit(MAX_DEPTH).with_tokens_with_locations(tokens);
        let result = parse(&mut parser);
        (result, dialect.reached())
    }

    /// The failure that was met furthest into the text. When the parser had gone on beyond the place it complains of,
    /// it had backtracked: then the innermost part it had entered is parsed alone, so that there is no way back.
    fn explain(&self, error: ParserError, reached: (u64, u64)) -> Failure {
        if error == ParserError::RecursionLimitExceeded {
            return Failure { message: "the statement is nested too deeply".into(), place: reached };
        }
        let first = failure(error, reached);
        if first.place >= reached {
            return first;
        }
        let before = |t: &TokenWithSpan| (t.span.start.line, t.span.start.column) < reached;
        let entries = self.tokens.iter().enumerate().filter(|(_, t)| before(t)).map(|(at, _)| at);
        let entries: Vec<usize> = entries.filter(|at| self.enters(*at)).collect();
        for at in entries.into_iter().rev().take(MAX_RESTARTS) {
            let (result, inner) = self.parse_from(at + 1, |p| self.part(p, at));
            let Err(error) = result else { continue };
            if error == ParserError::RecursionLimitExceeded {
                continue;
            }
            let found = failure(error, inner);
            if found.place >= reached {
                return found;
            }
        }
        Failure { message: "unexpected".into(), place: reached }
    }

    /// Whether a part begins behind this token that sqlparser may backtrack out of.
    fn enters(&self, at: usize) -> bool {
        let next = self.tokens.get(at + 1).map(|t| &t.token);
        match self.tokens.get(at).map(|t| &t.token) {
            Some(Token::LParen) => next.is_some_and(|next| {
                *next == Token::LParen || ["SELECT", "WITH", "VALUES"].iter().any(|word| is_word(next, word))
            }),
            Some(Token::RArrow) => true,
            _ => false,
        }
    }

    fn part(&self, p: &mut Parser, at: usize) -> Parsed<()> {
        if self.tokens.get(at).is_some_and(|t| t.token == Token::RArrow) {
            p.parse_expr()?;
            return match p.peek_token_ref().token {
                Token::Comma | Token::RParen => Ok(()),
                _ => p.expected_ref("',' or ')'", p.peek_token_ref()),
            };
        }
        p.parse_query()?;
        p.expect_token(&Token::RParen)?;
        Ok(())
    }

    fn describe(&self, failure: Failure) -> SqlError {
        let at = |t: &&TokenWithSpan| (t.span.start.line, t.span.start.column) == failure.place;
        let token = self.tokens.iter().find(at);
        let span = match token {
            Some(token) => token.span,
            None if failure.place == END => span_at(self.tokens, self.tokens.len()),
            None => {
                let place = datafusion_sql::sqlparser::tokenizer::Location::new(failure.place.0, failure.place.1);
                Span::new(place, place)
            }
        };
        let message = match (failure.message.as_str(), token) {
            ("unexpected", Some(token)) => format!("unexpected {}", token.token),
            ("unexpected", None) => "unexpected end of the statement".to_string(),
            (message, _) => message.to_string(),
        };
        self.source.error(message, span)
    }
}

/// Takes sqlparser's message and the place in it apart.
fn failure(error: ParserError, reached: (u64, u64)) -> Failure {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        ParserError::RecursionLimitExceeded => "the statement is nested too deeply".into(),
    };
    let (message, place) = match take_place(&text) {
        Some((message, place)) => (message.to_string(), place),
        None if text.ends_with("found: EOF") => (text, END),
        None => (text, reached),
    };
    let message = message.strip_prefix("sql parser error: ").unwrap_or(&message);
    let message = match message.strip_suffix(", found: EOF") {
        Some(message) if message.starts_with("Expected: ") => format!("{message}, found the end of the statement"),
        Some(message) => message.to_string(),
        None => message.replace(", found: ", ", found "),
    };
    Failure { message: decapitalized(&message.replacen("Expected: ", "expected ", 1)), place }
}

fn take_place(text: &str) -> Option<(&str, (u64, u64))> {
    let (message, place) = text.rsplit_once(" at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    Some((message, (line.parse().ok()?, column.parse().ok()?)))
}
