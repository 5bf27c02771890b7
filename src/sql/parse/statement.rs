//! Statements other than CREATE.

use datafusion_sql::sqlparser::ast::{Expr, Ident};
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::create;
use super::source::Source;
use super::words::{Parsed, eat, fail_at, list, name, need, peek, position, text};
use crate::sql::ast::{Insert, RelationKind, Show, SqlOption, Statement};

/// What a statement may begin with.
const EXPECTED: &str = "a statement (CREATE, DROP, ALTER, INSERT, SELECT, EXPLAIN, SHOW, DESCRIBE, SET, RESET, …)";

/// Reads a statement.
pub(super) fn statement(p: &mut Parser, source: &Source) -> Parsed<Statement> {
    if peek(p, &["EXPLAIN"]) {
        return explain(p, source);
    }
    let token = p.peek_token();
    let Token::Word(word) = &token.token else {
        return match token.token {
            Token::LParen => p.parse_query().map(Statement::Query),
            _ => p.expected(EXPECTED, token),
        };
    };
    match word.value.to_ascii_uppercase().as_str() {
        "CREATE" => create::create(p, source),
        "DROP" => drop_relation(p),
        "ALTER" => alter(p),
        "INSERT" => insert(p).map(|i| Statement::Insert(Box::new(i))),
        "SELECT" | "VALUES" | "WITH" | "TABLE" => p.parse_query().map(Statement::Query),
        "SHOW" => show(p),
        "DESCRIBE" | "DESC" => describe(p),
        "SET" => set(p),
        "RESET" => reset(p),
        other => refused(p, &token, other),
    }
}

/// A member of a statement set: an INSERT.
pub(super) fn set_member(p: &mut Parser) -> Parsed<Insert> {
    if peek(p, &["INSERT"]) { insert(p) } else { p.expected_ref("INSERT or END", p.peek_token_ref()) }
}

/// Statements that Flink has and that have no meaning here are refused by their names.
fn refused<T>(p: &Parser, token: &TokenWithSpan, first: &str) -> Parsed<T> {
    const NAMES: [&str; 18] = [
        "ADD", "ANALYZE", "BEGIN", "CALL", "CLEAR", "COMPILE", "DELETE", "EXECUTE", "HELP", "LOAD", "MERGE", "QUIT",
        "REMOVE", "REPLACE", "STOP", "TRUNCATE", "UNLOAD", "UPDATE",
    ];
    if first == "USE" || NAMES.contains(&first) {
        let second = match &p.peek_nth_token_ref(1).token {
            Token::Word(word) if ["ADD", "REMOVE", "LOAD", "UNLOAD", "STOP", "COMPILE", "EXECUTE"].contains(&first) => {
                format!(" {}", word.value.to_ascii_uppercase())
            }
            _ => String::new(),
        };
        return fail_at(token, format!("{first}{second} is not supported"));
    }
    p.expected_ref(EXPECTED, token)
}

fn explain(p: &mut Parser, source: &Source) -> Parsed<Statement> {
    need(p, &["EXPLAIN"])?;
    if !eat(p, &["PLAN", "FOR"]) {
        const DETAILS: [&str; 4] = ["ESTIMATED_COST", "CHANGELOG_MODE", "PLAN_ADVICE", "JSON_EXECUTION_PLAN"];
        while DETAILS.iter().any(|detail| eat(p, &[detail])) {
            p.consume_token(&Token::Comma);
        }
    }
    let token = p.peek_token();
    if peek(p, &["EXPLAIN"]) {
        return fail_at(&token, "EXPLAIN of EXPLAIN");
    }
    match statement(p, source)? {
        inner @ (Statement::Query(_) | Statement::Insert(_)) => Ok(Statement::Explain(Box::new(inner))),
        _ => fail_at(&token, "EXPLAIN takes a query, an INSERT or a statement set"),
    }
}

fn drop_relation(p: &mut Parser) -> Parsed<Statement> {
    need(p, &["DROP"])?;
    eat(p, &["TEMPORARY"]);
    let token = p.peek_token();
    let kind = if eat(p, &["TABLE"]) {
        RelationKind::Table
    } else if eat(p, &["VIEW"]) {
        RelationKind::View
    } else {
        return refused_object(p, "DROP", &token);
    };
    let if_exists = eat(p, &["IF", "EXISTS"]);
    Ok(Statement::Drop { kind, name: p.parse_object_name(false)?, if_exists })
}

