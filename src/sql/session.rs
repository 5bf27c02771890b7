//! A session: what statements change, and what queries are planned against.

use std::sync::Arc;

use datafusion_expr::{AggregateUDF, LogicalPlan, ScalarUDF, WindowUDF};
use datafusion_sql::sqlparser::ast::{ObjectName, Query};

use super::ast::{CreateTable, CreateView, Insert, Located, RelationKind, SqlOption, Statement};
use super::catalog::{Catalog, CatalogTable, Relation, simple_name};
use super::functions::Functions;
use super::names::name_unnamed;
use super::place::{OrPlace, Place, unknown};
use super::planner::Planner;
use super::settings::{Settings, is_confidential};
use super::stack::with_large_stack;
use super::statements::Statements;
use super::{describe, hints, insert, like, refuse, table};
use crate::Result;
use crate::change::StepClock;
use crate::connector::Connectors;
use crate::plan::{StateTtls, StreamTable};

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

impl Outcome {
    fn done() -> Self {
        Outcome::Done { notes: Vec::new() }
    }
}

/// A query, fully typed, not yet optimized.
#[derive(Debug, Clone)]
pub struct PlannedQuery {
    /// The plan; its columns bear the names that Flink gives them.
    pub plan: LogicalPlan,
    /// What its `STATE_TTL` hints say.
    pub state_ttls: StateTtls,
}

/// An insert, fully typed, not yet optimized.
#[derive(Debug, Clone)]
pub struct PlannedInsert {
    /// The table that is written.
    pub table: Arc<StreamTable>,
    /// What is written: exactly the table's persisted columns (physical, and metadata that is not virtual), in order.
    pub plan: LogicalPlan,
    /// What its `STATE_TTL` hints say.
    pub state_ttls: StateTtls,
}

/// A catalog and settings, and the connectors and functions that statements may name.
#[derive(Debug, Clone)]
pub struct Session {
    connectors: Connectors,
    catalog: Catalog,
    functions: Functions,
    /// The program's own functions, in the order they came.
    registered: Vec<Registered>,
    settings: Settings,
    statements: Statements,
}

/// A function that the program added.
#[derive(Debug, Clone)]
enum Registered {
    Scalar(Arc<ScalarUDF>),
    Aggregate(Arc<AggregateUDF>),
    Window(Arc<WindowUDF>),
}

impl Registered {
    fn add_to(&self, functions: &mut Functions) {
        match self {
            Registered::Scalar(f) => functions.register_scalar(Arc::clone(f)),
            Registered::Aggregate(f) => functions.register_aggregate(Arc::clone(f)),
            Registered::Window(f) => functions.register_window(Arc::clone(f)),
        }
    }
}

impl Session {
    /// A session without tables, with Flink's functions.
    pub fn new(connectors: Connectors) -> Self {
        Self {
            connectors,
            catalog: Catalog::default(),
            functions: Functions::flink(),
            registered: Vec::new(),
            settings: Settings::default(),
            statements: Statements::default(),
        }
    }

    /// A session with the connectors, functions and tables that the program added to this one, and with nothing that was declared or set.
    pub fn anew(&self) -> Self {
        let mut session = Self::new(self.connectors.clone());
        self.registered.iter().for_each(|f| f.add_to(&mut session.functions));
        session.registered.clone_from(&self.registered);
        for (name, relation) in self.catalog.iter() {
            if let Relation::Table(table) = relation
                && table.definition.is_none()
            {
                session.catalog.put(name.to_string(), relation.clone());
            }
        }
        session
    }

    /// What was declared and set so far, as statements.
    pub fn statements(&self) -> &Statements {
        &self.statements
    }

    /// The functions that queries can call, and the clock they read.
    pub fn functions(&self) -> &Functions {
        &self.functions
    }

    /// Adds a scalar function; one of the same name gives way.
    pub fn register_scalar(&mut self, function: impl Into<Arc<ScalarUDF>>) {
        self.register(Registered::Scalar(function.into()));
    }

    /// Adds an aggregate function; one of the same name gives way.
    pub fn register_aggregate(&mut self, function: impl Into<Arc<AggregateUDF>>) {
        self.register(Registered::Aggregate(function.into()));
    }

    /// Adds a window function; one of the same name gives way.
    pub fn register_window(&mut self, function: impl Into<Arc<WindowUDF>>) {
        self.register(Registered::Window(function.into()));
    }

    fn register(&mut self, function: Registered) {
        function.add_to(&mut self.functions);
        self.registered.push(function);
    }

