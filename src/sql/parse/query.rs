//! How Flink's own query grammar looks as sqlparser's tree, and functions that read it back.
//!
//! | Flink | sqlparser |
//! | --- | --- |
//! | `TABLE(TUMBLE(…)) AS w` | [`TableFactor::TableFunction`] over [`Expr::Function`] |
//! | `TUMBLE(…) AS w` in FROM | [`TableFactor::Table`] with `args` |
//! | `TABLE t` as an argument | `__table(t)`, the name as [`Expr::CompoundIdentifier`] |
//! | `TABLE t PARTITION BY (a, b)` | `__table(t, __partition(a, b))` |
//! | `TABLE (query)` | `__table((query))`, the query as [`Expr::Subquery`] |
//! | `LATERAL TABLE(f(x)) AS t(a)` | [`TableFactor::Function`] `f` with `lateral` |
//! | `UNNEST(a) [WITH ORDINALITY] AS t(x)` | [`TableFactor::UNNEST`] |
//! | `(query) MATCH_RECOGNIZE (…)` | MATCH_RECOGNIZE over the table function `__query((query))` |
//! | `WITHIN INTERVAL '1' HOUR` | a definition of the symbol `__within`: [`within`] |
//! | `SUBSET x = (A, B)` | a definition of the symbol `__subset`: `ROW(x, A, B)` |
//! | `A+?` (reluctant) | a repetition `?` directly around the repetition `A+`; `(A+)?` has a group between |
//! | `SKIP TO x` | `SKIP TO LAST x` |
//! | `FINAL LAST(a.x)`, `RUNNING …` | `__final(LAST(a.x))`, `__running(…)` |
//! | `ROW(a, b)` | the function `ROW`; `(a, b)` is [`Expr::Tuple`] |
//! | `MAP['k', v]` | [`Expr::Map`] |
//! | `x IS JSON OBJECT` | `__is_json(x, 'OBJECT')`; `VALUE`, `ARRAY`, `SCALAR` likewise |
//! | `x BETWEEN SYMMETRIC a AND b` | `(x BETWEEN a AND b OR x BETWEEN b AND a)` |
//! | `CAST(x AS ROW<…>)` | a cast to [`DataType::Struct`](datafusion_sql::sqlparser::ast::DataType::Struct), see [`to_sqlparser`](super::to_sqlparser) |
//! | `TUMBLE(ts, INTERVAL …)` in GROUP BY | the function `TUMBLE` |
//! | `SELECT /*+ STATE_TTL(…) */` | `Select::optimizer_hints` |

use datafusion_sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, TableFactor,
};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::words::position;
use crate::error::SqlError;

/// The function that stands for `TABLE t` as an argument.
pub const MARK_TABLE: &str = "__table";
/// The function that stands for `PARTITION BY …` behind it.
pub const MARK_PARTITION: &str = "__partition";
/// The symbol whose definition stands for `WITHIN`.
pub const MARK_WITHIN: &str = "__within";
/// The symbol whose definitions stand for `SUBSET`.
pub const MARK_SUBSET: &str = "__subset";

/// The table function that stands for a query which MATCH_RECOGNIZE is applied to.
pub const MARK_QUERY: &str = "__query";

/// The window table functions of Flink.
const WINDOWS: [&str; 4] = ["TUMBLE", "HOP", "CUMULATE", "SESSION"];

/// A call of a window table function in FROM.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowCall {
    /// `TUMBLE`, `HOP`, `CUMULATE` or `SESSION`.
    pub name: &'static str,
    /// Where the call stands.
    pub span: Span,
    /// What is windowed.
    pub input: WindowInput,
    /// `PARTITION BY` (SESSION).
    pub partition_by: Vec<Expr>,
    /// The columns in DESCRIPTOR.
    pub time: Vec<Ident>,
    /// All other arguments in order: the name in upper case if there is one, and the value.
    pub args: Vec<(Option<String>, Expr)>,
}

/// What a window table function is called on.
#[derive(Debug, Clone, PartialEq)]
pub enum WindowInput {
    /// `TABLE t`.
    Table(ObjectName),
    /// `TABLE (query)` or `(query)`.
    Query(Box<Query>),
}