/// `CREATE`, `DROP` or `ALTER` of something else than tables and views.
pub(super) fn refused_object<T>(p: &Parser, verb: &str, token: &TokenWithSpan) -> Parsed<T> {
    const OBJECTS: [&str; 9] =
        ["CATALOG", "DATABASE", "FUNCTION", "SYSTEM", "MODEL", "CONNECTION", "MATERIALIZED", "TABLE", "VIEW"];
    match &token.token {
        Token::Word(word) if OBJECTS.iter().any(|o| word.value.eq_ignore_ascii_case(o)) => {
            let object = match word.value.to_ascii_uppercase() {
                object if object == "SYSTEM" => "SYSTEM FUNCTION".to_string(),
                object if object == "MATERIALIZED" => "MATERIALIZED TABLE".to_string(),
                object => object,
            };
            fail_at(token, format!("{verb} {object} is not supported"))
        }
        _ => p.expected_ref("TABLE or VIEW", token),
    }
}

fn alter(p: &mut Parser) -> Parsed<Statement> {
    need(p, &["ALTER"])?;
    let token = p.peek_token();
    if !eat(p, &["TABLE"]) {
        return refused_object(p, "ALTER", &token);
    }
    if eat(p, &["IF", "EXISTS"]) {
        return fail_at(&token, "ALTER TABLE IF EXISTS is not supported");
    }
    let name = p.parse_object_name(false)?;
    let token = p.peek_token();
    if eat(p, &["SET"]) {
        return Ok(Statement::AlterTable { name, set: options(p)?, reset: vec![] });
    }
    if eat(p, &["RESET"]) {
        let reset = list(p, |p| text(p, "an option's key in single quotes"))?;
        return Ok(Statement::AlterTable { name, set: vec![], reset });
    }
    match &token.token {
        Token::Word(word) if ["ADD", "MODIFY", "DROP", "RENAME"].iter().any(|w| word.value.eq_ignore_ascii_case(w)) => {
            fail_at(&token, format!("ALTER TABLE … {} is not supported", word.value.to_ascii_uppercase()))
        }
        _ => p.expected("SET or RESET", token),
    }
}

/// `('key' = 'value', …)`; may be empty.
pub(super) fn options(p: &mut Parser) -> Parsed<Vec<SqlOption>> {
    if p.peek_token_ref().token == Token::LParen && p.peek_nth_token_ref(1).token == Token::RParen {
        p.advance_token();
        p.advance_token();
        return Ok(vec![]);
    }
    list(p, |p| {
        let position = position(p.peek_token_ref().span.start);
        let key = text(p, "an option's key in single quotes")?;
        p.expect_token(&Token::Eq)?;
        Ok(SqlOption { key, value: text(p, "the option's value in single quotes")?, position })
    })
}

fn insert(p: &mut Parser) -> Parsed<Insert> {
    need(p, &["INSERT"])?;
    let overwrite = eat(p, &["OVERWRITE"]);
    if overwrite {
        eat(p, &["INTO"]);
    } else if !eat(p, &["INTO"]) {
        return p.expected_ref("INTO or OVERWRITE", p.peek_token_ref());
    }
    eat(p, &["TABLE"]);
    let table = p.parse_object_name(false)?;
    let partition = if eat(p, &["PARTITION"]) { list(p, partition_value)? } else { vec![] };
    let columns = if names_follow(p) { list(p, |p| name(p, "the name of a column"))? } else { vec![] };
    if eat(p, &["PARTITION"]) {
        return fail_at(&p.get_current_token().clone(), "PARTITION stands before the list of columns");
    }
    Ok(Insert { table, columns, partition, overwrite, query: p.parse_query()? })
}

/// Whether `(` begins a list of columns and not a query.
fn names_follow(p: &Parser) -> bool {
    p.peek_token_ref().token == Token::LParen
        && !["SELECT", "VALUES", "WITH", "TABLE"]
            .iter()
            .any(|w| super::words::is_word(&p.peek_nth_token_ref(1).token, w))
        && p.peek_nth_token_ref(1).token != Token::LParen
}

fn partition_value(p: &mut Parser) -> Parsed<(Ident, Expr)> {
    let column = name(p, "the name of a partition's column")?;
    if !p.consume_token(&Token::Eq) {
        return p.expected_ref("'=' and the partition's value", p.peek_token_ref());
    }
    Ok((column, p.parse_expr()?))
}

