//! The state of a [`Matcher`] as columns. Searches are not written: from the rows they are made anew.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};

use super::{MatchTime, Matcher, Scalar};
use crate::operator::match_recognize::partition::{Found, Partition, Reached};
use crate::operator::match_recognize::tape::Held;
use crate::operator::top_n::frozen::{split_columns, with_columns};
use crate::state::{Placement, StateTable};
use crate::{Error, Result};

/// How many rows of state stand in one batch.
const BATCH_ROWS: usize = 8192;

/// A row of a partition, as it comes back.
struct Thawed {
    key: u32,
    place: i64,
    row: Held,
    passed: bool,
    cells: Vec<Scalar>,
}

impl Matcher {
    pub(super) fn freeze(&mut self) -> Result<Vec<StateTable>> {
        let keyed = |columns: Vec<usize>| if columns.is_empty() { Placement::First } else { Placement::Key(columns) };
        let placement = keyed(self.plan.keys.clone());
        let reached: ArrayRef = Arc::new(Int64Array::from(vec![self.reached]));
        Ok(vec![
            StateTable {
                name: "reached".into(),
                placement: Placement::All,
                rows: vec![RecordBatch::try_from_iter([("time", reached)])?],
            },
            StateTable {
                name: "partitions".into(),
                placement: keyed((0..self.plan.keys.len()).collect()),
                rows: self.freeze_partitions()?,
            },
            StateTable { name: "held".into(), placement: placement.clone(), rows: self.freeze_held()? },
            StateTable { name: "waiting".into(), placement, rows: self.freeze_waiting()? },
        ])
    }

    /// How many matches there have been, by key.
    fn freeze_partitions(&self) -> Result<Vec<RecordBatch>> {
        let counted =
            self.partitions.iter().zip(0u32..).filter(|(p, _)| p.matches > 0 && self.plan.measures.numbered());
        let counted: Vec<(i64, u32)> = counted.map(|(p, key)| (p.matches, key)).collect();
        let batch = |part: &[(i64, u32)]| {
            let mut columns = self.keys.take(&part.iter().map(|(_, key)| *key).collect::<Vec<_>>())?;
            columns.push(Arc::new(Int64Array::from_iter_values(part.iter().map(|(matches, _)| *matches))));
            let named = columns.into_iter().enumerate().map(|(i, c)| (format!("c{i}"), c, true));
            Ok(RecordBatch::try_from_iter_with_nullable(named)?)
        };
        counted.chunks(BATCH_ROWS).map(batch).collect()
    }

    /// The partitions' rows in the order of arrival, with their times, their places, and whether the search begins behind them.
    fn freeze_held(&self) -> Result<Vec<RecordBatch>> {
        let mut rows: Vec<(Held, i64, bool)> = Vec::new();
        for partition in &self.partitions {
            let begin = partition.tape.begin();
            let held = partition.tape.held().iter().zip(begin..);
            rows.extend(held.map(|(row, ordinal)| (*row, (ordinal - begin) as i64, ordinal < partition.start)));
        }
        rows.sort_by_key(|(row, ..)| row.id);
        let batch = |part: &[(Held, i64, bool)]| {
            let ids: Vec<u32> = part.iter().map(|(row, ..)| row.id).collect();
            let times: ArrayRef = Arc::new(Int64Array::from_iter_values(part.iter().map(|(row, ..)| row.time)));
            let places: ArrayRef = Arc::new(Int64Array::from_iter_values(part.iter().map(|(_, place, _)| *place)));
            let passed: ArrayRef = Arc::new(part.iter().map(|(.., passed)| Some(*passed)).collect::<BooleanArray>());
            with_columns(self.store.take(&ids)?, [("$time", times), ("$place", places), ("$passed", passed)])
        };
        rows.chunks(BATCH_ROWS).map(batch).collect()
    }

    fn freeze_waiting(&self) -> Result<Vec<RecordBatch>> {
        let mut ids = self.queue.ids();
        ids.sort_unstable();
        ids.chunks(BATCH_ROWS).map(|ids| self.store.take(ids)).collect()
    }