/// A relation as the call of a window table function; `None` for any other relation.
///
/// The arguments are only sorted here: which are missing or too many is for the planner to say.
pub fn as_window_call(relation: &TableFactor) -> Option<Result<WindowCall, SqlError>> {
    match relation {
        TableFactor::TableFunction { expr: Expr::Function(Function { name, args, .. }), .. } => match args {
            FunctionArguments::List(list) => call(name, &list.args),
            FunctionArguments::None | FunctionArguments::Subquery(_) => call(name, &[]),
        },
        TableFactor::Table { name, args: Some(args), .. } => call(name, &args.args),
        _ => None,
    }
}

fn call(name: &ObjectName, args: &[FunctionArg]) -> Option<Result<WindowCall, SqlError>> {
    let [part] = name.0.as_slice() else { return None };
    let ident = part.as_ident()?;
    let name = WINDOWS.into_iter().find(|w| w.eq_ignore_ascii_case(&ident.value))?;
    Some(read(name, ident.span, args))
}

fn read(name: &'static str, span: Span, args: &[FunctionArg]) -> Result<WindowCall, SqlError> {
    let (mut input, mut partition_by, mut time, mut rest) = (None, vec![], None, vec![]);
    for arg in args {
        let (arg_name, value) = argument(arg).ok_or_else(|| error(format!("{name} takes no such argument"), span))?;
        if let Some((table, keys)) = as_table(value) {
            partition_by = keys;
            if input.replace(table).is_some() {
                return Err(error(format!("{name} takes one table"), span));
            }
        } else if let Some(columns) = as_descriptor(value) {
            if time.replace(columns.ok_or_else(|| error("DESCRIPTOR takes names of columns", span))?).is_some() {
                return Err(error(format!("{name} takes one DESCRIPTOR"), span));
            }
        } else {
            rest.push((arg_name.map(|n| n.value.to_ascii_uppercase()), value.clone()));
        }
    }
    let input = input.ok_or_else(|| error(format!("{name} needs a table: {name}(TABLE t, …)"), span))?;
    let time = time.ok_or_else(|| error(format!("{name} needs DESCRIPTOR(time column)"), span))?;
    Ok(WindowCall { name, span, input, partition_by, time, args: rest })
}

fn argument(arg: &FunctionArg) -> Option<(Option<&Ident>, &Expr)> {
    match arg {
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(e), .. } => Some((Some(name), e)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some((None, e)),
        _ => None,
    }
}

fn as_table(expr: &Expr) -> Option<(WindowInput, Vec<Expr>)> {
    if let Expr::Subquery(query) = expr {
        return Some((WindowInput::Query(query.clone()), vec![]));
    }
    let mut args = arguments_of(expr, MARK_TABLE)?.into_iter();
    let input = match args.next()? {
        Expr::CompoundIdentifier(parts) => WindowInput::Table(ObjectName::from(parts.clone())),
        Expr::Subquery(query) => WindowInput::Query(query.clone()),
        _ => return None,
    };
    let keys = args.next().and_then(|e| arguments_of(e, MARK_PARTITION)).unwrap_or_default();
    Some((input, keys.into_iter().cloned().collect()))
}

/// The columns of `DESCRIPTOR(…)`: the outer `None` if it is none, the inner if it holds something else than columns.
fn as_descriptor(expr: &Expr) -> Option<Option<Vec<Ident>>> {
    let args = arguments_of(expr, "DESCRIPTOR")?;
    let column = |e: &&Expr| match e {
        Expr::Identifier(ident) => Some(ident.clone()),
        _ => None,
    };
    Some(args.iter().map(column).collect())
}

/// The positional arguments of a call of this function.
fn arguments_of<'a>(expr: &'a Expr, function: &str) -> Option<Vec<&'a Expr>> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr else { return None };
    let [part] = name.0.as_slice() else { return None };
    if !part.as_ident()?.value.eq_ignore_ascii_case(function) {
        return None;
    }
    list.args.iter().map(|arg| argument(arg).filter(|(name, _)| name.is_none()).map(|(_, e)| e)).collect()
}

/// `WITHIN INTERVAL …` of a MATCH_RECOGNIZE.
pub fn within(relation: &TableFactor) -> Option<&Expr> {
    let TableFactor::MatchRecognize { symbols, .. } = relation else { return None };
    symbols.iter().find(|s| s.symbol.value == MARK_WITHIN).map(|s| &s.definition)
}

/// An error with a place and without the line's text, which only the script has.
fn error(message: impl Into<String>, span: Span) -> SqlError {
    let length = span.end.column.saturating_sub(span.start.column).max(1);
    let position = (span.start.line > 0).then(|| position(span.start));
    SqlError { message: message.into(), position, line_text: String::new(), length: length as usize }
}
