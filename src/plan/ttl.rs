//! State time-to-live.

use std::collections::BTreeMap;

use datafusion_expr::LogicalPlan;

use super::compile::Compiler;

/// What a statement's `STATE_TTL` hints say: by the name or alias of a table, milliseconds of processing time after which
/// state made of its rows that none has touched is let go; `None` keeps it for ever.
pub type StateTtls = BTreeMap<String, Option<i64>>;

impl Compiler {
    /// How many milliseconds of processing time state made of an input's rows is kept untouched; `None` is for ever. A hint
    /// counts where all columns are of the relation that it names.
    pub(super) fn state_ttl(&self, input: &LogicalPlan) -> Option<i64> {
        let mut relations = input.schema().iter().filter_map(|(relation, _)| relation).map(|r| r.table());
        let first = relations.next();
        let hinted = first.filter(|name| relations.all(|r| r == *name)).and_then(|name| self.state_ttls.get(name));
        hinted.copied().unwrap_or(self.options.state_ttl)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion_expr::LogicalPlanBuilder;
    use datafusion_expr::logical_plan::table_scan;

    use super::*;

    #[test]
    fn a_hint_counts_for_the_relation_that_it_names() {
        let schema = Schema::new(vec![Field::new("k", DataType::Int64, true)]);
        let scan = |name: &str| table_scan(Some(name), &schema, None).unwrap();
        let mut compiler = Compiler::default();
        compiler.options.state_ttl = Some(5);
        compiler.state_ttls = [("a".to_string(), Some(7)), ("b".to_string(), None)].into();
        let ttl = |plan: LogicalPlanBuilder| compiler.state_ttl(&plan.build().unwrap());
        assert_eq!(ttl(scan("a")), Some(7));
        assert_eq!(ttl(scan("b")), None);
        assert_eq!(ttl(scan("c")), Some(5));
        assert_eq!(ttl(scan("c").alias("a").unwrap()), Some(7));
        let b = Arc::new(scan("b").build().unwrap());
        assert_eq!(ttl(scan("a").cross_join(b.as_ref().clone()).unwrap()), Some(5));
    }
}
