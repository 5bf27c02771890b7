//! Flink SQL's lexical rules and expressions, as a dialect of sqlparser.

use std::any::TypeId;
use std::cell::Cell;

use datafusion_sql::sqlparser::ast::Expr;
use datafusion_sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Location, Token};

use super::parse::expr;

/// Flink SQL for sqlparser's tokenizer and parser.
///
/// sqlparser backtracks, and then blames the place it came back to. The hooks of a dialect are called at the beginning
/// and the end of every expression, so a dialect sees how far the parser really got: [`FlinkDialect::reached`].
/// Backtracking may also take exponential time; a budget of hook calls ends that. One value serves one statement.
#[derive(Debug)]
pub struct FlinkDialect {
    reached: Cell<(u64, u64)>,
    budget: Cell<usize>,
}

impl Default for FlinkDialect {
    fn default() -> Self {
        Self::with_budget(usize::MAX)
    }
}

impl FlinkDialect {
    /// A dialect that lets the parser begin at most so many expressions.
    pub fn with_budget(budget: usize) -> Self {
        Self { reached: Cell::new((0, 0)), budget: Cell::new(budget) }
    }

    /// The furthest place where an expression began or ended (line, column); `u64::MAX` for the end of the text.
    pub fn reached(&self) -> (u64, u64) {
        self.reached.get()
    }

    fn reach(&self, parser: &Parser) {
        let token = parser.peek_token_ref();
        let place = if token.token == Token::EOF { (u64::MAX, 0) } else { key(token.span.start) };
        self.reached.set(self.reached.get().max(place));
    }
}

/// A place as something that can be compared.
fn key(location: Location) -> (u64, u64) {
    (location.line, location.column)
}

impl Dialect for FlinkDialect {
    // sqlparser takes some of the grammar that Flink has too, such as UNNEST, for dialects it knows by type only.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn identifier_quote_style(&self, _identifier: &str) -> Option<char> {
        Some('`')
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_within_after_array_aggregation(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_left_associative_joins_without_parens(&self) -> bool {
        true
    }

    fn supports_match_recognize(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn supports_comment_optimizer_hint(&self) -> bool {
        true
    }

    fn supports_numeric_prefix(&self) -> bool {
        false
    }

    // Without a way back to "this keyword is a column", the error of the keyword's own grammar is the one reported.
    fn is_reserved_for_identifier(&self, kw: Keyword) -> bool {
        RESERVED.contains(&kw)
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        self.reach(parser);
        let Some(left) = self.budget.get().checked_sub(1) else {
            return Some(Err(ParserError::RecursionLimitExceeded));
        };
        self.budget.set(left);
        expr::prefix(parser).transpose()
    }

    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, _precedence: u8) -> Option<Result<Expr, ParserError>> {
        expr::infix(parser, expr).transpose()
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        self.reach(parser);
        let known = match &parser.peek_token_ref().token {
            Token::Word(word) => !matches!(word.keyword, Keyword::XOR | Keyword::OPERATOR | Keyword::DIV),
            Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod | Token::StringConcat => true,
            Token::Eq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq | Token::Period => true,
            _ => false,
        };
        if known { None } else { Some(Ok(self.prec_unknown())) }
    }

    fn is_table_factor_alias(&self, explicit: bool, kw: &Keyword, parser: &mut Parser) -> bool {
        // The alias itself is consumed already; what follows it is the place reached.
        self.reach(parser);
        explicit || self.is_table_alias(kw, parser)
    }
}

const RESERVED: [Keyword; 20] = [
    Keyword::ARRAY,
    Keyword::CASE,
    Keyword::CAST,
    Keyword::CEIL,
    Keyword::EXISTS,
    Keyword::EXTRACT,
    Keyword::FALSE,
    Keyword::FLOOR,
    Keyword::INTERVAL,
    Keyword::MAP,
    Keyword::NOT,
    Keyword::NULL,
    Keyword::OVERLAY,
    Keyword::POSITION,
    Keyword::STRUCT,
    Keyword::SUBSTR,
    Keyword::SUBSTRING,
    Keyword::TRIM,
    Keyword::TRUE,
    Keyword::TRY_CAST,
];
