//! A session: what statements change, and what queries are planned against.

use std::sync::Arc;

use datafusion_expr::LogicalPlan;
use datafusion_sql::sqlparser::ast::{ObjectName, Query};

use super::ast::{CreateTable, Insert, Located, Statement};
use super::catalog::{Catalog, CatalogTable, Relation, simple_name};
use super::functions::Functions;
use super::names::name_unnamed;
use super::place::{OrPlace, Place};
use super::planner::Planner;
use super::table;
use crate::Result;
use crate::connector::Connectors;
use crate::plan::StreamTable;

/// What a statement came to.
#[derive(Debug)]
pub enum Outcome {
    /// Something was declared or set.
    Done {
        /// What the user should know, e.g. that a setting has no meaning here.
        notes: Vec<String>,
    },
    /// An answer in rows: `SHOW`, `DESCRIBE`, `SET` without a key.
    Rows {
        /// The columns' names.
        columns: Vec<String>,
        /// The rows, one text a column.
        rows: Vec<Vec<String>>,
    },
    /// A query to run.
    Query(PlannedQuery),
    /// One insert, or those of a statement set.
    Insert(Vec<PlannedInsert>),
    /// What `EXPLAIN` is to explain: a query or inserts.
    Explain(Box<Outcome>),
}

/// A query, fully typed, not yet optimized.
#[derive(Debug, Clone)]
pub struct PlannedQuery {
    /// The plan; its columns bear the names that Flink gives them.
    pub plan: LogicalPlan,
}

/// An insert, fully typed, not yet optimized.
#[derive(Debug, Clone)]
pub struct PlannedInsert {
    /// The table that is written.
    pub table: Arc<StreamTable>,
    /// What is written: exactly the table's persisted columns (physical, and metadata that is not virtual), in order.
    pub plan: LogicalPlan,
}

/// A catalog and settings, and the connectors and functions that statements may name.
#[derive(Debug, Clone)]
pub struct Session {
    connectors: Connectors,
    catalog: Catalog,
    functions: Functions,
}

impl Session {
    /// A session without tables, with Flink's functions.
    pub fn new(connectors: Connectors) -> Self {
        Self { connectors, catalog: Catalog::default(), functions: Functions::flink() }
    }

    /// Carries out a statement, up to what has to run: queries and inserts come back as plans.
    ///
    /// # Errors
    /// [`crate::Error::Sql`] with the place.
    pub fn execute(&mut self, located: &Located) -> Result<Outcome> {
        let place = Place::of(located);
        match &located.statement {
            Statement::CreateTable(definition) => self.create_table(definition, &place),
            Statement::Query(query) => self.query(query, &place),
            Statement::Insert(insert) => Ok(Outcome::Insert(vec![self.insert(insert, &place)?])),
            _ => Err(crate::Error::Unsupported("this statement".into())),
        }
    }

    fn planner(&self) -> Planner<'_> {
        Planner::new(&self.catalog, &self.functions, "UTC")
    }

    fn create_table(&mut self, definition: &CreateTable, place: &Place<'_>) -> Result<Outcome> {
        let span = place.span_of(&definition.name);
        let name = simple_name(&definition.name).at(place, span)?.value.clone();
        if self.catalog.get(&name).is_some() {
            return match definition.if_not_exists {
                true => Ok(Outcome::Done { notes: Vec::new() }),
                false => Err(place.error(span, format!("there is a table or view '{name}' already"))),
            };
        }
        let table = Arc::new(table::resolve(definition, &name, &self.connectors, &self.planner(), place)?);
        let entry = CatalogTable { definition: Some(definition.clone()), table };
        self.catalog.put(name, Relation::Table(Arc::new(entry)));
        Ok(Outcome::Done { notes: Vec::new() })
    }

    fn query(&self, query: &Query, place: &Place<'_>) -> Result<Outcome> {
        let planner = self.planner();
        let plan = planner.query(query, place)?;
        let plan = name_unnamed(plan, query).map_err(|e| planner.explain(&e, place))?;
        Ok(Outcome::Query(PlannedQuery { plan }))
    }

    fn insert(&self, insert: &Insert, place: &Place<'_>) -> Result<PlannedInsert> {
        let table = self.table(&insert.table, place)?;
        let plan = super::insert::plan(insert, &table, &self.planner(), place)?;
        Ok(PlannedInsert { table, plan })
    }

    fn table(&self, name: &ObjectName, place: &Place<'_>) -> Result<Arc<StreamTable>> {
        let span = place.span_of(name);
        let bare = simple_name(name).at(place, span)?;
        match self.catalog.get(&bare.value) {
            Some(Relation::Table(table)) => Ok(Arc::clone(&table.table)),
            Some(Relation::View(_)) => Err(place.error(span, format!("'{}' is a view, not a table", bare.value))),
            None => Err(place.error(span, super::place::unknown("table", &bare.value, self.catalog.names()))),
        }
    }
}

#[cfg(test)]
mod tests;
