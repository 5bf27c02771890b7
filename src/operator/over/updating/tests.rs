use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_expr::{WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition};
use datafusion_functions_aggregate::sum::sum_udaf;
use datafusion_functions_window::{lead_lag, rank, row_number};
use datafusion_physical_expr::expressions::{Column, Literal};
use datafusion_physical_expr::window::WindowExpr;
use datafusion_physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion_physical_plan::windows::create_window_expr;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::change::{ChangeBatch, RowKind};
use crate::operator::OperatorFactory;
use crate::operator::over::OverUpdating;
use crate::operator::over::testing::{Folded, Row, rebuilt, rows, step, text};

type Plain = (Option<i64>, i64, Option<i64>);

fn input() -> SchemaRef {
    rows(&[]).schema()
}

fn options() -> SortOptions {
    SortOptions { descending: true, nulls_first: false }
}

fn function(f: WindowFunctionDefinition, args: Vec<Arc<dyn PhysicalExpr>>, frame: WindowFrame) -> Arc<dyn WindowExpr> {
    let order = PhysicalSortExpr::new(Arc::new(Column::new("v", 2)), options());
    let key: Arc<dyn PhysicalExpr> = Arc::new(Column::new("k", 0));
    create_window_expr(&f, "f".into(), &args, &[key], &[order], Arc::new(frame), input(), false, false, None).unwrap()
}

fn number(n: u64) -> ScalarValue {
    ScalarValue::UInt64(Some(n))
}

fn plan(by_content: bool, distinct: bool, ttl: Option<i64>) -> OverUpdating {
    let udwf = WindowFunctionDefinition::WindowUDF;
    let t: Arc<dyn PhysicalExpr> = Arc::new(Column::new("t", 1));
    let v: Arc<dyn PhysicalExpr> = Arc::new(Column::new("v", 2));
    let two: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::Int64(Some(2))));
    let whole = || WindowFrame::new(Some(true));
    let around = WindowFrame::new_bounds(
        WindowFrameUnits::Rows,
        WindowFrameBound::Preceding(number(1)),
        WindowFrameBound::Following(number(1)),
    );
    let functions = vec![
        function(udwf(row_number::row_number_udwf()), vec![], whole()),
        function(udwf(rank::rank_udwf()), vec![], whole()),
        function(WindowFunctionDefinition::AggregateUDF(sum_udaf()), vec![v], around),
        function(udwf(lead_lag::lead_udwf()), vec![t, two], whole()),
    ];
    let results = functions
        .iter()
        .enumerate()
        .map(|(i, f)| Arc::new(f.field().unwrap().as_ref().clone().with_name(format!("r{i}")).with_nullable(true)));
    let results: Vec<Arc<Field>> = results.collect();
    let schema = Arc::new(Schema::new(input().fields().iter().cloned().chain(results).collect::<Vec<_>>()));
    let order = vec![(2, options())];
    let reach = None;
    OverUpdating { keys: vec![0], order, functions, reach, width: 3, by_content, distinct, ttl, input: input(), schema }
}

/// The answer over some rows, in the order of arrival or, where that is of no meaning, of what they hold.
fn answer(table: &[Plain], by_content: bool) -> Vec<Row> {
    let mut keys: Vec<Option<i64>> = table.iter().map(|r| r.0).collect();
    keys.sort();
    keys.dedup();
    let mut all = Vec::new();
    for key in keys {
        let mut rows: Vec<Plain> = table.iter().filter(|r| r.0 == key).copied().collect();
        if by_content {
            rows.sort();
        }
        rows.sort_by_key(|r| std::cmp::Reverse(r.2));
        for (at, row) in rows.iter().enumerate() {
            let rank = rows.iter().position(|r| r.2 == row.2).unwrap() + 1;
            let around = &rows[at.saturating_sub(1)..(at + 2).min(rows.len())];
            let sum = around.iter().filter_map(|r| r.2).reduce(|a, b| a + b);
            let lead = rows.get(at + 2).map(|r| r.1);
            all.push(vec![
                text(row.0),
                row.1.to_string(),
                text(row.2),
                (at + 1).to_string(),
                rank.to_string(),
                text(sum),
                text(lead),
            ]);
        }
    }
    all.sort();
    all
}

/// The same without the functions whose answers depend on rows far away.
fn local(mut plan: OverUpdating) -> OverUpdating {
    plan.functions.drain(..2);
    let left: Vec<usize> = vec![0, 1, 2, 5, 6];
    plan.schema = Arc::new(plan.schema.project(&left).unwrap());
    plan.reach = Some((1, 2));
    plan
}

