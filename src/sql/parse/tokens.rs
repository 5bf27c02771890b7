//! A script's tokens: reading them, bounding them, and cutting them into statements.

use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace, Word};

use super::source::Source;
use super::words::is_word;
use crate::error::SqlError;
use crate::sql::dialect::FlinkDialect;
use crate::sql::hints;

/// The most bytes a script may have.
const MAX_BYTES: usize = 16 << 20;
/// The most tokens a statement may have.
const MAX_TOKENS: usize = 200_000;
/// How deep brackets may be nested.
const MAX_BRACKETS: usize = 64;
/// How many operators may follow each other without a comma or a clause between them. A chain of operators is a tree as
/// deep as the chain is long, and every walk over it recurses.
const MAX_CHAIN: usize = 500;
/// How many joins a statement may have; they make a plan as deep.
const MAX_JOINS: usize = 200;
/// How many set operations a statement may have; their tree is as deep, and its nodes are large.
const MAX_SET_OPERATIONS: usize = 64;
/// How deep queries may be nested in queries.
const MAX_QUERIES: usize = 20;

/// sqlparser reads `((SELECT …` in FROM once for each bracket, and again for each bracket around those: the most readings.
const MAX_READINGS: usize = 200;

/// The tokens of a script, without white space and comments. Hints stay.
pub(super) fn tokenize(text: &str, source: &Source) -> Result<Vec<TokenWithSpan>, SqlError> {
    if text.len() > MAX_BYTES {
        let start = Location { line: 1, column: 1 };
        let message = format!("the script has {} bytes; at most {MAX_BYTES} are taken", text.len());
        return Err(source.error(message, Span::new(start, start)));
    }
    let dialect = FlinkDialect::default();
    let all = Tokenizer::new(&dialect, text).tokenize_with_location().map_err(|e| {
        let at = e.location;
        source.error(decapitalized(&e.message), Span::new(at, at))
    })?;
    let mut tokens: Vec<TokenWithSpan> = Vec::with_capacity(all.len() / 2);
    for token in all {
        match &token.token {
            Token::Whitespace(Whitespace::MultiLineComment(comment)) if comment.starts_with('+') => {
                if tokens.last().is_some_and(|last| is_word(&last.token, "SELECT")) {
                    tokens.push(token);
                } else {
                    let hinted = hint_table(tokens.last_mut(), comment);
                    hinted.map_err(|message| source.error(message, token.span))?;
                }
            }
            Token::Whitespace(_) => {}
            Token::DoubleQuotedString(_) => {
                let message =
                    "double quotes have no meaning here: write names in `backquotes`, text in 'single quotes'";
                return Err(source.error(message, token.span));
            }
            _ => tokens.push(token),
        }
    }
    Ok(tokens)
}

/// Puts the options of a table hint to the name that it stands behind.
fn hint_table(name: Option<&mut TokenWithSpan>, hint: &str) -> Result<(), String> {
    let options = hints::table_options(hint)?;
    match name.map(|n| &mut n.token) {
        Some(Token::Word(word)) if !hints::is_hinted(&word.value) && !begins_relation(word) => {
            word.value = hints::hinted(&word.value, &options)?;
            word.keyword = Keyword::NoKeyword;
            Ok(())
        }
        _ => Err("a table hint stands right behind the table's name".into()),
    }
}

/// Whether a word is the clause before a relation and so not its name.
fn begins_relation(word: &Word) -> bool {
    word.quote_style.is_none() && matches!(word.keyword, Keyword::FROM | Keyword::JOIN | Keyword::TABLE | Keyword::INTO)
}

/// A message as it reads behind a place: its first letter small, unless it begins with a word of SQL.
pub(super) fn decapitalized(message: &str) -> String {
    let mut chars = message.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(chars).collect(),
        _ => message.to_string(),
    }
}

