//! Disorder and repetitions, by a seed: what a script's tables tolerate.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, UInt32Array};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::action::Action;
use super::program::{ALL_TABLES, Op, Program};
use crate::Result;
use crate::change::ChangeBatch;
use crate::operator::watermark::WatermarkStrategy;
use crate::runtime::circuit::SourceSpec;
use crate::table::project;

/// Of how many rows one is repeated.
const REPEATED: f64 = 1.0 / 3.0;

/// A row's time and the watermark that it brings.
#[derive(Debug, Clone, Copy)]
struct Time {
    at: i64,
    mark: i64,
}

/// Neighbouring rows of one table that may change places: no expectation, watermark or clock stands between them.
struct Stretch {
    table: String,
    /// Where they stand: the operation and the action in it.
    places: Vec<(usize, usize)>,
    rows: Vec<ChangeBatch>,
    /// The watermark before them.
    before: i64,
}

/// The program with rows shuffled, no row late that was not, and late ones late where they were.
pub(super) fn shuffled(program: &Program, seed: u64) -> Result<Vec<Op>> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut ops = program.ops.clone();
    for stretch in stretches(program, &program.disorder)? {
        let lengths: Vec<usize> = stretch.rows.iter().map(ChangeBatch::num_rows).collect();
        let rows = ChangeBatch::concat(stretch.rows)?;
        if rows.kinds.is_some() {
            // What changes is changed in order.
            continue;
        }
        let times = times(program, &stretch.table, &rows)?;
        let order = shuffle(&times, stretch.before, &mut rng);
        let mut rows = rows.take(&UInt32Array::from(order))?;
        for (place, length) in stretch.places.iter().zip(lengths) {
            let rest = rows.num_rows() - length;
            put(&mut ops, *place, rows.slice(0, length));
            rows = rows.slice(length, rest);
        }
    }
    Ok(ops)
}

/// The program with rows repeated: at once where rows change, else perhaps later, and not late where the row was not.
pub(super) fn repeated(program: &Program, seed: u64) -> Result<Vec<Op>> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut ops = program.ops.clone();
    for stretch in stretches(program, &program.duplicates)? {
        let lengths: Vec<usize> = stretch.rows.iter().map(ChangeBatch::num_rows).collect();
        let rows = ChangeBatch::concat(stretch.rows)?;
        let times = times(program, &stretch.table, &rows)?;
        // For each row those that follow it, itself first.
        let mut behind: Vec<Vec<u32>> = (0..rows.num_rows() as u32).map(|row| vec![row]).collect();
        let marks = watermarks(&times, stretch.before);
        for row in 0..rows.num_rows() {
            if rng.random_bool(REPEATED) {
                let later = if appends(program, &stretch.table) { rng.random_range(row..rows.num_rows()) } else { row };
                // The watermark behind the row `later` is the one before its successor.
                let is_late = times[row].at <= marks[later + 1];
                behind[if is_late { row } else { later }].push(row as u32);
            }
        }
        let mut from = 0;
        for (place, length) in stretch.places.iter().zip(lengths) {
            let order: UInt32Array = behind[from..from + length].iter().flatten().copied().collect();
            put(&mut ops, *place, rows.take(&order)?);
            from += length;
        }
    }
    Ok(ops)
}

/// The stretches of tables that tolerate something.
fn stretches(program: &Program, tolerant: &BTreeSet<String>) -> Result<Vec<Stretch>> {
    let mut done = Vec::new();
    let mut open: BTreeMap<String, Stretch> = BTreeMap::new();
    let mut watermarks: BTreeMap<String, i64> = BTreeMap::new();
    for (at, op) in program.ops.iter().enumerate() {
        let Op::Step(actions) = op else {
            done.extend(std::mem::take(&mut open).into_values());
            continue;
        };
        for (i, action) in actions.iter().enumerate() {
            match action {
                Action::Rows(table, rows) if tolerant.contains(ALL_TABLES) || tolerant.contains(table) => {
                    let watermark = watermarks.entry(table.clone()).or_insert(i64::MIN);
                    let fresh = || Stretch { table: table.clone(), places: vec![], rows: vec![], before: *watermark };
                    let stretch = open.entry(table.clone()).or_insert_with(fresh);
                    stretch.places.push((at, i));
                    stretch.rows.push(rows.clone());
                    let marks = times(program, table, rows)?.into_iter().map(|t| t.mark);
                    *watermark = marks.fold(*watermark, i64::max);
                }
                Action::Rows(..) => {}
                Action::Watermark(table, millis) => {
                    let watermark = watermarks.entry(table.clone()).or_insert(i64::MIN);
                    *watermark = (*watermark).max(*millis);
                    done.extend(open.remove(table));
                }
                Action::Stands(..) | Action::Clock(_) => done.extend(std::mem::take(&mut open).into_values()),
            }
        }
    }
    done.extend(open.into_values());
    Ok(done)
}

