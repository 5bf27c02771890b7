//! MATCH_RECOGNIZE in a logical plan, and from there to a circuit.

mod condition;
mod function;
mod lower;
mod slots;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion_common::{DFSchema, DFSchemaRef, Result, TableReference};
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan, SortExpr, UserDefinedLogicalNodeCore};

pub use self::function::{Instant, MatchNumber, Navigate, Over, classifier};
pub(super) use self::lower::lower;
use crate::operator::match_recognize::{Pattern, Skip};

/// What a MATCH_RECOGNIZE says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub struct MatchClauses {
    /// `PARTITION BY`.
    pub partition_by: Vec<Expr>,
    /// `ORDER BY`.
    pub order_by: Vec<SortExpr>,
    /// `MEASURES`: name and expression.
    pub measures: Vec<(String, Expr)>,
    /// `DEFINE`: the number of a variable and its condition.
    pub defines: Vec<(usize, Expr)>,
    /// The variables' names.
    pub names: Vec<String>,
    /// `PATTERN`.
    pub pattern: Pattern,
    /// `WITHIN`, in milliseconds.
    pub within: Option<i64>,
    /// `AFTER MATCH SKIP`.
    pub skip: Skip,
    /// `ALL ROWS PER MATCH`.
    pub all_rows: bool,
    /// Whether matches without rows are shown.
    pub empty: bool,
}

/// The matches of a pattern in its input's rows. In conditions and measures a row of the match is reached by [`Navigate`], and
/// aggregates stand in [`Over`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MatchRecognizeNode {
    /// The rows.
    pub input: Arc<LogicalPlan>,
    /// What it says.
    pub clauses: MatchClauses,
    schema: DFSchemaRef,
}

/// A column of the result.
#[derive(Debug, Clone, Copy)]
pub(super) enum ResultColumn<'a> {
    /// An expression over a row.
    Row(&'a Expr),
    /// A column of the input, by its place.
    Input(usize),
    /// A measure, by its place.
    Measure(usize),
}

impl MatchRecognizeNode {
    /// Matches in the rows of an input.
    ///
    /// # Errors
    /// When an expression has no type, or two columns of the result one name.
    pub fn try_new(input: Arc<LogicalPlan>, clauses: MatchClauses) -> Result<Self> {
        let columns = columns(&input, &clauses);
        let fields = columns.iter().map(|column| field(&input, &clauses, *column)).collect::<Result<Vec<_>>>()?;
        let metadata = input.schema().as_ref().metadata().clone();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, metadata)?);
        Ok(Self { input, clauses, schema })
    }

    /// The result's columns.
    pub(super) fn columns(&self) -> Vec<ResultColumn<'_>> {
        columns(&self.input, &self.clauses)
    }
}

/// One row of a match has the partition's columns and the measures; all of them have those that order them too, and behind the
/// measures what other columns the input has.
fn columns<'a>(input: &LogicalPlan, clauses: &'a MatchClauses) -> Vec<ResultColumn<'a>> {
    let measures = (0..clauses.measures.len()).map(ResultColumn::Measure);
    let partition = clauses.partition_by.iter().map(ResultColumn::Row);
    if !clauses.all_rows {
        return partition.chain(measures).collect();
    }
    let place = |e: &Expr| e.try_as_col().and_then(|c| input.schema().maybe_index_of_column(c));
    let known: HashSet<usize> = clauses.partition_by.iter().filter_map(place).collect();
    let ordering: Vec<&Expr> = clauses.order_by.iter().map(|o| &o.expr).collect();
    let ordering: Vec<&Expr> =
        ordering.into_iter().filter(|e| place(e).is_some_and(|place| !known.contains(&place))).collect();
    let shown: HashSet<usize> = ordering.iter().filter_map(|e| place(e)).chain(known).collect();
    let rest = (0..input.schema().fields().len()).filter(|c| !shown.contains(c)).map(ResultColumn::Input);
    partition.chain(ordering.into_iter().map(ResultColumn::Row)).chain(measures).chain(rest).collect()
}

fn field(
    input: &LogicalPlan,
    clauses: &MatchClauses,
    column: ResultColumn<'_>,
) -> Result<(Option<TableReference>, FieldRef)> {
    let schema = input.schema();
    let (expr, name) = match column {
        ResultColumn::Input(place) => return Ok((None, Arc::clone(&schema.fields()[place]))),
        ResultColumn::Row(expr) => {
            (expr, expr.try_as_col().map_or_else(|| expr.schema_name().to_string(), |c| c.name.clone()))
        }
        ResultColumn::Measure(nth) => (&clauses.measures[nth].1, clauses.measures[nth].0.clone()),
    };
    let (_, field) = expr.to_field(schema)?;
    Ok((None, Arc::new(Field::new(name, field.data_type().clone(), field.is_nullable()))))
}

impl PartialOrd for MatchRecognizeNode {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.clauses.partial_cmp(&other.clauses)
    }
}

impl UserDefinedLogicalNodeCore for MatchRecognizeNode {
    fn name(&self) -> &str {
        "MatchRecognize"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let clauses = &self.clauses;
        let ordering = clauses.order_by.iter().map(|o| &o.expr);
        let defines = clauses.defines.iter().map(|(_, e)| e);
        let measures = clauses.measures.iter().map(|(_, e)| e);
        clauses.partition_by.iter().chain(ordering).chain(defines).chain(measures).cloned().collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        // Each partition by itself gives what it gives. Conditions are passed on by the columns' names.
        let count = |name: &str| self.input.schema().fields().iter().filter(|f| f.name() == name).count();
        let columns = self.clauses.partition_by.iter().filter_map(|e| e.try_as_col());
        let passed: HashSet<&str> = columns.map(|c| c.name.as_str()).filter(|name| count(name) == 1).collect();
        let names = self.schema.fields().iter().map(|f| f.name());
        names.filter(|name| !passed.contains(name.as_str())).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "MatchRecognize(variables={:?})", self.clauses.names)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut exprs = exprs.into_iter();
        let mut clauses = self.clauses.clone();
        let own = clauses.partition_by.iter_mut();
        let own = own.chain(clauses.order_by.iter_mut().map(|o| &mut o.expr));
        let own = own.chain(clauses.defines.iter_mut().map(|(_, e)| e));
        for expr in own.chain(clauses.measures.iter_mut().map(|(_, e)| e)) {
            match exprs.next() {
                Some(new) => *expr = new,
                None => return datafusion_common::plan_err!("MATCH_RECOGNIZE with too few expressions"),
            }
        }
        match inputs.into_iter().next() {
            Some(input) => Self::try_new(Arc::new(input), clauses),
            None => datafusion_common::plan_err!("MATCH_RECOGNIZE has one input"),
        }
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let schema = self.input.schema();
        if self.clauses.all_rows {
            return Some(vec![(0..schema.fields().len()).collect()]);
        }
        let exprs = self.expressions();
        let mentioned = exprs.iter().flat_map(|e| e.column_refs().into_iter().cloned().collect::<Vec<_>>());
        let places = mentioned.map(|c| schema.maybe_index_of_column(&c)).collect::<Option<BTreeSet<usize>>>()?;
        Some(vec![places.into_iter().collect()])
    }
}
