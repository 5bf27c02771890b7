//! Aggregate functions with Flink's result types. All merge partial states, and take back rows where they can.

mod collect;
mod distinct;
mod total;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion_expr::AggregateUDF;
use datafusion_functions_aggregate::grouping::grouping_udaf;
use datafusion_functions_aggregate::string_agg::string_agg_udaf;

/// Flink's aggregate functions; those that DataFusion has with the same meaning are left to it.
pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    let [sum, avg] = total::functions();
    let listagg = string_agg_udaf().as_ref().clone().with_aliases(["listagg"]);
    let grouping = grouping_udaf().as_ref().clone().with_aliases(["grouping_id"]);
    [sum, avg, collect::function(), listagg, grouping].into_iter().map(Arc::new).collect()
}
