//! `CREATE TABLE` and `CREATE VIEW`.

use datafusion_sql::sqlparser::ast::Ident;
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::Token;

use super::source::Source;
use super::statement::{options, refused_object};
use super::types::data_type;
use super::words::{Parsed, eat, fail, fail_at, list, name, need, peek, text};
use crate::sql::ast::{
    ColumnDef, ColumnKind, CreateTable, CreateView, LikeClause, LikeFeature, LikeMode, Statement, WatermarkDef,
};

/// Reads `CREATE …`.
pub(super) fn create(p: &mut Parser, source: &Source) -> Parsed<Statement> {
    need(p, &["CREATE"])?;
    let token = p.peek_token();
    if eat(p, &["OR"]) {
        return fail_at(&token, "CREATE OR … is not supported; use DROP … IF EXISTS first");
    }
    let temporary = eat(p, &["TEMPORARY"]);
    let token = p.peek_token();
    if eat(p, &["TABLE"]) {
        table(p, temporary).map(|t| Statement::CreateTable(Box::new(t)))
    } else if eat(p, &["VIEW"]) {
        view(p, temporary, source).map(|v| Statement::CreateView(Box::new(v)))
    } else {
        refused_object(p, "CREATE", &token)
    }
}

fn view(p: &mut Parser, temporary: bool, source: &Source) -> Parsed<CreateView> {
    let if_not_exists = eat(p, &["IF", "NOT", "EXISTS"]);
    let view_name = p.parse_object_name(false)?;
    let columns =
        if p.peek_token_ref().token == Token::LParen { list(p, |p| name(p, "the name of a column"))? } else { vec![] };
    let comment = comment(p)?;
    need(p, &["AS"])?;
    let start = p.peek_token_ref().span.start;
    let query = p.parse_query()?;
    let text = source.slice(start, p.get_current_token().span.end).to_string();
    Ok(CreateView { name: view_name, temporary, if_not_exists, columns, comment, query, text })
}

fn comment(p: &mut Parser) -> Parsed<Option<String>> {
    if eat(p, &["COMMENT"]) { text(p, "a comment in single quotes").map(Some) } else { Ok(None) }
}

fn table(p: &mut Parser, temporary: bool) -> Parsed<CreateTable> {
    let if_not_exists = eat(p, &["IF", "NOT", "EXISTS"]);
    let mut table = CreateTable {
        name: p.parse_object_name(false)?,
        temporary,
        if_not_exists,
        columns: vec![],
        watermark: None,
        primary_key: vec![],
        comment: None,
        partitioned_by: vec![],
        options: vec![],
        like: None,
    };
    if p.peek_token_ref().token == Token::LParen && p.peek_nth_token_ref(1).token == Token::RParen {
        p.advance_token();
        p.advance_token();
    } else if p.peek_token_ref().token == Token::LParen {
        list(p, |p| element(p, &mut table))?;
    }
    clauses(p, &mut table)?;
    Ok(table)
}

fn clauses(p: &mut Parser, table: &mut CreateTable) -> Parsed<()> {
    table.comment = comment(p)?;
    if peek(p, &["DISTRIBUTED"]) {
        return fail(p, "DISTRIBUTED is not supported");
    }
    if eat(p, &["PARTITIONED", "BY"]) {
        table.partitioned_by = list(p, |p| name(p, "the name of a column"))?;
    }
    let with = eat(p, &["WITH"]);
    if with {
        table.options = options(p)?;
    }
    if eat(p, &["LIKE"]) {
        table.like = Some(like(p)?);
    }
    if peek(p, &["AS"]) {
        return fail(p, "CREATE TABLE … AS SELECT is not supported; create the table, then INSERT INTO it");
    }
    match &p.peek_token_ref().token {
        Token::EOF => Ok(()),
        _ if table.like.is_some() => p.expected_ref("the end of the statement", p.peek_token_ref()),
        _ if with => p.expected_ref("LIKE or the end of the statement", p.peek_token_ref()),
        _ => p.expected_ref("COMMENT, PARTITIONED BY, WITH or LIKE", p.peek_token_ref()),
    }
}

/// A column, a watermark or a primary key.
fn element(p: &mut Parser, table: &mut CreateTable) -> Parsed<()> {
    if peek(p, &["WATERMARK", "FOR"]) {
        return watermark(p, table);
    }
    if peek(p, &["PRIMARY", "KEY"]) {
        return table_key(p, table);
    }
    if eat(p, &["CONSTRAINT"]) {
        name(p, "the name of the constraint")?;
        return match peek(p, &["PRIMARY", "KEY"]) {
            true => table_key(p, table),
            false => p.expected_ref("PRIMARY KEY", p.peek_token_ref()),
        };
    }
    if peek(p, &["UNIQUE"]) && p.peek_nth_token_ref(1).token == Token::LParen {
        return fail(p, "UNIQUE is not supported; declare a PRIMARY KEY … NOT ENFORCED");
    }
    column(p, table)
}

fn watermark(p: &mut Parser, table: &mut CreateTable) -> Parsed<()> {
    let token = p.peek_token();
    need(p, &["WATERMARK", "FOR"])?;
    let column = name(p, "the name of the rowtime column")?;
    if p.peek_token_ref().token == Token::Period {
        return fail(p, "the rowtime column cannot be a nested field; declare a computed column of it");
    }
    need(p, &["AS"])?;
    let expr = p.parse_expr()?;
    if table.watermark.is_some() {
        return fail_at(&token, "a table has one WATERMARK");
    }
    table.watermark = Some(WatermarkDef { column, expr });
    Ok(())
}

