//! Flink's grammar that sqlparser lacks, brought into grammar that it has, token by token.
//!
//! - `LATERAL TABLE(f(x))` becomes `LATERAL f(x)`.
//! - `PATTERN (…) WITHIN INTERVAL '1' HOUR DEFINE …` becomes `PATTERN (…) DEFINE __within AS INTERVAL '1' HOUR, …`.
//! - `SUBSET x = (A, B) DEFINE …` becomes `DEFINE __subset AS ROW(x, A, B), …`.
//! - `(query) MATCH_RECOGNIZE` becomes `__query((query)) MATCH_RECOGNIZE`.
//! - `TRIM(LEADING FROM x)` becomes `TRIM(LEADING ' ' FROM x)`.
//! - `JSON_OBJECT(KEY 'k' VALUE v)` becomes `JSON_OBJECT('k' VALUE v)`.
//! - `{- A -}` in a PATTERN becomes `({- A -})`: behind a variable a brace is taken for that of a quantifier.
//! - `AFTER MATCH SKIP TO x` becomes `AFTER MATCH SKIP TO LAST x`, which is what it means.

use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::query::{MARK_QUERY, MARK_SUBSET, MARK_WITHIN};
use super::words::is_word;

/// Rewrites a statement's tokens; each keeps its place.
pub(super) fn rewrite(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut tokens = small(tokens);
    let mut at = 0;
    while at < tokens.len() {
        if words(&tokens, at, &["LATERAL", "TABLE"]) && is(&tokens, at + 2, &Token::LParen) {
            lateral_table(&mut tokens, at);
        } else if words(&tokens, at, &["MATCH_RECOGNIZE"]) && is(&tokens, at + 1, &Token::LParen) {
            match_recognize(&mut tokens, at + 1);
            if at > 0 && is(&tokens, at - 1, &Token::RParen) {
                at += matched_query(&mut tokens, at - 1);
            }
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

/// The bracket that the one at `close` closes.
fn opening(tokens: &[TokenWithSpan], close: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().take(close + 1).rev() {
        match token.token {
            Token::RParen => depth += 1,
            Token::LParen => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Makes the query that ends at `close` a table function; gives the number of tokens added.
fn matched_query(tokens: &mut Vec<TokenWithSpan>, close: usize) -> usize {
    let Some(open) = opening(tokens, close) else { return 0 };
    if !["SELECT", "WITH", "VALUES"].iter().any(|word| words(tokens, open + 1, &[word])) {
        return 0;
    }
    let (Some(first), Some(last)) = (tokens.get(open).cloned(), tokens.get(close).cloned()) else { return 0 };
    tokens.insert(close, last);
    let name = TokenWithSpan::new(Token::make_word(MARK_QUERY, None), first.span);
    tokens.splice(open..open, [name, first]);
    3
}

/// The rewritings of single words, in one pass: there may be many.
fn small(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut new = Vec::with_capacity(tokens.len());
    for (at, token) in tokens.iter().enumerate() {
        if is_word(&token.token, "KEY") && begins_entry(tokens, at) {
            continue;
        }
        if is_word(&token.token, "FROM") && behind_trim(tokens, at) {
            new.push(TokenWithSpan::new(Token::SingleQuotedString(" ".into()), token.span));
        }
        new.push(token.clone());
    }
    new
}

/// Whether the KEY that stands here is that of `(KEY 'k' VALUE …` or `, KEY 'k' VALUE …`.
fn begins_entry(tokens: &[TokenWithSpan], key: usize) -> bool {
    let before = key.checked_sub(1).is_some_and(|at| is(tokens, at, &Token::LParen) || is(tokens, at, &Token::Comma));
    let text = tokens.get(key + 1).is_some_and(|t| matches!(t.token, Token::SingleQuotedString(_)));
    before && text && words(tokens, key + 2, &["VALUE"])
}

/// Whether the FROM that stands here is that of `TRIM(LEADING FROM …`.
fn behind_trim(tokens: &[TokenWithSpan], from: usize) -> bool {
    let Some(trim) = from.checked_sub(3) else { return false };
    let side = ["LEADING", "TRAILING", "BOTH"].iter().any(|side| words(tokens, trim + 2, &[side]));
    side && words(tokens, trim, &["TRIM"]) && is(tokens, trim + 1, &Token::LParen)
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
    if let (Some(subset), Some(define)) = (top_level(tokens, "SUBSET"), top_level(tokens, "DEFINE"))
        && subset < define
    {
        move_subsets(tokens, subset, define);
    }
    if let (Some(within), Some(define)) = (top_level(tokens, "WITHIN"), top_level(tokens, "DEFINE"))
        && within < define
    {
        move_within(tokens, within, define);
    }
    if let Some(skip) = top_level(tokens, "SKIP") {
        skip_to(tokens, skip + 1);
    }
    set_exclusions_apart(tokens, open, close);
}

/// Puts brackets around `{- A -}`.
fn set_exclusions_apart(tokens: &mut Vec<TokenWithSpan>, open: usize, close: usize) {
    let is_exclusion = |rest: &[TokenWithSpan]| {
        let kinds = rest.get(..5).map(|five| [0, 1, 2, 3, 4].map(|n| &five[n].token));
        matches!(kinds, Some([Token::LBrace, Token::Minus, Token::Word(_), Token::Minus, Token::RBrace]))
    };
    let Some(all) = tokens.get(open..=close) else { return };
    let mut apart = Vec::with_capacity(all.len());
    let mut at = 0;
    while let Some(token) = all.get(at) {
        if is_exclusion(&all[at..]) {
            apart.push(TokenWithSpan::new(Token::LParen, token.span));
            apart.extend_from_slice(&all[at..at + 5]);
            apart.push(TokenWithSpan::new(Token::RParen, token.span));
            at += 5;
        } else {
            apart.push(token.clone());
            at += 1;
        }
    }
    if apart.len() > all.len() {
        tokens.splice(open..=close, apart);
    }
}

/// Makes `TO x` into `TO LAST x`.
fn skip_to(tokens: &mut Vec<TokenWithSpan>, to: usize) {
    let known = ["NEXT", "FIRST", "LAST"];
    if !words(tokens, to, &["TO"]) || known.iter().any(|word| words(tokens, to + 1, &[word])) {
        return;
    }
    if let Some(target) = tokens.get(to + 1).filter(|t| matches!(t.token, Token::Word(_))) {
        let last = TokenWithSpan::new(Token::make_keyword("LAST"), target.span);
        tokens.insert(to + 1, last);
    }
}

/// What is no list of subsets is left for the parser to complain of.
fn move_subsets(tokens: &mut Vec<TokenWithSpan>, subset: usize, define: usize) {
    let mut moved = Vec::new();
    let mut at = subset + 1;
    while at < define {
        let Some(close) = closing(tokens, at + 2).filter(|_| is(tokens, at + 1, &Token::Eq)) else { return };
        let (Some(name), Some(list)) = (tokens.get(at), tokens.get(at + 3..=close)) else { return };
        let here = |token: Token| TokenWithSpan::new(token, name.span);
        moved.extend([here(Token::make_word(MARK_SUBSET, None)), here(Token::make_keyword("AS"))]);
        moved.extend([here(Token::make_keyword("ROW")), here(Token::LParen), name.clone(), here(Token::Comma)]);
        moved.extend(list.iter().cloned());
        moved.push(here(Token::Comma));
        at = close + 1 + usize::from(is(tokens, close + 1, &Token::Comma));
    }
    tokens.splice(define + 1..define + 1, moved);
    tokens.drain(subset..define);
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
