//! Flink's grammar that sqlparser lacks, brought into grammar that it has, token by token.
//!
//! - `LATERAL TABLE(f(x))` becomes `LATERAL f(x)`.
//! - `PATTERN (…) WITHIN INTERVAL '1' HOUR DEFINE …` becomes `PATTERN (…) DEFINE __within AS INTERVAL '1' HOUR, …`.
//! - `AFTER MATCH SKIP TO x` becomes `AFTER MATCH SKIP TO LAST x`, which is what it means.

use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::query::MARK_WITHIN;
use super::words::is_word;

/// Rewrites a statement's tokens; each keeps its place.
pub(super) fn rewrite(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut at = 0;
    while at < tokens.len() {
        if words(&tokens, at, &["LATERAL", "TABLE"]) && is(&tokens, at + 2, &Token::LParen) {
            lateral_table(&mut tokens, at);
        } else if words(&tokens, at, &["MATCH_RECOGNIZE"]) && is(&tokens, at + 1, &Token::LParen) {
            match_recognize(&mut tokens, at + 1);
        }
        at += 1;
    }
    tokens
}

fn words(tokens: &[TokenWithSpan], at: usize, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(n, word)| tokens.get(at + n).is_some_and(|t| is_word(&t.token, word)))
}

fn is(tokens: &[TokenWithSpan], at: usize, token: &Token) -> bool {
    tokens.get(at).is_some_and(|t| t.token == *token)
}

/// The bracket that closes the one at `open`.
pub(super) fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn lateral_table(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    if let Some(close) = closing(tokens, at + 2) {
        tokens.remove(close);
        tokens.drain(at + 1..at + 3);
    }
}

fn match_recognize(tokens: &mut Vec<TokenWithSpan>, open: usize) {
    let Some(close) = closing(tokens, open) else { return };
    let top_level = |tokens: &[TokenWithSpan], word: &str| {
        let mut at = open + 1;
        while at < close {
            match &tokens.get(at)?.token {
                Token::LParen => at = closing(tokens, at)?,
                token if is_word(token, word) => return Some(at),
                _ => {}
            }
            at += 1;
        }
        None
    };
    if let (Some(within), Some(define)) = (top_level(tokens, "WITHIN"), top_level(tokens, "DEFINE")) {
        if within < define {
            move_within(tokens, within, define);
        }
    }
    if let Some(skip) = top_level(tokens, "SKIP") {
        let target = tokens.get(skip + 2).filter(|_| words(tokens, skip + 1, &["TO"]));
        let known = ["NEXT", "FIRST", "LAST"];
        if let Some(target) = target.filter(|t| !known.iter().any(|word| is_word(&t.token, word))) {
            if matches!(target.token, Token::Word(_)) {
                let last = TokenWithSpan::new(Token::make_keyword("LAST"), target.span);
                tokens.insert(skip + 2, last);
            }
        }
    }
}

fn move_within(tokens: &mut Vec<TokenWithSpan>, within: usize, define: usize) {
    let moved: Vec<TokenWithSpan> = tokens.splice(within..=define, []).collect();
    let (Some(first), Some(last)) = (moved.first(), moved.last()) else { return };
    let at = |token: Token| TokenWithSpan::new(token, first.span);
    let mut new = vec![last.clone(), at(Token::make_word(MARK_WITHIN, None)), at(Token::make_keyword("AS"))];
    new.extend(moved.get(1..moved.len() - 1).unwrap_or_default().iter().cloned());
    new.push(at(Token::Comma));
    tokens.splice(within..within, new);
}
