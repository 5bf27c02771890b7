//! What conditions say of the difference between two times, and what follows from it for joins below.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, JoinType, ScalarValue};
use datafusion_expr::logical_plan::{Join, Projection};
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{BinaryExpr, Expr, LogicalPlan, Operator, lit};

use crate::Result;

/// How far apart two columns of times are, the first less the second, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub columns: [Column; 2],
    pub earliest: Option<i64>,
    pub latest: Option<i64>,
}

impl Difference {
    /// The same of the second less the first.
    pub fn turned(&self) -> Self {
        let [a, b] = &self.columns;
        let negative = |bound: Option<i64>| bound.and_then(i64::checked_neg);
        Self { columns: [b.clone(), a.clone()], earliest: negative(self.latest), latest: negative(self.earliest) }
    }

    /// What follows of the first column of this and the second of `next`, where the others are one column.
    fn and(&self, next: &Self) -> Option<Self> {
        let sum = |a: Option<i64>, b: Option<i64>| a?.checked_add(b?);
        let [first, middle] = &self.columns;
        let [same, last] = &next.columns;
        (middle == same && first != last).then(|| Self {
            columns: [first.clone(), last.clone()],
            earliest: sum(self.earliest, next.earliest),
            latest: sum(self.latest, next.latest),
        })
    }

    /// The condition that says so.
    fn condition(&self) -> Option<Expr> {
        let [a, b] = &self.columns;
        let bound = |op: Operator, millis: i64| {
            let span = IntervalMonthDayNano::new(0, 0, millis.checked_mul(1_000_000)?);
            let span = lit(ScalarValue::IntervalMonthDayNano(Some(span)));
            let moved = BinaryExpr::new(Box::new(Expr::Column(b.clone())), Operator::Plus, Box::new(span));
            let (left, right) = (Expr::Column(a.clone()), Expr::BinaryExpr(moved));
            Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
        };
        Some(bound(Operator::GtEq, self.earliest?)?.and(bound(Operator::LtEq, self.latest?)?))
    }
}

/// What a part of a condition over the columns of a schema says, and all that it says.
pub(super) fn differences(part: &Expr, schema: &DFSchema) -> Vec<Difference> {
    match unwrapped(part) {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => compared(left, *op, right, schema).into_iter().collect(),
        Expr::Between(between) if !between.negated => {
            let low = compared(&between.expr, Operator::GtEq, &between.low, schema);
            let high = compared(&between.expr, Operator::LtEq, &between.high, schema);
            // All or nothing: else the part says more than what is told.
            low.zip(high).map_or_else(Vec::new, |(low, high)| vec![low, high])
        }
        _ => Vec::new(),
    }
}

/// What a comparison of two times says.
pub(super) fn compared(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<Difference> {
    let (a, b) = (term(left, schema)?, term(right, schema)?);
    let difference = b.plus.checked_sub(a.plus)?;
    let (earliest, latest) = match op {
        Operator::Eq => (Some(difference), Some(difference)),
        Operator::LtEq => (None, Some(difference)),
        Operator::Lt => (None, Some(difference.checked_sub(1)?)),
        Operator::GtEq => (Some(difference), None),
        Operator::Gt => (Some(difference.checked_add(1)?), None),
        _ => return None,
    };
    Some(Difference { columns: [a.column.clone(), b.column.clone()], earliest, latest })
}

/// A column, and what is added to it in milliseconds.
struct Term<'a> {
    column: &'a Column,
    plus: i64,
}

fn unwrapped(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unwrapped(&alias.expr),
        other => other,
    }
}