/// Refuses a statement whose tree would be too large or too deep to walk.
pub(super) fn check_bounds(tokens: &[TokenWithSpan], source: &Source) -> Result<(), SqlError> {
    if let Some(token) = tokens.get(MAX_TOKENS) {
        return Err(source.error(format!("the statement has more than {MAX_TOKENS} words and signs"), token.span));
    }
    check_readings(tokens, source)?;
    let mut chains = vec![0_usize];
    let (mut joins, mut set_operations) = (0, 0);
    for token in tokens {
        match step(&token.token) {
            Step::Open => chains.push(0),
            Step::Close if chains.len() > 1 => drop(chains.pop()),
            Step::Restart => chains.last_mut().into_iter().for_each(|n| *n = 0),
            Step::Operator => chains.last_mut().into_iter().for_each(|n| *n += 1),
            Step::Join => joins += 1,
            Step::SetOperation => set_operations += 1,
            Step::Close | Step::Other => {}
        }
        let refuse = |what: String| Err(source.error(what, token.span));
        if chains.len() > MAX_BRACKETS {
            return refuse(format!("brackets are nested more than {MAX_BRACKETS} deep"));
        }
        if chains.last().is_some_and(|n| *n > MAX_CHAIN) {
            return refuse(format!("the expression has more than {MAX_CHAIN} operators in a row"));
        }
        if joins > MAX_JOINS {
            return refuse(format!("the statement has more than {MAX_JOINS} joins"));
        }
        if set_operations > MAX_SET_OPERATIONS {
            return refuse(format!("the statement has more than {MAX_SET_OPERATIONS} set operations"));
        }
    }
    Ok(())
}

/// Refuses queries that are nested too deeply, or in so many brackets that they would be read again and again.
fn check_readings(tokens: &[TokenWithSpan], source: &Source) -> Result<(), SqlError> {
    // For each open bracket: how often what is in it is read, and in how many queries it is.
    let mut open = vec![(1_usize, 0_usize)];
    let mut run = 0;
    for (token, next) in tokens.iter().zip(tokens.iter().skip(1)) {
        run = if token.token == Token::LParen { run + 1 } else { 0 };
        match token.token {
            Token::LParen => {
                let query = ["SELECT", "WITH", "VALUES"].iter().any(|word| is_word(&next.token, word));
                let (readings, depth) = open.last().copied().unwrap_or((1, 0));
                let (readings, depth) =
                    if query { (readings.saturating_mul(run), depth + 1) } else { (readings, depth) };
                if readings > MAX_READINGS || depth > MAX_QUERIES {
                    return Err(source.error("queries are nested too deeply, or in too many brackets", token.span));
                }
                open.push((readings, depth));
            }
            Token::RParen if open.len() > 1 => drop(open.pop()),
            _ => {}
        }
    }
    Ok(())
}

/// What a token does to the depth of the tree.
enum Step {
    Open,
    Close,
    Restart,
    Operator,
    Join,
    SetOperation,
    Other,
}

fn step(token: &Token) -> Step {
    match token {
        Token::LParen | Token::LBracket => Step::Open,
        Token::RParen | Token::RBracket => Step::Close,
        Token::Comma | Token::SemiColon => Step::Restart,
        Token::Word(word) if word.quote_style.is_none() => word_step(&word.value),
        Token::Word(_) | Token::Number(..) | Token::SingleQuotedString(_) | Token::Whitespace(_) => Step::Other,
        _ => Step::Operator,
    }
}

fn word_step(word: &str) -> Step {
    let is = |words: &[&str]| words.iter().any(|w| word.eq_ignore_ascii_case(w));
    if is(&["UNION", "EXCEPT", "INTERSECT", "MINUS"]) {
        Step::SetOperation
    } else if is(&["JOIN", "APPLY", "PIVOT", "UNPIVOT", "LATERAL", "MATCH_RECOGNIZE"]) {
        Step::Join
    } else if is(&["AND", "OR", "NOT", "IS", "IN", "BETWEEN", "LIKE", "ILIKE", "RLIKE", "REGEXP", "SIMILAR"])
        || is(&["AT", "OVERLAPS", "MEMBER", "COLLATE"])
    {
        Step::Operator
    } else if is(&["SELECT", "FROM", "WHERE", "GROUP", "HAVING", "ORDER", "WINDOW", "ON", "WHEN", "THEN", "ELSE"]) {
        Step::Restart
    } else {
        Step::Other
    }
}

/// The place of a token, or behind the last one.
pub(super) fn span_at(tokens: &[TokenWithSpan], index: usize) -> Span {
    match (tokens.get(index), tokens.last()) {
        (Some(token), _) => token.span,
        (None, Some(last)) => Span::new(last.span.end, last.span.end),
        (None, None) => Span::empty(),
    }
}
