//! Finding the window function below an aggregate, and taking it out of the way.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, TableReference};
use datafusion_expr::logical_plan::{Filter, Projection, SubqueryAlias};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNode};

use super::compile::unaliased;
use super::window_tvf::{SessionTvf, WindowTvf};
use crate::Result;
use crate::change::WallClock;
use crate::operator::window::WindowSpec;

/// One of the three columns that a window function adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WindowColumn {
    /// `window_start`.
    Start,
    /// `window_end`.
    End,
    /// `window_time`.
    Time,
}

/// The windows of a window function.
#[derive(Debug, Clone)]
pub(super) enum Windows {
    /// Of slices.
    Slices(WindowSpec),
    /// Sessions of each key, some milliseconds apart.
    Sessions { keys: Vec<Column>, gap: i64 },
}

impl Windows {
    /// The columns that a session belongs to.
    fn keys(&mut self) -> &mut [Column] {
        match self {
            Windows::Slices(_) => &mut [],
            Windows::Sessions { keys, .. } => keys,
        }
    }
}

/// A plan with its window function taken out: the same rows, once each, without the window columns.
pub(super) struct Stripped {
    /// The plan without the window function.
    pub plan: LogicalPlan,
    /// The time column, in that plan.
    pub time: Column,
    /// The windows; their columns are that plan's.
    pub spec: Windows,
    /// Which columns of the plan as it was are window columns.
    windows: HashMap<usize, WindowColumn>,
}

impl Stripped {
    /// Which window column of `plan`, the plan as it was, an expression is.
    pub fn window_column(&self, plan: &LogicalPlan, expr: &Expr) -> Option<WindowColumn> {
        match expr {
            Expr::Column(c) => self.windows.get(&plan.schema().index_of_column(c).ok()?).copied(),
            Expr::Alias(alias) => self.window_column(plan, &alias.expr),
            _ => None,
        }
    }

    /// Whether an expression over `plan`, the plan as it was, uses a window column.
    pub fn uses_windows(&self, plan: &LogicalPlan, expr: &Expr) -> bool {
        let is_window = |c: &Column| plan.schema().index_of_column(c).is_ok_and(|i| self.windows.contains_key(&i));
        expr.column_refs().into_iter().any(is_window)
    }
}

/// Looks through projections, filters and aliases for a window function. `None` where there is none, or where something
/// other than a plain column is made of its windows on the way.
pub(super) fn strip(plan: &LogicalPlan) -> Result<Option<Stripped>> {
    match plan {
        LogicalPlan::Extension(e) => Ok(function(e.node.as_ref()).map(|(input, time, spec)| {
            let width = input.schema().fields().len();
            let columns = [WindowColumn::Start, WindowColumn::End, WindowColumn::Time];
            Stripped {
                plan: input.as_ref().clone(),
                time: time.clone(),
                spec,
                windows: columns.into_iter().enumerate().map(|(i, c)| (width + i, c)).collect(),
            }
        })),
        LogicalPlan::SubqueryAlias(alias) => {
            let Some(mut below) = strip(&alias.input)? else { return Ok(None) };
            let name: TableReference = alias.alias.clone();
            let renamed = |column: &Column| Column::new(Some(name.clone()), column.name.clone());
            let time = renamed(&below.time);
            below.spec.keys().iter_mut().for_each(|key| *key = renamed(key));
            let plan = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(below.plan), name.clone())?);
            Ok(Some(Stripped { plan, time, ..below }))
        }
        LogicalPlan::Filter(filter) => {
            let Some(below) = strip(&filter.input)? else { return Ok(None) };
            if below.uses_windows(&filter.input, &filter.predicate) {
                return Ok(None);
            }
            let plan = LogicalPlan::Filter(Filter::try_new(filter.predicate.clone(), Arc::new(below.plan))?);
            Ok(Some(Stripped { plan, ..below }))
        }
        LogicalPlan::Projection(projection) => strip_projection(projection),
        _ => Ok(None),
    }
}

/// The input, the time column and the windows of a window function.
fn function(node: &dyn UserDefinedLogicalNode) -> Option<(&Arc<LogicalPlan>, &Column, Windows)> {
    if let Some(tvf) = node.as_any().downcast_ref::<WindowTvf>() {
        return Some((&tvf.input, &tvf.time, Windows::Slices(tvf.spec)));
    }
    let tvf = node.as_any().downcast_ref::<SessionTvf>()?;
    Some((&tvf.input, &tvf.time, Windows::Sessions { keys: tvf.keys.clone(), gap: tvf.gap }))
}

fn strip_projection(projection: &Projection) -> Result<Option<Stripped>> {
    let Some(mut below) = strip(&projection.input)? else { return Ok(None) };
    let mut windows = HashMap::new();
    let mut kept = Vec::new();
    let mut time = None;
    for (i, expr) in projection.expr.iter().enumerate() {
        if let Some(column) = below.window_column(&projection.input, expr) {
            windows.insert(i, column);
            continue;
        }
        if below.uses_windows(&projection.input, expr) {
            return Ok(None);
        }
        if matches!(expr, Expr::Column(c) if *c == below.time) {
            time = Some(below.time.clone());
        }
        kept.push(expr.clone());
    }
    if time.is_none() {
        kept.push(Expr::Column(below.time.clone()));
    }
    // Keys may go by another name from here on.
    let mut places = Vec::new();
    for key in below.spec.keys() {
        let is_key = |e: &Expr| matches!(unaliased(e), Expr::Column(c) if c == key);
        places.push(kept.iter().position(is_key).unwrap_or(kept.len()));
        if places.last() == Some(&kept.len()) {
            kept.push(Expr::Column(key.clone()));
        }
    }
    let projection = Projection::try_new(kept, Arc::new(below.plan))?;
    let columns = projection.schema.columns();
    below.spec.keys().iter_mut().zip(places).for_each(|(key, place)| *key = columns[place].clone());
    Ok(Some(Stripped { plan: LogicalPlan::Projection(projection), windows, ..below }))
}

/// Whether rows that are equal in some expressions are of one session: these hold its window and its keys.
pub(super) fn divides_sessions(plan: &LogicalPlan, partition: &[Expr]) -> Result<bool> {
    let Some(stripped) = strip(plan)? else { return Ok(false) };
    let Windows::Sessions { keys, .. } = &stripped.spec else { return Ok(false) };
    let has = |wanted| partition.iter().any(|e| stripped.window_column(plan, e) == Some(wanted));
    let is_key = |key: &Column| partition.iter().any(|e| matches!(e, Expr::Column(c) if c == key));
    Ok(has(WindowColumn::Start) && has(WindowColumn::End) && keys.iter().all(is_key))
}

/// The clock that the windows of a plan's rows were cut by.
pub(super) fn clock(plan: &LogicalPlan) -> Result<WallClock> {
    let mut clock = Ok(WallClock::default());
    plan.apply(|node| {
        let LogicalPlan::Extension(e) = node else { return Ok(TreeNodeRecursion::Continue) };
        let Some((input, time, _)) = function(e.node.as_ref()) else { return Ok(TreeNodeRecursion::Continue) };
        let schema = input.schema();
        clock = WallClock::of(schema.field(schema.index_of_column(time)?).data_type());
        Ok(TreeNodeRecursion::Stop)
    })?;
    clock
}