/// A time with spans added and taken away.
fn term<'a>(expr: &'a Expr, schema: &DFSchema) -> Option<Term<'a>> {
    let moved = |term: Term<'a>, by: i64| Some(Term { plus: term.plus.checked_add(by)?, ..term });
    match unwrapped(expr) {
        Expr::Column(column) => Some(Term { column, plus: 0 }),
        Expr::Cast(cast) => {
            let term = term(&cast.expr, schema)?;
            let from = schema.field(schema.maybe_index_of_column(term.column)?).data_type();
            keeps_time(from, cast.field.data_type()).then_some(term)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::Plus => match (span(left), span(right)) {
                (None, Some(span)) => moved(term(left, schema)?, span),
                (Some(span), None) => moved(term(right, schema)?, span),
                _ => None,
            },
            Operator::Minus => moved(term(left, schema)?, span(right)?.checked_neg()?),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a cast of a timestamp leaves it the same instant.
fn keeps_time(from: &DataType, to: &DataType) -> bool {
    let rank = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    match (from, to) {
        (DataType::Timestamp(a, from), DataType::Timestamp(b, to)) => {
            from.is_some() == to.is_some() && rank(a) <= rank(b)
        }
        _ => false,
    }
}

/// A span that is written in the query, in milliseconds; no months, which are not all of one length.
fn span(expr: &Expr) -> Option<i64> {
    let parts = |days: i32, millis: i64| i64::from(days).checked_mul(86_400_000)?.checked_add(millis);
    match unwrapped(expr) {
        Expr::Literal(ScalarValue::IntervalDayTime(Some(v)), _) => parts(v.days, i64::from(v.milliseconds)),
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(v)), _) if v.months == 0 => {
            (v.nanoseconds % 1_000_000 == 0).then(|| parts(v.days, v.nanoseconds / 1_000_000))?
        }
        Expr::Negative(inner) => span(inner)?.checked_neg(),
        Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Interval(_)) => span(&cast.expr),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::Plus => span(left)?.checked_add(span(right)?),
            Operator::Minus => span(left)?.checked_sub(span(right)?),
            _ => None,
        },
        _ => None,
    }
}

/// Tells each inner join what a join above it says of the times of both its sides, by way of a third: where `a` and `b` are both near
/// `c`, they are near each other.
pub(super) fn imply(plan: LogicalPlan) -> Result<LogicalPlan> {
    let told = plan.transform_down(|node| {
        let LogicalPlan::Join(join) = &node else { return Ok(Transformed::no(node)) };
        if join.join_type != JoinType::Inner {
            return Ok(Transformed::no(node));
        }
        let known = said_by(join);
        let (left, right) = (told_of(&join.left, &known)?, told_of(&join.right, &known)?);
        if left.is_none() && right.is_none() {
            return Ok(Transformed::no(node));
        }
        let or = |new: Option<LogicalPlan>, old: &Arc<LogicalPlan>| new.map_or_else(|| Arc::clone(old), Arc::new);
        let join = Join { left: or(left, &join.left), right: or(right, &join.right), ..join.clone() };
        Ok(Transformed::yes(LogicalPlan::Join(join)))
    })?;
    Ok(told.data)
}

/// All that a join says of times.
fn said_by(join: &Join) -> Vec<Difference> {
    let on = join.on.iter().filter_map(|(l, r)| compared(l, Operator::Eq, r, &join.schema));
    let parts = join.filter.iter().flat_map(split_conjunction);
    let all = on.chain(parts.flat_map(|part| differences(part, &join.schema)));
    let of_times = all.filter(|d| d.columns.iter().all(|c| is_time(&join.schema, c)));
    of_times.flat_map(|d| [d.turned(), d]).collect()
}

/// Only of one kind of time can both be: then they can be compared as they are.
fn is_time(schema: &DFSchema, column: &Column) -> bool {
    let index = schema.maybe_index_of_column(column);
    index.is_some_and(|i| matches!(schema.field(i).data_type(), DataType::Timestamp(TimeUnit::Millisecond, _)))
}

