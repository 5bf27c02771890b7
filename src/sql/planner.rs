//! Queries and expressions to typed logical plans.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DFSchema, DataFusionError, TableReference, plan_err};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion_expr::{AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion_optimizer::analyzer::Analyzer;
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_optimizer::simplify_expressions::SimplifyContext;
use datafusion_sql::planner::{NullOrdering, ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::{DataType as SqlType, Expr as SqlExpr, Query, Statement as SqlStatement};

use super::catalog::{Catalog, CatalogTable, Relation, bare_name};
use super::functions::Functions;
use super::group_window::{self, plan_group_windows};
use super::grouping::compute_grouped;
use super::hints::{name_hinted, read_state_ttls, split};
use super::lookup_hint::mark_lookups;
use super::names::tell_apart;
use super::place::{Place, message_of, unknown};
use super::table::hinted_table;
use super::types::simple_type;
use super::unnest::fold_unnests;
use super::version::fold_versions;
use super::view::ViewSource;
use super::window::FlinkRelations;
use crate::Result;
use crate::connector::Connectors;
use crate::plan::{StateTtls, StreamTable};

/// Plans queries against a catalog.
#[derive(Debug)]
pub(super) struct Planner<'a> {
    catalog: &'a Catalog,
    functions: &'a Functions,
    connectors: &'a Connectors,
    zone: Arc<str>,
    config: ConfigOptions,
    relations: Vec<Arc<dyn RelationPlanner>>,
    types: Arc<dyn TypePlanner>,
    expanded: Cell<usize>,
    state_ttls: RefCell<StateTtls>,
    /// Tables with the options of hints: those with the same are one table.
    hinted: RefCell<HashMap<String, Arc<StreamTable>>>,
}

/// How many times views may be put in in one statement: each may use others twice, and so on.
const MAX_VIEWS: usize = 500;

impl<'a> Planner<'a> {
    pub(super) fn new(
        catalog: &'a Catalog,
        functions: &'a Functions,
        connectors: &'a Connectors,
        zone: Arc<str>,
    ) -> Self {
        let mut config = ConfigOptions::new();
        config.execution.time_zone = Some(zone.to_string());
        config.sql_parser.enable_ident_normalization = false;
        let types = Arc::new(FlinkTypes { zone: Arc::clone(&zone) });
        Self {
            catalog,
            functions,
            connectors,
            zone,
            config,
            relations: vec![Arc::new(FlinkRelations)],
            types,
            expanded: Cell::new(0),
            state_ttls: RefCell::default(),
            hinted: RefCell::default(),
        }
    }

    /// The session's time zone.
    pub(super) fn zone(&self) -> &Arc<str> {
        &self.zone
    }

    /// What the hints of all queries planned so far say.
    pub(super) fn state_ttls(&self) -> StateTtls {
        self.state_ttls.borrow().clone()
    }

    /// A table with the options of a hint in the place of its own.
    pub(super) fn with_options(
        &self,
        table: &CatalogTable,
        options: &[(&str, &str)],
    ) -> std::result::Result<Arc<StreamTable>, String> {
        let name = &table.table.descriptor.name;
        let resolved = hinted_table(table, options, self.connectors, self);
        resolved.map(Arc::new).map_err(|e| {
            let said = match &e {
                crate::Error::Sql(sql) => sql.message.clone(),
                other => other.to_string(),
            };
            format!("the hint OPTIONS of table '{name}': {said}")
        })
    }

    /// A query's plan, fully typed.
    pub(super) fn query(&self, query: &Query, place: &Place<'_>) -> Result<LogicalPlan> {
        let plan = self.raw_query(query).map_err(|e| self.explain(&e, place))?;
        self.analyze(plan).map_err(|e| self.explain(&e, place))
    }

    /// A query's plan before types are coerced.
    pub(super) fn raw_query(&self, query: &Query) -> datafusion_common::Result<LogicalPlan> {
        let mut query = query.clone();
        name_hinted(&mut query)?;
        read_state_ttls(&query, &mut self.state_ttls.borrow_mut())?;
        mark_lookups(&mut query)?;
        tell_apart(&mut query);
        self.functions.prepare(&mut query);
        group_window::prepare(&mut query);
        let statement = SqlStatement::Query(Box::new(query));
        let plan = plan_group_windows(self.sql_to_rel().sql_statement_to_plan(statement)?)?;
        let plan = fold_unnests(plan)?;
        let plan = fold_versions(plan)?;
        self.functions.analyze(compute_grouped(plan)?)
    }

