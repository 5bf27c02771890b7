//! Window table functions in a logical plan.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion_common::{Column, DFSchema, DFSchemaRef, ExprSchema, Result, plan_err};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::operator::window::{WindowKind, WindowSpec};

/// The columns that a window function adds.
const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];
/// Those of a group window, which no query can name: its input may have columns of the others' names.
pub(super) const GROUP_COLUMNS: [&str; 3] = ["$window_start", "$window_end", "$window_time"];

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
    names: [&'static str; 3],
    schema: DFSchemaRef,
}

impl WindowTvf {
    /// Windows over a time column of the input.
    ///
    /// # Errors
    /// When the input has no such column, or it is no timestamp.
    pub fn try_new(input: Arc<LogicalPlan>, time: Column, spec: WindowSpec) -> Result<Self> {
        Self::with_names(input, time, spec, WINDOW_COLUMNS)
    }

    /// A group window over a time column of the input: its columns are `$window_start` and so on.
    ///
    /// # Errors
    /// As [`WindowTvf::try_new`].
    pub fn of_group(input: Arc<LogicalPlan>, time: Column, spec: WindowSpec) -> Result<Self> {
        Self::with_names(input, time, spec, GROUP_COLUMNS)
    }

    fn with_names(input: Arc<LogicalPlan>, time: Column, spec: WindowSpec, names: [&'static str; 3]) -> Result<Self> {
        let schema = with_window_columns(input.schema(), &time, names)?;
        Ok(Self { input, time, spec, names, schema })
    }
}

/// The input's columns with the three of its windows behind them.
fn with_window_columns(input: &DFSchema, time: &Column, names: [&'static str; 3]) -> Result<DFSchemaRef> {
    let field = ExprSchema::field_from_column(input, time)?;
    let DataType::Timestamp(_, zone) = field.data_type() else {
        return plan_err!("the time column {} of a window must be a TIMESTAMP, it is {}", time.name, field.data_type());
    };
    let local = DataType::Timestamp(TimeUnit::Millisecond, None);
    let attribute = DataType::Timestamp(TimeUnit::Millisecond, zone.clone());
    let mut fields: Vec<_> = input.iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
    for (name, data_type) in names.into_iter().zip([&local, &local, &attribute]) {
        fields.push((None, Arc::new(Field::new(name, data_type.clone(), false))));
    }
    Ok(Arc::new(DFSchema::new_with_metadata(fields, input.metadata().clone())?))
}

/// The columns of the input that are needed for some of the result's, and some columns in any case.
fn needed(input: &LogicalPlan, output_columns: &[usize], always: &[&Column]) -> Option<Vec<Vec<usize>>> {
    let schema = input.schema();
    let width = schema.fields().len();
    let mut needed: Vec<usize> = output_columns.iter().copied().filter(|i| *i < width).collect();
    for column in always {
        needed.push(schema.index_of_column(column).ok()?);
    }
    needed.sort_unstable();
    needed.dedup();
    Some(vec![needed])
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
        self.names.map(String::from).into()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}(time={}, {})", self.name(), self.time.name, self.spec)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (Some(Expr::Column(time)), Some(input)) = (exprs.into_iter().next(), inputs.into_iter().next()) else {
            return plan_err!("a window function has one time column and one input");
        };
        Self::with_names(Arc::new(input), time, self.spec, self.names)
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        needed(&self.input, output_columns, &[&self.time])
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

/// `TABLE(SESSION(TABLE t [PARTITION BY k, …], DESCRIPTOR(ts), …))`: the input's rows with the columns of the session of their
/// keys that they belong to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionTvf {
    /// What is windowed.
    pub input: Arc<LogicalPlan>,
    /// The time column of the input.
    pub time: Column,
    /// The columns of `PARTITION BY`.
    pub keys: Vec<Column>,
    /// How far apart rows of one session are at most, in milliseconds.
    pub gap: i64,
    names: [&'static str; 3],
    schema: DFSchemaRef,
}

impl SessionTvf {
    /// Sessions over a time column of the input.
    ///
    /// # Errors
    /// When the input has no such columns, or the time is no timestamp.
    pub fn try_new(input: Arc<LogicalPlan>, time: Column, keys: Vec<Column>, gap: i64) -> Result<Self> {
        Self::with_names(input, time, keys, gap, WINDOW_COLUMNS)
    }

    /// A group window over a time column of the input: its columns are `$window_start` and so on.
    ///
    /// # Errors
    /// As [`SessionTvf::try_new`].
    pub fn of_group(input: Arc<LogicalPlan>, time: Column, keys: Vec<Column>, gap: i64) -> Result<Self> {
        Self::with_names(input, time, keys, gap, GROUP_COLUMNS)
    }

    fn with_names(
        input: Arc<LogicalPlan>,
        time: Column,
        keys: Vec<Column>,
        gap: i64,
        names: [&'static str; 3],
    ) -> Result<Self> {
        let schema = with_window_columns(input.schema(), &time, names)?;
        keys.iter().try_for_each(|key| input.schema().index_of_column(key).map(|_| ()))?;
        Ok(Self { input, time, keys, gap, names, schema })
    }
}

impl PartialOrd for SessionTvf {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (self.gap, &self.time, &self.keys).partial_cmp(&(other.gap, &other.time, &other.keys))
    }
}

impl UserDefinedLogicalNodeCore for SessionTvf {
    fn name(&self) -> &str {
        "SessionTableFunction"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        std::iter::once(&self.time).chain(&self.keys).cloned().map(Expr::Column).collect()
    }

    /// Rows make sessions of each other: without some of them sessions would be others. Only whole keys may be left out.
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        let columns = self.schema.columns().into_iter().filter(|column| !self.keys.contains(column));
        columns.map(|column| column.name).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let keys = self.keys.iter().map(|k| k.name.as_str()).collect::<Vec<_>>().join(", ");
        write!(f, "{}(time={}, keys=[{keys}], gap={} ms)", self.name(), self.time.name, self.gap)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let columns = exprs.into_iter().map(|e| match e {
            Expr::Column(column) => Ok(column),
            other => plan_err!("a session's time and keys are columns, not {other}"),
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let (Some((time, keys)), Some(input)) = (columns.split_first(), inputs.into_iter().next()) else {
            return plan_err!("a window function has one time column and one input");
        };
        Self::with_names(Arc::new(input), time.clone(), keys.to_vec(), self.gap, self.names)
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let always: Vec<&Column> = std::iter::once(&self.time).chain(&self.keys).collect();
        needed(&self.input, output_columns, &always)
    }
}