fn table_key(p: &mut Parser, table: &mut CreateTable) -> Parsed<()> {
    let token = p.peek_token();
    need(p, &["PRIMARY", "KEY"])?;
    let columns = list(p, |p| name(p, "the name of a column"))?;
    not_enforced(p)?;
    set_key(table, columns).map_or_else(|| fail_at(&token, "a table has one PRIMARY KEY"), Ok)
}

fn not_enforced(p: &mut Parser) -> Parsed<()> {
    if eat(p, &["NOT", "ENFORCED"]) {
        return Ok(());
    }
    fail(p, "write NOT ENFORCED behind a PRIMARY KEY: a stream's keys are declared, not checked")
}

fn set_key(table: &mut CreateTable, columns: Vec<Ident>) -> Option<()> {
    let first = table.primary_key.is_empty();
    if first {
        table.primary_key = columns;
    }
    first.then_some(())
}

fn column(p: &mut Parser, table: &mut CreateTable) -> Parsed<()> {
    let column = name(p, "the name of a column")?;
    let kind = if eat(p, &["AS"]) { ColumnKind::Computed(p.parse_expr()?) } else { typed(p, &column, table)? };
    let comment = comment(p)?;
    table.columns.push(ColumnDef { name: column, kind, comment });
    match p.peek_token_ref().token {
        Token::Comma | Token::RParen => Ok(()),
        _ => p.expected_ref("',' or ')' behind the column", p.peek_token_ref()),
    }
}

/// `TYPE [NOT NULL] [PRIMARY KEY NOT ENFORCED]` or `TYPE [NOT NULL] METADATA [FROM 'key'] [VIRTUAL]`.
fn typed(p: &mut Parser, column: &Ident, table: &mut CreateTable) -> Parsed<ColumnKind> {
    let data_type = data_type(p)?;
    let mut nullable = nullable(p);
    if eat(p, &["METADATA"]) {
        let from = if eat(p, &["FROM"]) { Some(text(p, "the metadata's key in single quotes")?) } else { None };
        return Ok(ColumnKind::Metadata { data_type, nullable, from, is_virtual: eat(p, &["VIRTUAL"]) });
    }
    let token = p.peek_token();
    if peek(p, &["CONSTRAINT"]) {
        p.advance_token();
        name(p, "the name of the constraint")?;
    }
    if eat(p, &["PRIMARY", "KEY"]) {
        not_enforced(p)?;
        if set_key(table, vec![column.clone()]).is_none() {
            return fail_at(&token, "a table has one PRIMARY KEY");
        }
        nullable = false;
    } else if eat(p, &["UNIQUE"]) {
        return fail_at(&token, "UNIQUE is not supported; declare a PRIMARY KEY … NOT ENFORCED");
    } else if eat(p, &["DEFAULT"]) {
        return fail_at(&token, "DEFAULT is not part of Flink SQL");
    }
    Ok(ColumnKind::Physical { data_type, nullable })
}

/// `NOT NULL`, `NULL` or nothing.
fn nullable(p: &mut Parser) -> bool {
    if eat(p, &["NOT", "NULL"]) {
        return false;
    }
    eat(p, &["NULL"]);
    true
}

fn like(p: &mut Parser) -> Parsed<LikeClause> {
    let table = p.parse_object_name(false)?;
    let mut options = vec![];
    if p.consume_token(&Token::LParen) {
        while !p.consume_token(&Token::RParen) {
            options.push(like_option(p)?);
            p.consume_token(&Token::Comma);
        }
    }
    Ok(LikeClause { table, options })
}

fn like_option(p: &mut Parser) -> Parsed<(LikeMode, LikeFeature)> {
    let token = p.peek_token();
    let modes = [
        ("INCLUDING", LikeMode::Including),
        ("EXCLUDING", LikeMode::Excluding),
        ("OVERWRITING", LikeMode::Overwriting),
    ];
    let Some((_, mode)) = modes.into_iter().find(|(word, _)| eat(p, &[word])) else {
        return p.expected("INCLUDING, EXCLUDING, OVERWRITING or ')'", token);
    };
    let features = [
        ("ALL", LikeFeature::All),
        ("CONSTRAINTS", LikeFeature::Constraints),
        ("GENERATED", LikeFeature::Generated),
        ("METADATA", LikeFeature::Metadata),
        ("OPTIONS", LikeFeature::Options),
        ("PARTITIONS", LikeFeature::Partitions),
        ("WATERMARKS", LikeFeature::Watermarks),
        ("DISTRIBUTION", LikeFeature::Distribution),
    ];
    let token = p.peek_token();
    let Some((_, feature)) = features.into_iter().find(|(word, _)| eat(p, &[word])) else {
        return p.expected("ALL, CONSTRAINTS, GENERATED, METADATA, OPTIONS, PARTITIONS or WATERMARKS", token);
    };
    let cannot = match (mode, feature) {
        (LikeMode::Overwriting, LikeFeature::All | LikeFeature::Constraints | LikeFeature::Partitions) => true,
        (LikeMode::Overwriting, LikeFeature::Distribution) => true,
        _ => false,
    };
    if cannot {
        return fail_at(&token, "OVERWRITING is for GENERATED, METADATA, OPTIONS and WATERMARKS");
    }
    Ok((mode, feature))
}
