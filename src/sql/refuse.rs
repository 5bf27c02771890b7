//! What the grammar has and no plan exists for yet, refused by its name and place; and expressions nested too deep.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{Expr, Query, Spanned, TableFactor, TableVersion, Visit, Visitor};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::ast::{ColumnKind, Insert, Statement};
use super::place::Place;
use crate::{Error, Result};

/// How deep expressions and queries may be nested, each in itself and in the other.
pub(super) const MAX_DEPTH: usize = 1_000;

/// Looks through all of a statement's queries and expressions.
///
/// # Errors
/// The first thing that is refused, at its place.
pub(super) fn check(statement: &Statement, place: &Place<'_>) -> Result<()> {
    match statement {
        Statement::Query(query) => visit(query.as_ref(), place),
        Statement::Insert(insert) => check_insert(insert, place),
        Statement::StatementSet(inserts) => inserts.iter().try_for_each(|i| check_insert(i, place)),
        Statement::CreateView(view) => visit(view.query.as_ref(), place),
        Statement::Explain(inner) => check(inner, place),
        Statement::CreateTable(table) => {
            for column in &table.columns {
                if let ColumnKind::Computed(expr) = &column.kind {
                    visit(expr, place)?;
                }
            }
            table.watermark.as_ref().map_or(Ok(()), |w| visit(&w.expr, place))
        }
        _ => Ok(()),
    }
}

fn check_insert(insert: &Insert, place: &Place<'_>) -> Result<()> {
    let clause = match insert {
        Insert { overwrite: true, .. } => "OVERWRITE",
        Insert { partition, .. } if !partition.is_empty() => "PARTITION",
        _ => return visit(insert.query.as_ref(), place),
    };
    Err(place.error_about(clause, format!("not supported: {clause} in INSERT")))
}

fn visit(node: &impl Visit, place: &Place<'_>) -> Result<()> {
    let mut refusal = Refusal { place, depth: 0 };
    match node.visit(&mut refusal) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Refusal<'a> {
    place: &'a Place<'a>,
    depth: usize,
}

type Flow = ControlFlow<Box<Error>>;

impl Refusal<'_> {
    fn deeper(&mut self) -> Flow {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = format!("the statement is nested more than {MAX_DEPTH} deep");
            return ControlFlow::Break(Box::new(self.place.error_at_start(message)));
        }
        ControlFlow::Continue(())
    }

    fn refuse(&self, span: Span, what: &str) -> Flow {
        ControlFlow::Break(Box::new(self.place.error(span, format!("{what} is not supported yet"))))
    }
}

impl Visitor for Refusal<'_> {
    type Break = Box<Error>;

    fn pre_visit_expr(&mut self, _expr: &Expr) -> Flow {
        self.deeper()
    }

    fn post_visit_expr(&mut self, _expr: &Expr) -> Flow {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        self.deeper()?;
        if let Some(with) = query.with.as_ref().filter(|w| w.recursive) {
            return self.refuse(with.with_token.0.span, "WITH RECURSIVE");
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> Flow {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        match factor {
            TableFactor::Table { version: Some(version), .. }
                if !matches!(version, TableVersion::ForSystemTimeAsOf(_)) =>
            {
                self.refuse(factor.span(), "a table's version other than FOR SYSTEM_TIME AS OF")
            }
            TableFactor::Function { lateral: true, name, .. } => {
                self.refuse(name.span(), &format!("LATERAL TABLE({name}(…))"))
            }
            TableFactor::UNNEST { with_ordinality: true, .. } => {
                self.refuse(self.place.span_about("ORDINALITY"), "UNNEST … WITH ORDINALITY")
            }
            TableFactor::Table { sample: Some(_), .. } => self.refuse(factor.span(), "TABLESAMPLE"),
            _ => ControlFlow::Continue(()),
        }
    }
}
