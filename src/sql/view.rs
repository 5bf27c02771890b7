//! Views: stored as queries, put in where they are used.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::plan_err;
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableSource, TableType};
use datafusion_sql::sqlparser::ast::Ident;

use super::ast::CreateView;
use super::names::name_unnamed;
use super::planner::Planner;

/// A view in a query: DataFusion puts its plan in the place of the scan.
#[derive(Debug)]
pub(super) struct ViewSource {
    plan: LogicalPlan,
    schema: SchemaRef,
}

impl ViewSource {
    pub(super) fn new(plan: LogicalPlan) -> Self {
        Self { schema: Arc::new(plan.schema().as_arrow().clone()), plan }
    }
}

impl TableSource for ViewSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

impl Planner<'_> {
    /// A view's plan, its columns under the view's names for them.
    pub(super) fn view(&self, view: &CreateView) -> datafusion_common::Result<LogicalPlan> {
        let plan = name_unnamed(self.raw_query(&view.query)?, &view.query)?;
        rename(plan, &view.columns)
    }
}

fn rename(plan: LogicalPlan, names: &[Ident]) -> datafusion_common::Result<LogicalPlan> {
    if names.is_empty() {
        return Ok(plan);
    }
    let columns = plan.schema().columns();
    if columns.len() != names.len() {
        return plan_err!("the view names {} columns, its query has {}", names.len(), columns.len());
    }
    let renamed = columns.into_iter().zip(names).map(|(column, name)| Expr::Column(column).alias(&name.value));
    LogicalPlanBuilder::from(plan).project(renamed.collect::<Vec<_>>())?.build()
}
