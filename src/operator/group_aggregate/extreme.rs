//! MIN and MAX: one value for each group while rows only come, all values where they go again.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt32Array};
use arrow::datatypes::{DataType, UInt32Type};

use super::accumulate::{Accumulator, Kept, Part, Rows, Saved, too_many};
use super::order::{Bytes, Order, Small, Wide};
use crate::state::Remap;
use crate::{Error, Result};

/// MIN or MAX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Least,
    Greatest,
}

/// What MIN and MAX of one argument need to know.
pub(super) struct Extremes {
    pub kept: Kept,
    pub data_type: DataType,
    /// The aggregates.
    pub ends: Vec<End>,
    /// Whether rows may go.
    pub changing: bool,
    /// Whether a value may go that is not there.
    pub lenient: bool,
}

impl Extremes {
    pub fn accumulator(self) -> Result<Box<dyn Accumulator>> {
        let data_type = self.data_type.clone();
        match (Small::of(&data_type), &data_type) {
            (Some(small), _) => Ok(self.over(small)),
            (None, DataType::Decimal128(..)) => Ok(self.over(Wide(data_type))),
            (None, _) => Ok(self.over(Bytes::try_new(&data_type)?)),
        }
    }

    fn over<O: Order + 'static>(self, order: O) -> Box<dyn Accumulator> {
        match self.changing {
            true => Box::new(Ordered { plan: self, order, values: BTreeMap::new() }),
            false => {
                let best = self.ends.iter().map(|_| Vec::new()).collect();
                Box::new(Best { plan: self, order, best })
            }
        }
    }

    fn column<'a>(&self, rows: &'a Rows) -> Result<&'a ArrayRef> {
        let input = self.kept.valid.first().ok_or_else(|| Error::internal("MIN or MAX of nothing"))?;
        rows.input(*input)
    }
}

/// The best value of each group, for each aggregate.
struct Best<O: Order> {
    plan: Extremes,
    order: O,
    best: Vec<Vec<Option<O::Value>>>,
}

impl<O: Order> Accumulator for Best<O> {
    fn grow(&mut self, groups: usize) {
        self.best.iter_mut().for_each(|b| b.resize(groups, None));
    }

    fn update(&mut self, rows: &Rows) -> Result<()> {
        let column = self.order.encode(self.plan.column(rows)?)?;
        let mask = self.plan.kept.mask(rows)?;
        for (end, best) in self.plan.ends.iter().zip(&mut self.best) {
            let better = match end {
                End::Least => Ordering::Less,
                End::Greatest => Ordering::Greater,
            };
            rows.each(mask.as_ref(), |group, row, _| {
                let best = &mut best[group];
                if best.as_ref().is_none_or(|b| O::compare(&column, row, b) == better) {
                    *best = Some(O::value(&column, row));
                }
            });
        }
        Ok(())
    }

    fn evaluate(&mut self, groups: &[u32], out: &mut Vec<ArrayRef>) -> Result<()> {
        for best in &self.best {
            let values: Vec<_> = groups.iter().map(|g| best[*g as usize].as_ref()).collect();
            out.push(self.order.decode(&values)?);
        }
        Ok(())
    }

    fn clear(&mut self, groups: &[u32]) {
        self.best.iter_mut().for_each(|best| groups.iter().for_each(|g| best[*g as usize] = None));
    }

    fn remap(&mut self, remap: &Remap) -> Result<()> {
        self.best.iter_mut().for_each(|best| remap.apply(best));
        Ok(())
    }

