//! The registry: names to functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_common::{DFSchema, Result};
use datafusion_expr::planner::ExprPlanner;
use datafusion_expr::{AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, WindowUDF};
use datafusion_functions::core::planner::CoreFunctionPlanner;
use datafusion_functions_aggregate::planner::AggregateFunctionPlanner;
use datafusion_functions_nested::planner::{FieldAccessPlanner, NestedFunctionPlanner};
use datafusion_functions_window::planner::WindowFunctionPlanner;
use datafusion_sql::sqlparser::ast::VisitMut;

use super::planner::FlinkPlanner;
use super::session::Session;
use super::{aggregate, collection, conditional, datetime, json, math, regexp, rewrite, row_in, syntax, text, url};
use crate::change::StepClock;

/// All functions that SQL can call, by name without regard to case; and what gives expressions Flink's meaning.
///
/// A query goes through here three times: [`Functions::prepare`] before DataFusion plans it, the
/// [`Functions::expr_planners`] while it does, and [`Functions::analyze`] afterwards, before types are coerced.
/// DataFusion's planner must run with `parse_float_as_decimal`: Flink's `1.5` is a decimal.
#[derive(Debug, Clone)]
pub struct Functions {
    session: Session,
    scalars: BTreeMap<String, Arc<ScalarUDF>>,
    aggregates: BTreeMap<String, Arc<AggregateUDF>>,
    windows: BTreeMap<String, Arc<WindowUDF>>,
    higher_orders: BTreeMap<String, Arc<HigherOrderUDF>>,
    planners: Arc<[Arc<dyn ExprPlanner>]>,
}

impl Functions {
    /// Flink's functions over DataFusion's, for a session in UTC with a clock of its own.
    pub fn flink() -> Self {
        Self::of(Session::default())
    }

    /// Flink's functions over DataFusion's, for a session in a zone (`table.local-time-zone`).
    ///
    /// # Errors
    /// When there is no such zone.
    pub fn for_session(zone: &str, clock: StepClock) -> crate::Result<Self> {
        Ok(Self::of(Session::new(zone, clock)?))
    }

    fn of(session: Session) -> Self {
        let mut functions = Self {
            session,
            scalars: BTreeMap::new(),
            aggregates: BTreeMap::new(),
            windows: BTreeMap::new(),
            higher_orders: BTreeMap::new(),
            planners: Arc::new([]),
        };
        functions.add_datafusion();
        functions.add_flink();
        functions.planners = planners(&functions);
        functions
    }

    fn add_flink(&mut self) {
        let topics = [
            collection::functions(),
            conditional::functions(),
            datetime::functions(),
            json::functions(),
            math::functions(),
            regexp::functions(),
            text::functions(),
            url::functions(),
        ];
        for def in topics.into_iter().flatten() {
            self.register_scalar(def.into_udf(&self.session));
        }
        for function in aggregate::functions() {
            self.register_aggregate(function);
        }
    }

    /// The clock that the functions of time read. Whoever runs a query sets it before each step.
    pub fn clock(&self) -> &StepClock {
        &self.session.clock
    }

    /// Puts Flink's forms below a node of sqlparser's (a query, an expression) as forms that DataFusion plans.
    pub fn prepare<V: VisitMut>(&self, node: &mut V) {
        row_in::prepare(node);
        syntax::prepare(node);
    }

    /// Gives the literals, casts and operators of a plan Flink's meaning. To be called once, on what the planner made
    /// and before types are coerced; the names of columns stay.
    ///
    /// # Errors
    /// When types do not fit together.
    pub fn analyze(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        rewrite::plan(plan)
    }

    /// The same for an expression over the columns of a schema.
    ///
    /// # Errors
    /// When types do not fit together.
    pub fn analyze_expr(&self, expr: Expr, schema: &DFSchema) -> Result<Expr> {
        rewrite::expr(expr, schema)
    }

