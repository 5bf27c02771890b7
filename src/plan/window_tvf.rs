//! The window table functions TUMBLE, HOP and CUMULATE in a logical plan.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion_common::{Column, DFSchema, DFSchemaRef, ExprSchema, Result, plan_err};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::operator::window::{WindowKind, WindowSpec};

/// `TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), …))`: the input's rows, once for each window they fall into, with three more
/// columns: `window_start` and `window_end` (TIMESTAMP(3), in the session's zone) and `window_time` (the rowtime's type,
/// `window_end` - 1 ms).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WindowTvf {
    /// What is windowed.
    pub input: Arc<LogicalPlan>,
    /// The rowtime column of the input.
    pub time: Column,
    /// The windows.
    pub spec: WindowSpec,
    schema: DFSchemaRef,
}

impl WindowTvf {
    /// Windows over a time column of the input.
    ///
    /// # Errors
    /// When the input has no such column, or it is no timestamp.
    pub fn try_new(input: Arc<LogicalPlan>, time: Column, spec: WindowSpec) -> Result<Self> {
        let field = ExprSchema::field_from_column(input.schema().as_ref(), &time)?;
        let DataType::Timestamp(_, zone) = field.data_type() else {
            return plan_err!(
                "the time column {} of a window must be a TIMESTAMP, it is {}",
                time.name,
                field.data_type()
            );
        };
        let local = DataType::Timestamp(TimeUnit::Millisecond, None);
        let attribute = DataType::Timestamp(TimeUnit::Millisecond, zone.clone());
        let mut fields: Vec<_> = input.schema().iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
        for (name, data_type) in [("window_start", &local), ("window_end", &local), ("window_time", &attribute)] {
            fields.push((None, Arc::new(Field::new(name, data_type.clone(), false))));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema().as_ref().metadata().clone())?);
        Ok(Self { input, time, spec, schema })
    }
}

impl PartialOrd for WindowTvf {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (&self.spec, &self.time).partial_cmp(&(&other.spec, &other.time))
    }
}

impl UserDefinedLogicalNodeCore for WindowTvf {
    fn name(&self) -> &str {
        "WindowTableFunction"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![Expr::Column(self.time.clone())]
    }

    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        ["window_start", "window_end", "window_time"].map(String::from).into()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}(time={}, {})", self.name(), self.time.name, self.spec)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (Some(Expr::Column(time)), Some(input)) = (exprs.into_iter().next(), inputs.into_iter().next()) else {
            return plan_err!("a window function has one time column and one input");
        };
        Self::try_new(Arc::new(input), time, self.spec)
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        let time = self.input.schema().index_of_column(&self.time).ok()?;
        let mut needed: Vec<usize> = output_columns.iter().copied().filter(|i| *i < width).chain([time]).collect();
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

impl fmt::Display for WindowSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |v: i64| std::time::Duration::from_millis(v.unsigned_abs());
        match self.kind {
            WindowKind::Tumble { size } => write!(f, "TUMBLE(size={:?}", ms(size))?,
            WindowKind::Hop { size, slide } => write!(f, "HOP(size={:?}, slide={:?}", ms(size), ms(slide))?,
            WindowKind::Cumulate { size, step } => write!(f, "CUMULATE(size={:?}, step={:?}", ms(size), ms(step))?,
        }
        if self.offset != 0 {
            write!(f, ", offset={}{:?}", if self.offset < 0 { "-" } else { "" }, ms(self.offset))?;
        }
        f.write_str(")")
    }
}