    fn parts(&self) -> Vec<Part> {
        vec![Part::one(vec![self.plan.data_type.clone(); self.best.len()])]
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<Saved>> {
        let mut columns = Vec::new();
        self.evaluate(groups, &mut columns)?;
        Ok(vec![Saved { groups: None, columns }])
    }

    fn load(&mut self, _part: usize, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        for (best, column) in self.best.iter_mut().zip(columns) {
            let values = self.order.encode(column)?;
            for (row, group) in groups.iter().enumerate().filter(|(row, _)| column.is_valid(*row)) {
                best[*group as usize] = Some(O::value(&values, row));
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let of = |best: &Vec<Option<O::Value>>| {
            let heap: usize = best.iter().flatten().map(O::heap).sum();
            best.capacity() * size_of::<Option<O::Value>>() + heap
        };
        self.best.iter().map(of).sum()
    }
}

/// All values of all groups in order, with how often each is there: the ends stay known when values go.
struct Ordered<O: Order> {
    plan: Extremes,
    order: O,
    values: BTreeMap<(u32, O::Value), u32>,
}

impl<O: Order> Ordered<O> {
    fn of_group(&self, group: u32) -> impl DoubleEndedIterator<Item = (&(u32, O::Value), &u32)> {
        self.values.range((group, O::least())..(group.saturating_add(1), O::least()))
    }
}

impl<O: Order> Accumulator for Ordered<O> {
    fn grow(&mut self, _groups: usize) {}

    fn update(&mut self, rows: &Rows) -> Result<()> {
        let column = self.order.encode(self.plan.column(rows)?)?;
        let mask = self.plan.kept.mask(rows)?;
        let (values, lenient) = (&mut self.values, self.plan.lenient);
        let mut failed = None;
        rows.each(mask.as_ref(), |group, row, sign| {
            let key = (group as u32, O::value(&column, row));
            if sign > 0 {
                let count = values.entry(key).or_insert(0);
                match count.checked_add(1) {
                    Some(more) => *count = more,
                    None => failed = Some(too_many()),
                }
                return;
            }
            match values.get_mut(&key) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) => {
                    values.remove(&key);
                }
                None if lenient => {}
                None => failed = failed.take().or_else(|| Some(rows.absent(row))),
            }
        });
        failed.map_or(Ok(()), Err)
    }

    fn evaluate(&mut self, groups: &[u32], out: &mut Vec<ArrayRef>) -> Result<()> {
        for end in &self.plan.ends {
            let value = |group: &u32| {
                let mut values = self.of_group(*group);
                let found = match end {
                    End::Least => values.next(),
                    End::Greatest => values.next_back(),
                };
                found.map(|((_, value), _)| value)
            };
            let values: Vec<_> = groups.iter().map(value).collect();
            out.push(self.order.decode(&values)?);
        }
        Ok(())
    }

    fn clear(&mut self, groups: &[u32]) {
        for group in groups {
            let keys: Vec<_> = self.of_group(*group).map(|(key, _)| key.clone()).collect();
            keys.iter().for_each(|key| {
                self.values.remove(key);
            });
        }
    }

    fn remap(&mut self, remap: &Remap) -> Result<()> {
        let values = std::mem::take(&mut self.values);
        let moved = values.into_iter().filter_map(|((group, value), n)| Some(((remap.get(group)?, value), n)));
        self.values = moved.collect();
        Ok(())
    }

    fn parts(&self) -> Vec<Part> {
        vec![Part::many([self.plan.data_type.clone(), DataType::UInt32])]
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<Saved>> {
        let entries = || groups.iter().flat_map(|g| self.of_group(*g));
        let values: Vec<_> = entries().map(|((_, value), _)| Some(value)).collect();
        let counts: UInt32Array = UInt32Array::from_iter_values(entries().map(|(_, n)| *n));
        let columns = vec![self.order.decode(&values)?, Arc::new(counts) as ArrayRef];
        Ok(vec![Saved { groups: Some(entries().map(|((group, _), _)| *group).collect()), columns }])
    }

    fn load(&mut self, _part: usize, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let [column, counts] = columns else { return Err(Error::internal("a state of MIN or MAX in other columns")) };
        let counts = counts.as_primitive::<UInt32Type>();
        let values = self.order.encode(column)?;
        for (row, group) in groups.iter().enumerate() {
            self.values.insert((*group, O::value(&values, row)), counts.value(row));
        }
        Ok(())
    }

    fn entries(&self) -> usize {
        self.values.len()
    }

    fn bytes(&self) -> usize {
        // A tree's nodes are about two thirds full.
        let heap: usize = match std::mem::needs_drop::<O::Value>() {
            true => self.values.keys().map(|(_, v)| O::heap(v)).sum(),
            false => 0,
        };
        self.values.len() * (size_of::<(u32, O::Value)>() + size_of::<u32>()) * 3 / 2 + heap
    }
}
