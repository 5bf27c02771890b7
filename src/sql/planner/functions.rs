//! The functions that queries can call.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion_expr::planner::ExprPlanner;
use datafusion_expr::{AggregateUDF, ScalarUDF, WindowUDF};

/// Functions by name.
#[derive(Debug, Clone, Default)]
pub struct Functions {
    scalars: HashMap<String, Arc<ScalarUDF>>,
    aggregates: HashMap<String, Arc<AggregateUDF>>,
    windows: HashMap<String, Arc<WindowUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
}

impl Functions {
    /// DataFusion's functions.
    pub fn flink() -> Self {
        let scalars = datafusion_functions::all_default_functions()
            .into_iter()
            .chain(datafusion_functions_nested::all_default_nested_functions());
        let mut all = Self::default();
        for f in scalars {
            f.aliases().iter().for_each(|a| drop(all.scalars.insert(a.clone(), Arc::clone(&f))));
            all.scalars.insert(f.name().to_string(), f);
        }
        for f in datafusion_functions_aggregate::all_default_aggregate_functions() {
            f.aliases().iter().for_each(|a| drop(all.aggregates.insert(a.clone(), Arc::clone(&f))));
            all.aggregates.insert(f.name().to_string(), f);
        }
        for f in datafusion_functions_window::all_default_window_functions() {
            all.windows.insert(f.name().to_string(), f);
        }
        all.planners = vec![
            Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
            Arc::new(datafusion_functions_nested::planner::NestedFunctionPlanner),
            Arc::new(datafusion_functions_nested::planner::FieldAccessPlanner),
            Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
            Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
            Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
            Arc::new(datafusion_functions_window::planner::WindowFunctionPlanner),
        ];
        all
    }

    /// A scalar function.
    pub fn scalar(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalars.get(name).cloned()
    }

    /// An aggregate function.
    pub fn aggregate(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.get(name).cloned()
    }

    /// A window function.
    pub fn window(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.windows.get(name).cloned()
    }

    /// What plans operators and literals.
    pub fn expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        let all = self.scalars.keys().chain(self.aggregates.keys()).chain(self.windows.keys());
        let mut names: Vec<_> = all.cloned().collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
