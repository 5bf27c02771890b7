//! Expressions that Flink has and sqlparser lacks, called from the dialect's hooks.

use datafusion_sql::sqlparser::ast::{
    BinaryOperator, CastKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    Ident, Map, MapEntry, ObjectName, UnaryOperator, Value,
};
use datafusion_sql::sqlparser::dialect::Precedence;
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::query::{MARK_PARTITION, MARK_TABLE};
use super::types;
use super::words::{Parsed, eat, fail, is_word, need, peek};

/// What begins an expression; `None` leaves it to sqlparser.
pub(in crate::sql) fn prefix(p: &mut Parser) -> Parsed<Option<Expr>> {
    let first = &p.peek_token_ref().token;
    let second = &p.peek_nth_token_ref(1).token;
    let Token::Word(word) = first else { return Ok(None) };
    if word.quote_style.is_some() {
        return Ok(None);
    }
    let is = |name: &str| word.value.eq_ignore_ascii_case(name);
    match second {
        Token::LParen if is("CAST") => cast(p, CastKind::Cast).map(Some),
        Token::LParen if is("TRY_CAST") => cast(p, CastKind::TryCast).map(Some),
        Token::LBracket if is("MAP") => map(p).map(Some),
        Token::Word(_) | Token::LParen if is("TABLE") => table_argument(p).map(Some),
        // sqlparser would take a type here, to any depth.
        Token::Lt if ["ARRAY", "MAP", "ROW", "MULTISET", "STRUCT"].iter().any(|t| is(t)) => {
            fail(p, format!("expected an expression, found the type {}", word.value))
        }
        Token::Word(_) if is("FINAL") || is("RUNNING") => navigation(p),
        _ if is("INTERVAL") => interval(p),
        _ => Ok(None),
    }
}

/// What follows an expression; `None` leaves it to sqlparser.
pub(in crate::sql) fn infix(p: &mut Parser, left: &Expr) -> Parsed<Option<Expr>> {
    let negated = peek(p, &["NOT"]);
    let at = usize::from(negated);
    if is_word(&p.peek_nth_token_ref(at).token, "BETWEEN") {
        let kind = &p.peek_nth_token_ref(at + 1).token;
        let symmetric = is_word(kind, "SYMMETRIC");
        if symmetric || is_word(kind, "ASYMMETRIC") {
            (0..at + 2).for_each(|_| p.advance_token());
            return between(p, left, negated, symmetric).map(Some);
        }
        return Ok(None);
    }
    for (words, negated) in [(&["IS", "NOT"][..], true), (&["IS"], false)] {
        if peek(p, &[words, &["DISTINCT", "FROM"]].concat()) {
            (0..words.len() + 2).for_each(|_| p.advance_token());
            return distinct_from(p, left, negated).map(Some);
        }
        if peek(p, &[words, &["JSON"]].concat()) {
            (0..words.len() + 1).for_each(|_| p.advance_token());
            return Ok(Some(is_json(p, left, negated)));
        }
    }
    Ok(None)
}

/// `CAST(expr AS type)`, with all of Flink's types.
fn cast(p: &mut Parser, kind: CastKind) -> Parsed<Expr> {
    p.advance_token();
    p.expect_token(&Token::LParen)?;
    let expr = Box::new(p.parse_expr()?);
    need(p, &["AS"])?;
    let data_type = types::to_sqlparser(&types::data_type(p)?);
    p.expect_token(&Token::RParen)?;
    Ok(Expr::Cast { kind, expr, data_type, array: false, format: None })
}

/// `MAP['k', v, …]`
fn map(p: &mut Parser) -> Parsed<Expr> {
    p.advance_token();
    p.expect_token(&Token::LBracket)?;
    let mut entries = vec![];
    while !p.consume_token(&Token::RBracket) {
        if !entries.is_empty() {
            p.expect_token(&Token::Comma)?;
        }
        let key = Box::new(p.parse_expr()?);
        if !p.consume_token(&Token::Comma) {
            return p.expected_ref("',' and a value for the key", p.peek_token_ref());
        }
        entries.push(MapEntry { key, value: Box::new(p.parse_expr()?) });
    }
    Ok(Expr::Map(Map { entries }))
}