    /// The connectors that tables can name, to add to.
    pub fn connectors_mut(&mut self) -> &mut Connectors {
        &mut self.connectors
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Adds a table that no DDL declares; one of the same name is replaced.
    pub fn register_table(&mut self, table: StreamTable) {
        let name = table.descriptor.name.clone();
        self.catalog.put(name, Relation::Table(Arc::new(CatalogTable { definition: None, table: Arc::new(table) })));
    }

    /// A table by its name.
    pub fn table(&self, name: &str) -> Option<Arc<StreamTable>> {
        match self.catalog.get(name)? {
            Relation::Table(table) => Some(Arc::clone(&table.table)),
            Relation::View(_) => None,
        }
    }

    /// Sets a setting, as `SET` does. Gives a note where it will have no effect.
    ///
    /// # Errors
    /// [`crate::Error::Option`] when the value does not fit the key.
    pub fn set(&mut self, key: &str, value: &str) -> Result<Option<String>> {
        let zone = self.settings.time_zone();
        let note = self.settings.set(key, value).map_err(crate::Error::Option)?;
        self.follow_zone(&zone)?;
        if !is_confidential(key) {
            self.statements.set(key, value);
        }
        Ok(note)
    }

    /// Carries out a statement, up to what has to run: queries and inserts come back as plans.
    ///
    /// # Errors
    /// [`crate::Error::Sql`] with the place. The session is then as it was before.
    pub fn execute(&mut self, located: &Located) -> Result<Outcome> {
        with_large_stack(|| {
            let place = Place::of(located);
            refuse::check(&located.statement, &place)?;
            let outcome = self.statement(&located.statement, &place)?;
            let is_confidential = matches!(&located.statement, Statement::Set(Some((key, _))) if is_confidential(key));
            if matches!(outcome, Outcome::Done { .. }) && !is_confidential {
                self.statements.add(&located.text);
            }
            Ok(outcome)
        })
    }

    fn statement(&mut self, statement: &Statement, place: &Place<'_>) -> Result<Outcome> {
        match statement {
            Statement::CreateTable(definition) => self.create_table(definition, place),
            Statement::CreateView(view) => self.create_view(view, place),
            Statement::Drop { kind, name, if_exists } => self.drop(*kind, name, *if_exists, place),
            Statement::AlterTable { name, set, reset } => self.alter_table(name, set, reset, place),
            Statement::Insert(insert) => Ok(Outcome::Insert(vec![self.insert(insert, place)?])),
            Statement::StatementSet(inserts) => {
                let planned: Result<Vec<_>> = inserts.iter().map(|i| self.insert(i, place)).collect();
                planned.map(Outcome::Insert)
            }
            Statement::Query(query) => self.query(query, place),
            Statement::Explain(inner) => match inner.as_ref() {
                Statement::Query(_) | Statement::Insert(_) | Statement::StatementSet(_) => {
                    Ok(Outcome::Explain(Box::new(self.statement(inner, place)?)))
                }
                _ => Err(place.error_at_start("only queries and inserts can be explained")),
            },
            Statement::Show(show) => describe::show(show, &self.catalog, &self.functions, &self.planner(), place),
            Statement::Describe(name) => describe::describe(name, &self.catalog, &self.planner(), place),
            Statement::Set(None) => Ok(self.all_settings()),
            Statement::Set(Some((key, value))) => {
                let zone = self.settings.time_zone();
                let note = self.settings.set(key, value).map_err(|message| place.error_about(key, message))?;
                self.follow_zone(&zone)?;
                Ok(Outcome::Done { notes: note.into_iter().collect() })
            }
            Statement::Reset(key) => {
                let zone = self.settings.time_zone();
                let note = self.settings.reset(key.as_deref());
                self.follow_zone(&zone)?;
                Ok(Outcome::Done { notes: note.into_iter().collect() })
            }
        }
    }

    fn planner(&self) -> Planner<'_> {
        Planner::new(&self.catalog, &self.functions, &self.connectors, self.settings.time_zone())
    }

    fn create_table(&mut self, definition: &CreateTable, place: &Place<'_>) -> Result<Outcome> {
        let Some(name) = self.free_name(&definition.name, definition.if_not_exists, place)? else {
            return Ok(Outcome::done());
        };
        let merged = match &definition.like {
            None => definition.clone(),
            Some(clause) => like::merge(definition, clause, self.definition(&clause.table, place)?, place)?,
        };
        self.put_table(name, merged, place)?;
        Ok(Outcome::done())
    }

    fn put_table(&mut self, name: String, definition: CreateTable, place: &Place<'_>) -> Result<()> {
        let table = table::resolve(&definition, &name, &self.connectors, &self.planner(), place)?;
        let entry = CatalogTable { definition: Some(definition), table: Arc::new(table) };
        self.catalog.put(name, Relation::Table(Arc::new(entry)));
        Ok(())
    }

    fn create_view(&mut self, view: &CreateView, place: &Place<'_>) -> Result<Outcome> {
        let Some(name) = self.free_name(&view.name, view.if_not_exists, place)? else { return Ok(Outcome::done()) };
        let planner = self.planner();
        let plan = planner.view(view).and_then(|plan| planner.analyze(plan));
        plan.map_err(|e| planner.explain(&e, place))?;
        self.catalog.put(name, Relation::View(Arc::new(view.clone())));
        Ok(Outcome::done())
    }

    /// The name for something new; `None` when it is taken and that is no error.
    fn free_name(&self, name: &ObjectName, if_not_exists: bool, place: &Place<'_>) -> Result<Option<String>> {
        let span = place.span_of(name);
        let bare = simple_name(name).at(place, span)?.value.clone();
        match self.catalog.get(&bare) {
            None => Ok(Some(bare)),
            Some(_) if if_not_exists => Ok(None),
            Some(taken) => Err(place.error(span, format!("there is a {} '{bare}' already", taken.kind()))),
        }
    }

