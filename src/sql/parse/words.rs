//! Reading words and tokens that are no keywords of sqlparser's, and errors with a place.

use datafusion_sql::sqlparser::ast::Ident;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::error::Position;

/// The result of parsing a part; the place of an error stands in its text, as sqlparser has it.
pub(super) type Parsed<T> = Result<T, ParserError>;

/// Whether a token is this word, unquoted, in any case.
pub(super) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// Whether these words come next.
pub(super) fn peek(p: &Parser, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(n, word)| is_word(&p.peek_nth_token_ref(n).token, word))
}

/// Takes these words, all or none.
pub(super) fn eat(p: &mut Parser, words: &[&str]) -> bool {
    let found = peek(p, words);
    if found {
        words.iter().for_each(|_| p.advance_token());
    }
    found
}

/// Takes these words.
pub(super) fn need(p: &mut Parser, words: &[&str]) -> Parsed<()> {
    for word in words {
        if !eat(p, &[word]) {
            return p.expected_ref(word, p.peek_token_ref());
        }
    }
    Ok(())
}

/// An error at the next token.
pub(super) fn fail<T>(p: &Parser, message: impl std::fmt::Display) -> Parsed<T> {
    fail_at(p.peek_token_ref(), message)
}

/// An error at this token.
pub(super) fn fail_at<T>(token: &TokenWithSpan, message: impl std::fmt::Display) -> Parsed<T> {
    let eof = if token.token == Token::EOF { ", found: EOF" } else { "" };
    Err(ParserError::ParserError(format!("{message}{eof}{}", token.span.start)))
}

/// A text in single quotes.
pub(super) fn text(p: &mut Parser, what: &str) -> Parsed<String> {
    let token = p.next_token();
    match token.token {
        Token::SingleQuotedString(s) | Token::UnicodeStringLiteral(s) => Ok(s),
        _ => p.expected(what, token),
    }
}

/// Whether a text in single quotes comes next.
pub(super) fn peek_text(p: &Parser) -> bool {
    matches!(p.peek_token_ref().token, Token::SingleQuotedString(_) | Token::UnicodeStringLiteral(_))
}

/// A name.
pub(super) fn name(p: &mut Parser, what: &str) -> Parsed<Ident> {
    match &p.peek_token_ref().token {
        Token::Word(_) => p.parse_identifier(),
        _ => p.expected_ref(what, p.peek_token_ref()),
    }
}

/// `(item, item, …)`
pub(super) fn list<T>(p: &mut Parser, mut item: impl FnMut(&mut Parser) -> Parsed<T>) -> Parsed<Vec<T>> {
    p.expect_token(&Token::LParen)?;
    let mut items = vec![item(p)?];
    while p.consume_token(&Token::Comma) {
        items.push(item(p)?);
    }
    if !p.consume_token(&Token::RParen) {
        return p.expected_ref("',' or ')'", p.peek_token_ref());
    }
    Ok(items)
}

/// A place as ours.
pub(super) fn position(location: Location) -> Position {
    Position { line: location.line, column: location.column }
}
