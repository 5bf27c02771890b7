//! From the logical plan to an operator.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr, SortExpr};
use datafusion_physical_expr::expressions::Column;

use super::condition::{Conditions, is_condition};
use super::slots::{Read, Rows, SlotList, read};
use super::{MatchClauses, MatchRecognizeNode, ResultColumn};
use crate::change::TimeSpan;
use crate::operator::calc::Calc;
use crate::operator::match_recognize::{Automaton, MatchRecognize, MatchTime, Measures, Navigation, Output, Program};
use crate::operator::top_n::{OrderColumn, check_order};
use crate::plan::compile::{Compiler, physical};
use crate::runtime::circuit::{Changelog, NodeId, NodeNotes};
use crate::runtime::{Bound, Held, Lifetime};
use crate::{Error, Result};

/// MATCH_RECOGNIZE.
pub(in crate::plan) fn lower(compiler: &mut Compiler, node: &MatchRecognizeNode) -> Result<NodeId> {
    let input = compiler.lower(&node.input)?;
    let before = compiler.circuit.node(input).clone();
    if before.notes.changelog != Changelog::Append {
        return Err(unsupported("its input changes; patterns are found in rows that only come"));
    }
    let clauses = &node.clauses;
    let mut rows = Rows { names: node.input.schema(), before: Arc::clone(&before.schema), exprs: Vec::new() };
    let keys = clauses.partition_by.iter().map(|e| rows.column(e)).collect::<Result<Vec<_>>>()?;
    let (time, order) = order(node, &before.notes, &mut rows)?;
    let automaton = Automaton::try_new(&clauses.pattern)?;
    let mut conditions = Conditions::new(&mut rows, clauses.names.len());
    for (variable, expr) in &clauses.defines {
        if !is_condition(expr, conditions.rows)? {
            let name = &clauses.names[*variable];
            return Err(unsupported(&format!("the definition of {name} is no condition")));
        }
        conditions.define(*variable, expr)?;
    }
    let mut program = conditions.program;
    let measures = measures(node, &mut rows)?;
    (program.before, program.after) = reach(clauses)?;
    check_order(&rows.schema(), &order)?;

    let read = rows.schema();
    let own = rows.exprs.iter().enumerate().filter(|(_, (e, _))| e.downcast_ref::<Column>().is_some());
    let own = own.map(|(at, _)| at).collect();
    let projection = rows.exprs.iter().map(|(e, _)| Arc::clone(e)).collect();
    let rowtimes = if let MatchTime::Rowtime(column) = time { vec![column] } else { Vec::new() };
    let notes = NodeNotes { detail: "for MATCH_RECOGNIZE".into(), rowtimes, ..NodeNotes::default() };
    let calc = Calc::try_new(&before.schema, None, projection, Arc::clone(&read))?;
    let prepared = compiler.operator(calc, vec![input], Arc::clone(&read), notes);
    let prepared = compiler.exchange(prepared, keys.clone());

    let schema = Arc::new(Schema::new(result_fields(node, &rows)?));
    let timed = |wanted: fn(&Expr) -> bool| {
        let columns = node.columns().into_iter().enumerate();
        let timed = columns.filter(|(_, c)| matches!(c, ResultColumn::Measure(n) if wanted(&clauses.measures[*n].1)));
        timed.map(|(at, _)| at).collect::<Vec<_>>()
    };
    let notes = NodeNotes {
        detail: detail(node, &read, &keys, program.after),
        rowtimes: match time == MatchTime::Arrival || end_tells(clauses, &automaton, &program) {
            true => Vec::new(),
            false => timed(is_match_time),
        },
        proctimes: timed(is_proctime),
        bound: Some(bound(node, &read, &keys, time, measures.numbered(), &program)),
        ..NodeNotes::default()
    };
    let factory = MatchRecognize {
        keys,
        time,
        order,
        automaton: Arc::new(automaton),
        program: Arc::new(program),
        names: clauses.names.clone().into(),
        within: clauses.within,
        skip: clauses.skip.clone(),
        measures: Arc::new(measures),
        input: read,
        own,
        schema: Arc::clone(&schema),
    };
    Ok(compiler.operator(factory, vec![prepared], schema, notes))
}