    fn add_datafusion(&mut self) {
        let scalars = datafusion_functions::all_default_functions();
        for f in scalars.into_iter().chain(datafusion_functions_nested::all_default_nested_functions()) {
            self.register_scalar(f);
        }
        for f in datafusion_functions_aggregate::all_default_aggregate_functions() {
            self.register_aggregate(f);
        }
        for f in datafusion_functions_window::all_default_window_functions() {
            self.register_window(f);
        }
        for f in datafusion_functions_nested::all_default_higher_order_functions() {
            insert(&mut self.higher_orders, f.name(), f.aliases(), &f);
        }
    }

    /// Adds a scalar function under its name and aliases; one that was there before gives way.
    pub fn register_scalar(&mut self, function: impl Into<Arc<ScalarUDF>>) {
        let f = function.into();
        insert(&mut self.scalars, f.name(), f.aliases(), &f);
    }

    /// Adds an aggregate function under its name and aliases; one that was there before gives way.
    pub fn register_aggregate(&mut self, function: impl Into<Arc<AggregateUDF>>) {
        let f = function.into();
        insert(&mut self.aggregates, f.name(), f.aliases(), &f);
    }

    /// Adds a window function under its name and aliases; one that was there before gives way.
    pub fn register_window(&mut self, function: impl Into<Arc<WindowUDF>>) {
        let f = function.into();
        insert(&mut self.windows, f.name(), f.aliases(), &f);
    }

    /// The scalar function of that name.
    pub fn scalar(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        find(&self.scalars, name)
    }

    /// The aggregate function of that name.
    pub fn aggregate(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        find(&self.aggregates, name)
    }

    /// The window function of that name.
    pub fn window(&self, name: &str) -> Option<Arc<WindowUDF>> {
        find(&self.windows, name)
    }

    /// The function of that name that takes lambdas.
    pub fn higher_order(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        find(&self.higher_orders, name)
    }

    /// What turns operators and special forms of SQL into calls, to be asked in order.
    pub fn expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    /// The names of all scalar functions, sorted.
    pub fn scalar_names(&self) -> impl Iterator<Item = &str> {
        self.scalars.keys().map(String::as_str)
    }

    /// The names of all aggregate functions, sorted.
    pub fn aggregate_names(&self) -> impl Iterator<Item = &str> {
        self.aggregates.keys().map(String::as_str)
    }

    /// The names of all window functions, sorted.
    pub fn window_names(&self) -> impl Iterator<Item = &str> {
        self.windows.keys().map(String::as_str)
    }

    /// The names of all functions that take lambdas, sorted.
    pub fn higher_order_names(&self) -> impl Iterator<Item = &str> {
        self.higher_orders.keys().map(String::as_str)
    }

    /// The names of all functions, sorted, each once.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let all: std::collections::BTreeSet<&str> = self
            .scalar_names()
            .chain(self.aggregate_names())
            .chain(self.window_names())
            .chain(self.higher_order_names())
            .collect();
        all.into_iter()
    }
}

fn insert<F>(into: &mut BTreeMap<String, Arc<F>>, name: &str, aliases: &[String], function: &Arc<F>) {
    for name in std::iter::once(name).chain(aliases.iter().map(String::as_str)) {
        into.insert(name.to_lowercase(), Arc::clone(function));
    }
}

fn find<F>(from: &BTreeMap<String, Arc<F>>, name: &str) -> Option<Arc<F>> {
    from.get(name).or_else(|| from.get(&name.to_lowercase())).cloned()
}

fn planners(functions: &Functions) -> Arc<[Arc<dyn ExprPlanner>]> {
    let ours = || {
        Some(FlinkPlanner {
            extract: functions.scalar("extract")?,
            substring: functions.scalar("substring")?,
            overlay: functions.scalar("overlay")?,
            position: functions.scalar("position")?,
            row: functions.scalar("row")?,
        })
    };
    let theirs: [Arc<dyn ExprPlanner>; 5] = [
        Arc::new(CoreFunctionPlanner::default()),
        Arc::new(NestedFunctionPlanner),
        Arc::new(FieldAccessPlanner),
        Arc::new(AggregateFunctionPlanner),
        Arc::new(WindowFunctionPlanner),
    ];
    ours().into_iter().map(|p| Arc::new(p) as Arc<dyn ExprPlanner>).chain(theirs).collect()
}