fn check(seed: u64, changing: bool) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let by_content = changing || rng.random_bool(0.5);
    let is_local = rng.random_bool(0.5);
    let factory = plan(by_content, false, None);
    let factory = if is_local { local(factory) } else { factory };
    let mut operator = factory.build().unwrap();
    let (mut table, mut folded) = (Vec::<Plain>::new(), Folded::default());
    let (keys, values) = (rng.random_range(1..4), rng.random_range(1..8));
    for _ in 0..rng.random_range(1..40) {
        let mut batches = Vec::new();
        for _ in 0..rng.random_range(0..3) {
            let (mut new, mut kinds) = (Vec::new(), Vec::new());
            for _ in 0..rng.random_range(0..8) {
                if changing && !table.is_empty() && rng.random_bool(0.4) {
                    new.push(table.swap_remove(rng.random_range(0..table.len())));
                    kinds.push([RowKind::Delete, RowKind::UpdateBefore][rng.random_range(0..2)]);
                    continue;
                }
                let key = rng.random_bool(0.9).then(|| rng.random_range(0..keys));
                new.push((key, rng.random_range(0..3), rng.random_bool(0.8).then(|| rng.random_range(0..values))));
                table.push(*new.last().unwrap());
                kinds.push([RowKind::Insert, RowKind::UpdateAfter][rng.random_range(0..2)]);
            }
            let kinds = changing.then(|| kinds.into());
            batches.push(ChangeBatch { rows: rows(&new), kinds, watermarks: None });
        }
        folded.step(&step(operator.as_mut(), batches, i64::MIN, 0), seed);
        let mut expected = answer(&table, by_content);
        if is_local {
            expected.iter_mut().for_each(|row| drop(row.drain(3..5)));
            expected.sort();
        }
        assert_eq!(folded.rows(), expected, "seed {seed}");
        if rng.random_bool(0.2) {
            operator = rebuilt(&factory, operator.as_mut());
        }
    }
}

#[test]
fn results_follow_the_rows() {
    for seed in 0..300 {
        check(seed, seed % 2 == 0);
    }
}

#[test]
fn a_row_that_never_came_cannot_go() {
    let mut operator = plan(true, false, None).build().unwrap();
    let gone =
        ChangeBatch { rows: rows(&[(Some(1), 2, Some(77))]), kinds: Some([RowKind::Delete].into()), watermarks: None };
    let time =
        crate::operator::StepTime { inputs: vec![], watermark: crate::change::Watermark::MIN, processing_time: 0 };
    let mut out = Vec::new();
    operator.push(0, gone.clone(), &mut out).unwrap();
    let error = operator.advance(&time, &mut out).unwrap_err().to_string();
    assert!(error.contains("v = 77"), "{error}");

    let mut operator = plan(true, false, Some(10)).build().unwrap();
    assert!(step(operator.as_mut(), vec![gone], i64::MIN, 0).is_empty());
}

#[test]
fn partitions_expire() {
    let factory = plan(false, false, Some(10));
    let mut operator = factory.build().unwrap();
    let row = |v| vec![ChangeBatch::append(rows(&[(Some(1), 0, Some(v))]))];
    let count = |out: &[ChangeBatch]| out.iter().map(ChangeBatch::num_rows).sum::<usize>();
    assert_eq!(count(&step(operator.as_mut(), row(5), i64::MIN, 0)), 1);
    let mut operator = rebuilt(&factory, operator.as_mut());
    // The row above the other gets a new row beside it: one comes, one changes.
    assert_eq!(count(&step(operator.as_mut(), row(6), i64::MIN, 9)), 3);
    assert_eq!(count(&step(operator.as_mut(), row(7), i64::MIN, 19)), 1);
    assert_eq!(operator.stats().state_rows, 1);
}

/// One partition with very many rows, in small steps: what a row costs does not grow with them.
#[test]
fn a_hot_partition_is_not_quadratic() {
    for by_content in [false, true] {
        let mut operator = local(plan(by_content, false, None)).build().unwrap();
        let mut folded = 0;
        for at in 0..1000i64 {
            let new: Vec<_> = (0..100).map(|i| (Some(1), at, Some((at * 7919 + i * 104_729) % 100_003))).collect();
            let out = step(operator.as_mut(), vec![ChangeBatch::append(rows(&new))], i64::MIN, 0);
            let signs = out.iter().flat_map(|b| (0..b.num_rows()).map(|i| b.kind(i).is_addition()));
            folded += signs.map(|added| if added { 1 } else { -1 }).sum::<i64>();
        }
        assert_eq!(folded, 100_000);
    }
}
