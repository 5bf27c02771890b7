//! Text to statements.
//!
//! A script is cut into tokens once; places in trees are places in the whole script. What Flink's grammar has and
//! sqlparser's lacks is brought in by three ways: statements other than queries are read here, by recursive descent
//! over sqlparser's parser; expressions through the hooks of [`FlinkDialect`](super::dialect::FlinkDialect); and the
//! rest by rewriting tokens before parsing. [`query`] says what shape each construct has afterwards.

mod attempt;
mod create;
pub(in crate::sql) mod expr;
pub mod query;
mod rewrite;
mod source;
mod statement;
#[cfg(test)]
mod tests;
mod tokens;
mod types;
mod words;

use datafusion_sql::sqlparser::ast::Expr;
use datafusion_sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use self::attempt::Attempt;
use self::source::Source;
use self::words::is_word;
use super::ast::{Insert, Located, Statement};
use crate::Result;
use crate::error::SqlError;

pub use types::to_sqlparser;

/// Reads a script: statements with `;` between them.
///
/// # Errors
/// [`Error::Sql`](crate::Error::Sql) for the first statement that cannot be read, with the furthest place that was
/// reached in it; also for statements that are too large or too deeply nested.
pub fn parse_script(text: &str) -> Result<Vec<Located>> {
    let source = Source::new(text);
    let tokens = tokens::tokenize(text, &source)?;
    let mut statements = vec![];
    let mut rest = tokens.as_slice();
    loop {
        rest = skip_semicolons(rest);
        if rest.is_empty() {
            return Ok(statements);
        }
        let (used, statement) = next_statement(rest, &source)?;
        let (mine, others) = rest.split_at(used.min(rest.len()));
        statements.push(locate(statement, mine, &source));
        rest = others;
    }
}

/// Reads one expression, such as an option's value or a test's.
///
/// # Errors
/// When the text is none.
pub fn parse_expression(text: &str) -> Result<Expr> {
    let source = Source::new(text);
    let tokens = tokens::tokenize(text, &source)?;
    Ok(Attempt { tokens: &tokens, source: &source }.run(|p| p.parse_expr())?)
}

/// An error at a place in a script, with the line that it points into.
pub fn error_at(script: &str, span: Span, message: impl Into<String>) -> SqlError {
    Source::new(script).error(message, span)
}

fn skip_semicolons(tokens: &[TokenWithSpan]) -> &[TokenWithSpan] {
    let first = tokens.iter().position(|t| t.token != Token::SemiColon).unwrap_or(tokens.len());
    tokens.split_at(first).1
}

fn locate(statement: Statement, tokens: &[TokenWithSpan], source: &Source) -> Located {
    let (start, end) = (tokens::span_at(tokens, 0).start, tokens::span_at(tokens, tokens.len()).end);
    Located { statement, text: source.slice(start, end).to_string(), start: words::position(start) }
}

/// The first statement and how many tokens it has.
fn next_statement(tokens: &[TokenWithSpan], source: &Source) -> Result<(usize, Statement), SqlError> {
    let starts = |words: &[&str]| {
        words.iter().enumerate().all(|(n, word)| tokens.get(n).is_some_and(|t| is_word(&t.token, word)))
    };
    // BEGIN STATEMENT SET has a semicolon behind it, the other forms have none.
    let forms: [(&[&str], bool); 4] = [
        (&["EXPLAIN", "STATEMENT", "SET", "BEGIN"], true),
        (&["EXPLAIN", "EXECUTE", "STATEMENT", "SET", "BEGIN"], true),
        (&["EXECUTE", "STATEMENT", "SET", "BEGIN"], false),
        (&["BEGIN", "STATEMENT", "SET"], false),
    ];
    if let Some((words, explain)) = forms.into_iter().find(|(words, _)| starts(words)) {
        let (used, inserts) = statement_set(tokens, words.len(), source)?;
        let set = Statement::StatementSet(inserts);
        return Ok((used, if explain { Statement::Explain(Box::new(set)) } else { set }));
    }
    let used = until_semicolon(tokens);
    let mine = tokens.split_at(used).0;
    let tokens = prepare(mine, source)?;
    let statement = Attempt { tokens: &tokens, source }.run(|p| statement::statement(p, source))?;
    Ok((used, statement))
}

fn until_semicolon(tokens: &[TokenWithSpan]) -> usize {
    tokens.iter().position(|t| t.token == Token::SemiColon).unwrap_or(tokens.len())
}

fn prepare(tokens: &[TokenWithSpan], source: &Source) -> Result<Vec<TokenWithSpan>, SqlError> {
    tokens::check_bounds(tokens, source)?;
    Ok(rewrite::rewrite(tokens.to_vec()))
}

/// The INSERTs from `start` up to END, and how many tokens that are.
fn statement_set(tokens: &[TokenWithSpan], start: usize, source: &Source) -> Result<(usize, Vec<Insert>), SqlError> {
    let mut inserts = vec![];
    let mut at = start;
    loop {
        let rest = tokens.split_at(at.min(tokens.len())).1;
        let rest = skip_semicolons(rest);
        at = tokens.len() - rest.len();
        let Some(first) = rest.first() else {
            let span = tokens::span_at(tokens, tokens.len());
            return Err(source.error("expected INSERT or END, found the end of the statement set", span));
        };
        if is_word(&first.token, "END") {
            return match rest.get(1) {
                Some(other) if other.token != Token::SemiColon => {
                    Err(source.error(format!("expected ';' behind END, found {}", other.token), other.span))
                }
                _ => Ok((at + 1, inserts)),
            };
        }
        let used = until_semicolon(rest);
        let mine = prepare(rest.split_at(used).0, source)?;
        inserts.push(Attempt { tokens: &mine, source }.run(statement::set_member)?);
        at += used;
    }
}