fn show(p: &mut Parser) -> Parsed<Statement> {
    need(p, &["SHOW"])?;
    let token = p.peek_token();
    let show = if eat(p, &["TABLES"]) {
        Show::Tables
    } else if eat(p, &["VIEWS"]) {
        Show::Views
    } else if eat(p, &["FUNCTIONS"]) || eat(p, &["USER", "FUNCTIONS"]) {
        Show::Functions
    } else if eat(p, &["CREATE", "TABLE"]) {
        Show::CreateTable(p.parse_object_name(false)?)
    } else if eat(p, &["CREATE", "VIEW"]) {
        Show::CreateView(p.parse_object_name(false)?)
    } else if eat(p, &["COLUMNS"]) {
        if !eat(p, &["FROM"]) {
            need(p, &["IN"])?;
        }
        Show::Columns(p.parse_object_name(false)?)
    } else if let Token::Word(word) = &token.token {
        let what = word.value.to_ascii_uppercase();
        let known = ["CATALOGS", "DATABASES", "CURRENT", "JARS", "MODULES", "FULL", "PARTITIONS", "PROCEDURES", "JOBS"];
        if known.contains(&what.as_str()) {
            return fail_at(&token, format!("SHOW {what} is not supported"));
        }
        return p.expected("TABLES, VIEWS, FUNCTIONS, COLUMNS or CREATE behind SHOW", token);
    } else {
        return p.expected("TABLES, VIEWS, FUNCTIONS, COLUMNS or CREATE behind SHOW", token);
    };
    Ok(Statement::Show(show))
}

fn describe(p: &mut Parser) -> Parsed<Statement> {
    p.advance_token();
    let token = p.peek_token();
    for object in ["CATALOG", "DATABASE", "FUNCTION", "JOB"] {
        if peek(p, &[object]) && matches!(p.peek_nth_token_ref(1).token, Token::Word(_) | Token::SingleQuotedString(_))
        {
            return fail_at(&token, format!("DESCRIBE {object} is not supported"));
        }
    }
    eat(p, &["EXTENDED"]);
    p.parse_object_name(false).map(Statement::Describe)
}

/// `SET`, `SET 'key' = 'value'`, and unquoted as well.
fn set(p: &mut Parser) -> Parsed<Statement> {
    need(p, &["SET"])?;
    if p.peek_token_ref().token == Token::EOF {
        return Ok(Statement::Set(None));
    }
    let key = key(p)?;
    p.expect_token(&Token::Eq)?;
    let value = value(p)?;
    Ok(Statement::Set(Some((key, value))))
}

fn reset(p: &mut Parser) -> Parsed<Statement> {
    need(p, &["RESET"])?;
    if p.peek_token_ref().token == Token::EOF {
        return Ok(Statement::Reset(None));
    }
    key(p).map(|key| Statement::Reset(Some(key)))
}

/// An option's key: in quotes, or words with points and hyphens between them.
fn key(p: &mut Parser) -> Parsed<String> {
    if super::words::peek_text(p) {
        return text(p, "a key");
    }
    let mut key = String::new();
    loop {
        let token = p.next_token();
        match &token.token {
            Token::Word(word) => key.push_str(&word.value),
            _ => return p.expected("an option's key", token),
        }
        match p.peek_token_ref().token {
            Token::Period => key.push('.'),
            Token::Minus => key.push('-'),
            _ => return Ok(key),
        }
        p.advance_token();
    }
}

/// An option's value: in quotes, or everything up to the end as it is written.
fn value(p: &mut Parser) -> Parsed<String> {
    let mut value = String::new();
    let mut end = None;
    loop {
        let token = p.next_token();
        match &token.token {
            Token::EOF if end.is_none() => return p.expected("the option's value", token),
            Token::EOF => return Ok(value),
            Token::SingleQuotedString(s) if end.is_none() => value.push_str(s),
            other => {
                if end.is_some_and(|end| end != token.span.start) {
                    value.push(' ');
                }
                value.push_str(&plain(other));
            }
        }
        end = Some(token.span.end);
    }
}

fn plain(token: &Token) -> String {
    match token {
        Token::Number(digits, _) => digits.clone(),
        other => other.to_string(),
    }
}