/// An inner join, perhaps below a projection, that is told what is known of its sides.
fn told_of(plan: &LogicalPlan, known: &[Difference]) -> datafusion_common::Result<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::Projection(projection) if projection.expr.iter().all(|e| matches!(e, Expr::Column(_))) => {
            let Some(input) = told_of(&projection.input, known)? else { return Ok(None) };
            let projection = Projection::try_new(projection.expr.clone(), Arc::new(input))?;
            Ok(Some(LogicalPlan::Projection(projection)))
        }
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            let own = said_by(join);
            let new = implied(join, known).into_iter().filter(|d| !own.iter().any(|o| o.columns == d.columns));
            let new: Vec<Expr> = new.filter_map(|d| d.condition()).collect();
            if new.is_empty() {
                return Ok(None);
            }
            let filter = conjunction(join.filter.iter().cloned().chain(new));
            Ok(Some(LogicalPlan::Join(Join { filter, ..join.clone() })))
        }
        _ => Ok(None),
    }
}

/// What follows for a join's left times less its right.
fn implied(join: &Join, known: &[Difference]) -> Vec<Difference> {
    let [left, right] = [join.left.schema(), join.right.schema()];
    let mut found: Vec<Difference> = Vec::new();
    for first in known.iter().filter(|d| is_time(left, &d.columns[0])) {
        let all = known.iter().filter(|d| is_time(right, &d.columns[1])).filter_map(|next| first.and(next));
        for new in all {
            // The ends of one difference are told one by one.
            match found.iter_mut().find(|d| d.columns == new.columns) {
                Some(same) => {
                    same.earliest = same.earliest.max(new.earliest);
                    same.latest = same.latest.or(new.latest);
                }
                None => found.push(new),
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use datafusion_expr::{cast, col};

    use super::*;

    fn seconds(n: i32) -> Expr {
        lit(ScalarValue::IntervalDayTime(Some(arrow::datatypes::IntervalDayTime::new(0, n * 1000))))
    }

    fn difference(earliest: Option<i64>, latest: Option<i64>) -> Vec<Difference> {
        vec![Difference { columns: [Column::from_name("a"), Column::from_name("b")], earliest, latest }]
    }

    fn differences(part: &Expr) -> Vec<Difference> {
        let time = |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, None), true);
        let schema = DFSchema::try_from(Schema::new(vec![time("a"), time("b")])).unwrap();
        super::differences(part, &schema)
    }

    #[test]
    fn comparisons_in_all_spellings() {
        assert_eq!(differences(&col("a").gt_eq(col("b") - seconds(5))), difference(Some(-5000), None));
        assert_eq!(differences(&(col("a") + seconds(2)).lt(col("b") - seconds(5))), difference(None, Some(-7001)));
        assert_eq!(differences(&(seconds(1) + col("a")).gt(col("b"))), difference(Some(-999), None));
        assert_eq!(differences(&col("a").eq(col("b") + seconds(3))), difference(Some(3000), Some(3000)));
        let between = col("a").between(col("b") - seconds(1), col("b") + (seconds(1) + seconds(1)));
        let both: Vec<_> = differences(&between).iter().map(|d| (d.earliest, d.latest)).collect();
        assert_eq!(both, [(Some(-1000), None), (None, Some(2000))]);
        assert_eq!(differences(&col("a").not_eq(col("b"))), []);
        let as_unit = |unit| cast(col("a"), DataType::Timestamp(unit, None)).eq(col("b"));
        assert_eq!(differences(&as_unit(TimeUnit::Nanosecond)), difference(Some(0), Some(0)));
        assert_eq!(differences(&as_unit(TimeUnit::Second)), []);
        assert_eq!(differences(&col("a").between(col("b"), lit(7))), []);
        let month = lit(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(1, 0, 0))));
        assert_eq!(differences(&col("a").lt(col("b") + month)), []);
    }

    #[test]
    fn what_follows_by_way_of_a_third() {
        let near = |a: &str, b: &str, earliest, latest| Difference {
            columns: [Column::from_name(a), Column::from_name(b)],
            earliest,
            latest,
        };
        let (ab, bc) = (near("a", "b", Some(-5), Some(2)), near("b", "c", Some(1), None));
        assert_eq!(ab.and(&bc), Some(near("a", "c", Some(-4), None)));
        assert_eq!(ab.and(&ab.turned()), None);
        assert_eq!(ab.turned(), near("b", "a", Some(-2), Some(5)));
    }
}