    /// Coerces types and resolves what DataFusion leaves to its analyzer.
    pub(super) fn analyze(&self, plan: LogicalPlan) -> datafusion_common::Result<LogicalPlan> {
        Analyzer::new().execute_and_check(plan, &self.config, |_, _| {})
    }

    /// An expression over the columns of `scope`, types coerced.
    pub(super) fn expression(&self, sql: &SqlExpr, scope: &DFSchema, place: &Place<'_>) -> Result<Expr> {
        let names: Vec<_> = scope.fields().iter().map(|f| f.name().as_str()).collect();
        let plan = || {
            let mut sql = sql.clone();
            self.functions.prepare(&mut sql);
            let expr = self.sql_to_rel().sql_to_expr(sql, scope, &mut PlannerContext::new())?;
            let expr = self.functions.analyze_expr(expr, scope)?;
            let context = SimplifyContext::builder().with_schema(Arc::new(scope.clone())).build();
            ExprSimplifier::new(context).coerce(expr, scope)
        };
        plan().map_err(|e| self.explain_in(&e, &names, place))
    }

    fn sql_to_rel(&self) -> SqlToRel<'_, Self> {
        let options = ParserOptions::new()
            .with_parse_float_as_decimal(true)
            .with_enable_ident_normalization(false)
            .with_collect_spans(true)
            .with_map_string_types_to_utf8view(false)
            .with_default_null_ordering(NullOrdering::NullsMin);
        SqlToRel::new_with_options(self, options)
    }

    /// What DataFusion says, with its place.
    pub(super) fn explain(&self, error: &DataFusionError, place: &Place<'_>) -> crate::Error {
        self.explain_in(error, &[], place)
    }

    fn explain_in(&self, error: &DataFusionError, columns: &[&str], place: &Place<'_>) -> crate::Error {
        let message = message_of(error, columns);
        match message.strip_prefix("Invalid function '").and_then(|rest| rest.split('\'').next()) {
            Some(name) => place.error_about(name, unknown("function", name, self.functions.names())),
            None => place.planning(error, columns),
        }
    }
}

impl ContextProvider for Planner<'_> {
    fn get_table_source(&self, name: TableReference) -> datafusion_common::Result<Arc<dyn TableSource>> {
        let bare = match bare_name(name.catalog(), name.schema(), name.table()) {
            Ok(bare) => bare,
            Err(message) => return plan_err!("{message}"),
        };
        let (bare, options) = split(&bare);
        match self.catalog.get(bare) {
            Some(Relation::Table(table)) if !options.is_empty() => {
                if let Some(known) = self.hinted.borrow().get(name.table()) {
                    return Ok(Arc::clone(known) as Arc<dyn TableSource>);
                }
                match self.with_options(table, &options) {
                    Ok(table) => {
                        self.hinted.borrow_mut().insert(name.table().to_string(), Arc::clone(&table));
                        Ok(table as Arc<dyn TableSource>)
                    }
                    Err(message) => plan_err!("{message}"),
                }
            }
            Some(Relation::View(_)) if !options.is_empty() => {
                plan_err!("'{bare}' is a view; the hint OPTIONS is for tables")
            }
            Some(Relation::Table(table)) => Ok(Arc::clone(&table.table) as Arc<dyn TableSource>),
            Some(Relation::View(view)) => {
                self.expanded.set(self.expanded.get() + 1);
                if self.expanded.get() > MAX_VIEWS {
                    return plan_err!("the views in this statement are made of more than {MAX_VIEWS} others");
                }
                match self.view(view) {
                    Ok(plan) => Ok(Arc::new(ViewSource::new(plan))),
                    Err(e) => plan_err!("the view '{bare}' cannot be used: {}", message_of(&e, &[])),
                }
            }
            None => plan_err!("{}", unknown("table", bare, self.catalog.names())),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.functions.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relations
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::clone(&self.types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.scalar(name).or_else(|| group_window::marker(name))
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.functions.higher_order(name)
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate(name)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window(name)
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.config
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar_names().map(String::from).collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.functions.higher_order_names().map(String::from).collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregate_names().map(String::from).collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.functions.window_names().map(String::from).collect()
    }
}

/// Flink's types in `CAST`.
#[derive(Debug)]
struct FlinkTypes {
    zone: Arc<str>,
}

impl TypePlanner for FlinkTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> datafusion_common::Result<Option<FieldRef>> {
        match simple_type(sql_type, &self.zone) {
            Ok(data_type) => Ok(Some(Arc::new(Field::new("", data_type, true)))),
            Err(message) => plan_err!("{message}"),
        }
    }
}
