//! The least session that a table can be scanned in.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion_catalog::MemoryCatalogProviderList;
use datafusion_common::config::TableOptions;
use datafusion_common::{DFSchema, Result, not_impl_err};
use datafusion_execution::TaskContext;
use datafusion_execution::config::SessionConfig;
use datafusion_execution::runtime_env::RuntimeEnv;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::registry::{ExtensionTypeRegistryRef, MemoryExtensionTypeRegistry};
use datafusion_expr::{AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, WindowUDF};
use datafusion_physical_expr::create_physical_expr;
use datafusion_physical_plan::{ExecutionPlan, PhysicalExpr};
use datafusion_session::{CatalogProviderList, Session};

/// A session without functions, tables and a planner.
pub(super) struct PlainSession {
    config: SessionConfig,
    catalogs: Arc<dyn CatalogProviderList>,
    runtime: Arc<RuntimeEnv>,
    props: ExecutionProps,
    extension_types: ExtensionTypeRegistryRef,
    scalars: HashMap<String, Arc<ScalarUDF>>,
    higher_order: HashMap<String, Arc<HigherOrderUDF>>,
    aggregates: HashMap<String, Arc<AggregateUDF>>,
    windows: HashMap<String, Arc<WindowUDF>>,
    table_options: TableOptions,
}

impl Default for PlainSession {
    fn default() -> Self {
        Self {
            config: SessionConfig::new().with_target_partitions(1),
            catalogs: Arc::new(MemoryCatalogProviderList::new()),
            runtime: Arc::default(),
            props: ExecutionProps::new(),
            extension_types: Arc::new(MemoryExtensionTypeRegistry::new_empty()),
            scalars: HashMap::new(),
            higher_order: HashMap::new(),
            aggregates: HashMap::new(),
            windows: HashMap::new(),
            table_options: TableOptions::default(),
        }
    }
}

#[async_trait]
impl Session for PlainSession {
    fn session_id(&self) -> &str {
        "millstream"
    }

    fn config(&self) -> &SessionConfig {
        &self.config
    }

    fn catalog_list(&self) -> Arc<dyn CatalogProviderList> {
        Arc::clone(&self.catalogs)
    }

    async fn create_physical_plan(&self, _plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        not_impl_err!("a table that plans a query when it is scanned; register it with a session that can")
    }

    fn create_physical_expr(&self, expr: Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        create_physical_expr(&expr, schema, &self.props, &PhysicalPlanningContext::default())
    }

    fn scalar_functions(&self) -> &HashMap<String, Arc<ScalarUDF>> {
        &self.scalars
    }

    fn higher_order_functions(&self) -> &HashMap<String, Arc<HigherOrderUDF>> {
        &self.higher_order
    }

    fn aggregate_functions(&self) -> &HashMap<String, Arc<AggregateUDF>> {
        &self.aggregates
    }

    fn window_functions(&self) -> &HashMap<String, Arc<WindowUDF>> {
        &self.windows
    }

    fn extension_type_registry(&self) -> &ExtensionTypeRegistryRef {
        &self.extension_types
    }

    fn runtime_env(&self) -> &Arc<RuntimeEnv> {
        &self.runtime
    }

    fn execution_props(&self) -> &ExecutionProps {
        &self.props
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn table_options(&self) -> &TableOptions {
        &self.table_options
    }

    fn table_options_mut(&mut self) -> &mut TableOptions {
        &mut self.table_options
    }

    fn task_ctx(&self) -> Arc<TaskContext> {
        Arc::new(TaskContext::from(self as &dyn Session))
    }
}
