//! The registry: names to functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_expr::planner::ExprPlanner;
use datafusion_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};
use datafusion_functions::core::planner::CoreFunctionPlanner;
use datafusion_functions::datetime::planner::DatetimeFunctionPlanner;
use datafusion_functions::unicode::planner::UnicodeFunctionPlanner;
use datafusion_functions_aggregate::planner::AggregateFunctionPlanner;
use datafusion_functions_nested::planner::{FieldAccessPlanner, NestedFunctionPlanner};
use datafusion_functions_window::planner::WindowFunctionPlanner;

/// All functions that SQL can call, by name without regard to case. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Functions {
    scalars: BTreeMap<String, Arc<ScalarUDF>>,
    aggregates: BTreeMap<String, Arc<AggregateUDF>>,
    windows: BTreeMap<String, Arc<WindowUDF>>,
    higher_orders: BTreeMap<String, Arc<HigherOrderUDF>>,
    planners: Arc<[Arc<dyn ExprPlanner>]>,
}

impl Functions {
    /// Flink's functions over DataFusion's.
    pub fn flink() -> Self {
        let mut functions = Self {
            scalars: BTreeMap::new(),
            aggregates: BTreeMap::new(),
            windows: BTreeMap::new(),
            higher_orders: BTreeMap::new(),
            planners: planners(),
        };
        functions.add_datafusion();
        functions
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

fn planners() -> Arc<[Arc<dyn ExprPlanner>]> {
    Arc::new([
        Arc::new(CoreFunctionPlanner::default()) as Arc<dyn ExprPlanner>,
        Arc::new(NestedFunctionPlanner),
        Arc::new(FieldAccessPlanner),
        Arc::new(DatetimeFunctionPlanner),
        Arc::new(UnicodeFunctionPlanner),
        Arc::new(AggregateFunctionPlanner),
        Arc::new(WindowFunctionPlanner),
    ])
}