fn put(ops: &mut [Op], (op, action): (usize, usize), new: ChangeBatch) {
    if let Op::Step(actions) = &mut ops[op]
        && let Action::Rows(_, rows) = &mut actions[action]
    {
        *rows = new;
    }
}

/// How a table is read, if any query does.
fn source<'a>(program: &'a Program, table: &str) -> Option<&'a SourceSpec> {
    let mut sources = program.circuits.iter().flat_map(|c| &c.circuit.sources);
    sources.find(|s| s.table.name == table)
}

fn appends(program: &Program, table: &str) -> bool {
    let changes = |s: &SourceSpec| s.connector.changelog(&s.table).is_ok_and(|c| c != Default::default());
    !source(program, table).is_some_and(changes)
}

/// Rows' times. Where the table has no watermark, none is late and none brings one.
fn times(program: &Program, table: &str, rows: &ChangeBatch) -> Result<Vec<Time>> {
    let without = || vec![Time { at: i64::MAX, mark: i64::MIN }; rows.num_rows()];
    let Some(source) = source(program, table) else { return Ok(without()) };
    let Some(strategy) = &source.watermark else { return Ok(without()) };
    let strategy: &WatermarkStrategy = strategy;
    let (at, marks) = strategy.times(&project(&rows.rows, &source.projection)?)?;
    let valid = |array: &arrow::array::Int64Array, row: usize, or: i64| {
        if array.is_valid(row) { array.value(row) } else { or }
    };
    let time = |row| Time { at: valid(&at, row, i64::MAX), mark: valid(&marks, row, i64::MIN) };
    Ok((0..rows.num_rows()).map(time).collect())
}

/// The watermark before each row, and last the one behind all.
fn watermarks(times: &[Time], before: i64) -> Vec<i64> {
    let mut all = vec![before];
    all.extend(times.iter().scan(before, |watermark, time| {
        *watermark = time.mark.max(*watermark);
        Some(*watermark)
    }));
    all
}

/// An order in which the same rows are late. Late rows stay where they are, and no row passes one.
fn shuffle(times: &[Time], before: i64, rng: &mut Xoshiro256PlusPlus) -> Vec<u32> {
    let marks = watermarks(times, before);
    let mut order = Vec::with_capacity(times.len());
    let mut run: Vec<u32> = Vec::new();
    for (row, time) in times.iter().enumerate() {
        if time.at <= marks[row] {
            shuffle_run(times, &mut run, &mut order, rng);
            order.push(row as u32);
        } else {
            run.push(row as u32);
        }
    }
    shuffle_run(times, &mut run, &mut order, rng);
    order
}

/// Takes rows one by one at random, among those after which no other is late.
fn shuffle_run(times: &[Time], run: &mut Vec<u32>, order: &mut Vec<u32>, rng: &mut Xoshiro256PlusPlus) {
    while !run.is_empty() {
        let allowed = |i: &usize| {
            let mark = times[run[*i] as usize].mark;
            run.iter().enumerate().all(|(j, other)| j == *i || times[*other as usize].at > mark)
        };
        let candidates: Vec<usize> = (0..run.len()).filter(allowed).collect();
        // With a watermark that follows no order there may be none: then the rest stays as it is.
        match candidates.len() {
            0 => order.append(run),
            n => order.push(run.remove(candidates[rng.random_range(0..n)])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows at these seconds, with a watermark so many seconds behind.
    fn rows(seconds: &[i64], delay: i64) -> Vec<Time> {
        seconds.iter().map(|s| Time { at: *s, mark: s - delay }).collect()
    }

    fn late(times: &[Time], order: &[u32]) -> BTreeSet<u32> {
        let ordered: Vec<Time> = order.iter().map(|row| times[*row as usize]).collect();
        let marks = watermarks(&ordered, i64::MIN);
        let is_late = |(i, _): &(usize, &u32)| ordered[*i].at <= marks[*i];
        order.iter().enumerate().filter(is_late).map(|(_, row)| *row).collect()
    }

    #[test]
    fn the_same_rows_are_late_in_any_order() {
        let times = rows(&[1, 4, 2, 9, 3, 8, 12, 10, 6, 30, 29, 31], 4);
        let written: Vec<u32> = (0..12).collect();
        let mut orders = BTreeSet::new();
        for seed in 0..50 {
            let order = shuffle(&times, i64::MIN, &mut Xoshiro256PlusPlus::seed_from_u64(seed));
            assert_eq!(late(&times, &order), late(&times, &written), "{order:?}");
            let mut sorted = order.clone();
            sorted.sort();
            assert_eq!(sorted, written);
            orders.insert(order);
        }
        assert_eq!(late(&times, &written), BTreeSet::from([4, 8]));
        assert!(orders.len() > 10, "{orders:?}");
    }

    #[test]
    fn without_a_delay_nothing_moves() {
        let times = rows(&[1, 2, 5, 9], 0);
        let order = shuffle(&times, i64::MIN, &mut Xoshiro256PlusPlus::seed_from_u64(1));
        assert_eq!(order, [0, 1, 2, 3]);
    }
}
