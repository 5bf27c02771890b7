//! Aggregate functions with Flink's result types. All merge partial states, and take back rows where they can.

mod collect;
mod distinct;
mod listagg;
mod total;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion_expr::AggregateUDF;
use datafusion_functions_aggregate::grouping::grouping_udaf;

/// Flink's aggregate functions; those that DataFusion has with the same meaning are left to it.
pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    let [sum, avg] = total::functions();
    let grouping = grouping_udaf().as_ref().clone().with_aliases(["grouping_id"]);
    [sum, avg, collect::function(), listagg::function(), grouping].into_iter().map(Arc::new).collect()
}