    fn drop(&mut self, kind: RelationKind, name: &ObjectName, if_exists: bool, place: &Place<'_>) -> Result<Outcome> {
        let span = place.span_of(name);
        let bare = simple_name(name).at(place, span)?.value.clone();
        let wanted = if kind == RelationKind::Table { "table" } else { "view" };
        match self.catalog.get(&bare) {
            Some(found) if found.kind() == wanted => self.catalog.remove(&bare),
            Some(found) => return Err(place.error(span, format!("'{bare}' is a {}, not a {wanted}", found.kind()))),
            None if if_exists => {}
            None => return Err(place.error(span, unknown(wanted, &bare, self.catalog.names()))),
        }
        Ok(Outcome::done())
    }

    fn alter_table(
        &mut self,
        name: &ObjectName,
        set: &[SqlOption],
        reset: &[String],
        place: &Place<'_>,
    ) -> Result<Outcome> {
        let mut definition = self.definition(name, place)?.clone();
        if let Some(key) = reset.iter().find(|k| *k == "connector") {
            return Err(place.error_about(key, "'connector' cannot be reset"));
        }
        definition.options.retain(|o| !reset.contains(&o.key) && !set.iter().any(|s| s.key == o.key));
        definition.options.extend(set.iter().cloned());
        let bare = simple_name(name).at(place, place.span_of(name))?.value.clone();
        self.put_table(bare, definition, place)?;
        Ok(Outcome::done())
    }

    fn query(&self, query: &Query, place: &Place<'_>) -> Result<Outcome> {
        let planner = self.planner();
        let plan = planner.query(query, place)?;
        let plan = name_unnamed(plan, query).map_err(|e| planner.explain(&e, place))?;
        Ok(Outcome::Query(PlannedQuery { plan, state_ttls: planner.state_ttls() }))
    }

    fn insert(&self, insert: &Insert, place: &Place<'_>) -> Result<PlannedInsert> {
        let (table, options) = self.existing_with_options(&insert.table, place)?;
        let planner = self.planner();
        let table = match options.is_empty() {
            true => Arc::clone(&table.table),
            false => planner.with_options(table, &options).at(place, place.span_of(&insert.table))?,
        };
        let plan = insert::plan(insert, &table, &planner, place)?;
        Ok(PlannedInsert { table, plan, state_ttls: planner.state_ttls() })
    }

    fn existing(&self, name: &ObjectName, place: &Place<'_>) -> Result<&CatalogTable> {
        self.existing_with_options(name, place).map(|(table, _)| table)
    }

    /// A table, and the options of the hint behind its name.
    fn existing_with_options<'n>(
        &self,
        name: &'n ObjectName,
        place: &Place<'_>,
    ) -> Result<(&CatalogTable, Vec<(&'n str, &'n str)>)> {
        let span = place.span_of(name);
        let (bare, options) = hints::split(&simple_name(name).at(place, span)?.value);
        match self.catalog.get(bare) {
            Some(Relation::Table(table)) => Ok((table, options)),
            Some(Relation::View(_)) => Err(place.error(span, format!("'{bare}' is a view, not a table"))),
            None => Err(place.error(span, unknown("table", bare, self.catalog.names()))),
        }
    }

    fn definition(&self, name: &ObjectName, place: &Place<'_>) -> Result<&CreateTable> {
        self.existing(name, place)?.definition.as_ref().ok_or_else(|| {
            place.error(place.span_of(name), format!("'{name}' was registered by the program, not declared in SQL"))
        })
    }

    fn all_settings(&self) -> Outcome {
        Outcome::Rows {
            columns: vec!["key".into(), "value".into()],
            rows: self.settings.iter().map(|(k, v)| vec![k.into(), v.into()]).collect(),
        }
    }

    /// Makes functions and tables anew when the session's zone is no longer `before`: TIMESTAMP_LTZ columns carry it.
    fn follow_zone(&mut self, before: &str) -> Result<()> {
        if *self.settings.time_zone() == *before {
            return Ok(());
        }
        self.rebuild(self.functions.clock().clone())
    }

    /// Gives what is planned from now on a step clock of its own: jobs that run side by side do not share their steps' times.
    ///
    /// # Errors
    /// None that the declarations did not have when they were made.
    pub fn renew_clock(&mut self) -> Result<()> {
        self.rebuild(StepClock::default())
    }

    /// Makes functions, and the tables whose columns they compute, anew.
    fn rebuild(&mut self, clock: StepClock) -> Result<()> {
        self.functions = Functions::for_session(&self.settings.time_zone(), clock)?;
        self.registered.iter().for_each(|f| f.add_to(&mut self.functions));
        let declared: Vec<_> =
            self.catalog.iter().filter_map(|(n, r)| Some((n.to_string(), r.definition()?))).collect();
        let start = crate::error::Position { line: 1, column: 1 };
        for (name, definition) in declared {
            self.put_table(name, definition, &Place::new("", start))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