    pub(super) fn thaw(&mut self, tables: Vec<StateTable>) -> Result<()> {
        let mut held = Vec::new();
        for name in ["reached", "partitions", "held", "waiting"] {
            let batches = tables.iter().filter(|t| t.name == name).flat_map(|t| &t.rows);
            for rows in batches {
                match name {
                    "reached" => {
                        let marks = rows.column(0).as_primitive_opt::<Int64Type>();
                        let mark = marks.and_then(|m| m.iter().flatten().max());
                        self.reached = self.reached.max(mark.unwrap_or(i64::MIN));
                    }
                    "partitions" => self.thaw_partitions(rows)?,
                    "held" => self.thaw_held(rows, &mut held)?,
                    _ => {
                        let MatchTime::Rowtime(_) = self.plan.time else {
                            return Err(Error::internal("rows that wait for a watermark, ordered by processing time"));
                        };
                        let first = self.store.append(rows)?;
                        if let Some(times) = self.times(rows)? {
                            self.queue.push(first, times.values());
                        }
                    }
                }
            }
        }
        self.place_held(held);
        self.search_again()
    }

    fn thaw_keys(&mut self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let mut keys = Vec::new();
        self.keys.intern(columns, rows, &mut keys)?;
        self.partitions.resize_with(self.keys.len(), Partition::default);
        Ok(keys)
    }

    fn thaw_partitions(&mut self, rows: &RecordBatch) -> Result<()> {
        let (columns, matches) = rows.columns().split_at(self.plan.keys.len());
        let keys = self.thaw_keys(columns, rows.num_rows())?;
        let matches = matches.first().and_then(|m| m.as_primitive_opt::<Int64Type>());
        let matches = matches.ok_or_else(|| Error::internal("partitions without their counts"))?;
        for (key, matches) in keys.iter().zip(matches.values()) {
            self.partitions[*key as usize].matches = *matches;
        }
        Ok(())
    }

    /// Takes rows of partitions into the store; `held` gets them with their partitions, places and values.
    fn thaw_held(&mut self, rows: &RecordBatch, held: &mut Vec<Thawed>) -> Result<()> {
        let input: SchemaRef = Arc::clone(&self.plan.input);
        let (own, more) = split_columns(rows, input.fields().len())?;
        let number = |at: usize| more.get(at).and_then(|c: &ArrayRef| c.as_primitive_opt::<Int64Type>());
        let passed = more.get(2).and_then(|p| p.as_boolean_opt());
        let (Some(times), Some(places), Some(passed)) = (number(0), number(1), passed) else {
            return Err(Error::internal("rows of a partition without their times and places"));
        };
        let first = self.store.append(&own)?;
        let columns: Vec<ArrayRef> = self.plan.keys.iter().map(|c| Arc::clone(own.column(*c))).collect();
        let keys = self.thaw_keys(&columns, own.num_rows())?;
        self.fill_cells(&own);
        held.extend(keys.iter().enumerate().map(|(at, key)| Thawed {
            key: *key,
            place: places.value(at),
            row: Held { id: first + at as u32, time: times.value(at) },
            passed: passed.value(at),
            cells: self.cells.iter().map(|cell| cell[at]).collect(),
        }));
        Ok(())
    }

    fn place_held(&mut self, mut held: Vec<Thawed>) {
        held.sort_by_key(|row| (row.key, row.place));
        for row in held {
            let partition = &mut self.partitions[row.key as usize];
            partition.tape.push(row.row, row.cells.into_iter());
            partition.start += u64::from(row.passed);
        }
    }

    /// Brings the searches to where they stood.
    fn search_again(&mut self) -> Result<()> {
        self.touched =
            self.partitions.iter().zip(0u32..).filter(|(p, _)| p.tape.len() > 0).map(|(_, key)| key).collect();
        for key in &self.touched {
            self.partitions[*key as usize].touched = true;
        }
        let mut found = Found::default();
        self.search(Reached { time: self.reached, ended: false }, &mut found)?;
        match found.matches.is_empty() {
            true => Ok(()),
            false => Err(Error::internal("a match in rows that had been searched before")),
        }
    }
}