/// `TABLE t [PARTITION BY a | (a, b)]` or `TABLE (query)`, the argument of a table function.
fn table_argument(p: &mut Parser) -> Parsed<Expr> {
    let token = p.next_token();
    let input = if p.peek_token_ref().token == Token::LParen {
        p.advance_token();
        let query = p.parse_query()?;
        p.expect_token(&Token::RParen)?;
        Expr::Subquery(query)
    } else {
        let name = p.parse_object_name(false)?;
        Expr::CompoundIdentifier(name.0.iter().filter_map(|part| part.as_ident().cloned()).collect())
    };
    let mut args = vec![input];
    if eat(p, &["PARTITION", "BY"]) {
        let keys = if p.peek_token_ref().token == Token::LParen {
            super::words::list(p, |p| p.parse_expr())?
        } else {
            vec![p.parse_expr()?]
        };
        args.push(call(&token, MARK_PARTITION, keys));
    }
    Ok(call(&token, MARK_TABLE, args))
}

/// `FINAL LAST(a.x)` and `RUNNING LAST(a.x)` in MATCH_RECOGNIZE: a function around the navigation.
fn navigation(p: &mut Parser) -> Parsed<Option<Expr>> {
    if p.peek_nth_token_ref(2).token != Token::LParen {
        return Ok(None);
    }
    let token = p.next_token();
    let name = if is_word(&token.token, "FINAL") { "__final" } else { "__running" };
    let inner = p.parse_prefix()?;
    Ok(Some(call(&token, name, vec![inner])))
}

/// Leaves `INTERVAL '…'` to sqlparser; anything else behind INTERVAL it would take without a bound on the depth.
fn interval(p: &mut Parser) -> Parsed<Option<Expr>> {
    let signed = matches!(p.peek_nth_token_ref(1).token, Token::Minus | Token::Plus);
    let value = p.peek_nth_token_ref(1 + usize::from(signed));
    match value.token {
        Token::SingleQuotedString(_) => Ok(None),
        _ => p.expected_ref("the interval's text, such as '1' in INTERVAL '1' HOUR", value),
    }
}

fn between(p: &mut Parser, left: &Expr, negated: bool, symmetric: bool) -> Parsed<Expr> {
    let precedence = p_value(Precedence::Between);
    let low = p.parse_subexpr(precedence)?;
    need(p, &["AND"])?;
    let high = p.parse_subexpr(precedence)?;
    let range = |low: Expr, high: Expr| Expr::Between {
        expr: Box::new(left.clone()),
        negated,
        low: Box::new(low),
        high: Box::new(high),
    };
    if !symmetric {
        return Ok(range(low, high));
    }
    let op = if negated { BinaryOperator::And } else { BinaryOperator::Or };
    let swapped = Box::new(range(high.clone(), low.clone()));
    Ok(Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(range(low, high)), op, right: swapped })))
}

/// sqlparser takes everything behind FROM, with `AND …`, as the right side; only a comparison's operand belongs there.
fn distinct_from(p: &mut Parser, left: &Expr, negated: bool) -> Parsed<Expr> {
    let left = Box::new(left.clone());
    let right = Box::new(p.parse_subexpr(p_value(Precedence::Is))?);
    Ok(if negated { Expr::IsNotDistinctFrom(left, right) } else { Expr::IsDistinctFrom(left, right) })
}

/// `x IS [NOT] JSON [VALUE | OBJECT | ARRAY | SCALAR]`: a function `__is_json(x, 'VALUE')`.
fn is_json(p: &mut Parser, left: &Expr, negated: bool) -> Expr {
    let token = p.get_current_token().clone();
    let kinds = ["VALUE", "OBJECT", "ARRAY", "SCALAR"];
    let kind = kinds.into_iter().find(|kind| eat(p, &[kind])).unwrap_or("VALUE");
    let kind = Expr::Value(Value::SingleQuotedString(kind.into()).with_span(token.span));
    let test = call(&token, "__is_json", vec![left.clone(), kind]);
    if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(test) } } else { test }
}

fn p_value(precedence: Precedence) -> u8 {
    use datafusion_sql::sqlparser::dialect::Dialect;
    crate::sql::dialect::FlinkDialect::default().prec_value(precedence)
}

/// A function call that stands for grammar, named at the place of that grammar.
fn call(token: &TokenWithSpan, name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::with_span(token.span, name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}