fn unsupported(message: &str) -> Error {
    Error::Unsupported(format!("MATCH_RECOGNIZE: {message}"))
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

fn is_match_time(expr: &Expr) -> bool {
    matches!(read(unaliased(expr)), Some(Read::Time))
}

fn is_proctime(expr: &Expr) -> bool {
    matches!(unaliased(expr), Expr::ScalarFunction(call) if call.name().eq_ignore_ascii_case("proctime"))
}

/// The time that rows are ordered by, and what orders those of one time.
fn order(node: &MatchRecognizeNode, notes: &NodeNotes, rows: &mut Rows<'_>) -> Result<(MatchTime, Vec<OrderColumn>)> {
    let [first, rest @ ..] = node.clauses.order_by.as_slice() else {
        return Err(unsupported("it needs ORDER BY a time attribute"));
    };
    let place = |e: &Expr| e.try_as_col().and_then(|c| node.input.schema().maybe_index_of_column(c));
    let place = place(&first.expr).filter(|_| first.asc);
    let time = match place {
        Some(place) if notes.rowtimes.contains(&place) => MatchTime::Rowtime(rows.column(&first.expr)?),
        Some(place) if notes.proctimes.contains(&place) => MatchTime::Arrival,
        _ => {
            let message = "ORDER BY must begin with a time attribute, ascending: a column with a WATERMARK in its table, \
                           passed on unchanged, or PROCTIME()";
            return Err(unsupported(message));
        }
    };
    let column = |o: &SortExpr| {
        let column = rows.column(&o.expr)?;
        Ok(OrderColumn { column, descending: !o.asc, nulls_first: o.nulls_first })
    };
    // By arrival no two rows tie.
    let rest = if time == MatchTime::Arrival { &[] } else { rest };
    Ok((time, rest.iter().map(column).collect::<Result<Vec<_>>>()?))
}

fn measures(node: &MatchRecognizeNode, rows: &mut Rows<'_>) -> Result<Measures> {
    let mut slots = SlotList::default();
    let exprs = node.clauses.measures.iter().map(|(_, e)| slots.expression(e, rows)).collect::<Result<Vec<_>>>()?;
    let schema = slots.schema()?;
    let inputs = node.input.schema().columns();
    let output = |column: ResultColumn<'_>| {
        Ok(match column {
            ResultColumn::Row(expr) => Output::Column(rows.column(expr)?),
            ResultColumn::Input(place) => Output::Column(rows.column(&Expr::Column(inputs[place].clone()))?),
            ResultColumn::Measure(nth) => Output::Measure(physical(&exprs[nth], &schema)?),
        })
    };
    let outputs = node.columns().into_iter().map(output).collect::<Result<Vec<_>>>()?;
    let clauses = &node.clauses;
    Ok(Measures { slots: slots.finish(), outputs, all_rows: clauses.all_rows, empty: clauses.empty })
}

/// How many rows before those of a match conditions and measures look back, and how many behind them they look ahead.
fn reach(clauses: &MatchClauses) -> Result<(u64, u64)> {
    let (mut before, mut after) = (0, 0);
    let defines = clauses.defines.iter().map(|(_, e)| e);
    for expr in defines.chain(clauses.measures.iter().map(|(_, e)| e)) {
        expr.apply(|e| {
            if let Some(Read::Value(Navigation { shift, .. }, _) | Read::Classifier(Navigation { shift, .. })) = read(e)
            {
                before = before.max(shift.saturating_neg());
                after = after.max(*shift);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok((before.unsigned_abs(), after.unsigned_abs()))
}

/// Whether a match may be told by the end of the input alone. It comes too late then for what follows the watermark.
fn end_tells(clauses: &MatchClauses, automaton: &Automaton, program: &Program) -> bool {
    let pattern = &clauses.pattern;
    // With fewer rows than a match has the end tells nothing.
    let one_length = pattern.longest() == Some(pattern.shortest());
    program.after > 0 || !(automaton.first_counts || clauses.within.is_some() || one_length)
}

/// The result's columns, with the types that expressions really give.
fn result_fields(node: &MatchRecognizeNode, rows: &Rows<'_>) -> Result<Vec<arrow::datatypes::FieldRef>> {
    use datafusion_expr::UserDefinedLogicalNodeCore;
    let typed = |(column, field): (ResultColumn<'_>, &arrow::datatypes::FieldRef)| {
        let expr = match column {
            ResultColumn::Measure(_) => return Ok(Arc::clone(field)),
            ResultColumn::Row(expr) => expr.clone(),
            ResultColumn::Input(place) => Expr::Column(node.input.schema().columns()[place].clone()),
        };
        let expr = physical(&expr, rows.names)?;
        let data_type: DataType = expr.data_type(&rows.before)?;
        Ok(Arc::new(field.as_ref().clone().with_data_type(data_type).with_nullable(true)))
    };
    node.columns().into_iter().zip(node.schema().fields()).map(typed).collect()
}

fn names(schema: &Schema, keys: &[usize]) -> String {
    keys.iter().map(|k| schema.field(*k).name().as_str()).collect::<Vec<_>>().join(", ")
}

fn detail(node: &MatchRecognizeNode, read: &Schema, keys: &[usize], after: u64) -> String {
    let clauses = &node.clauses;
    let mut detail = format!("partition=[{}], variables=[{}]", names(read, keys), clauses.names.join(", "));
    if let Some(within) = clauses.within {
        detail.push_str(&format!(", within={}", TimeSpan(within)));
    }
    if after > 0 {
        detail.push_str(&format!(", rows ahead={after}"));
    }
    detail
}

/// What bounds the state.
fn bound(
    node: &MatchRecognizeNode,
    read: &Schema,
    keys: &[usize],
    time: MatchTime,
    numbered: bool,
    program: &Program,
) -> Bound {
    let names = || keys.iter().map(|k| read.field(*k).name());
    let (before, after) = (program.before, program.after);
    let span = |millis| match after {
        0 => Lifetime::Span(millis, "WITHIN"),
        rows => Lifetime::SpanBefore { millis, clause: "WITHIN", rows },
    };
    let partial = match (node.clauses.within, node.clauses.pattern.longest()) {
        (_, Some(rows)) => Held::at_most(rows, "row").per(names()),
        (Some(within), None) => Held::rows("the input").lives(span(within)).per(names()),
        (None, None) => Held::rows("partial matches").per(names()),
    };
    let beside = [(before, "earlier row"), (after, "later row")];
    let looked_at = beside.into_iter().filter(|(rows, _)| *rows > 0);
    let looked_at = looked_at.map(|(rows, unit)| Held::at_most(rows, unit).per(names()));
    let count = numbered.then(|| Held::at_most(1, "count").per(names()));
    let ahead = (time != MatchTime::Arrival).then(|| Held::rows("the input").lives(Lifetime::Watermark));
    Bound::of([partial].into_iter().chain(looked_at).chain(count).chain(ahead))
}
