//! Exact sums of floating-point numbers.
//!
//! What was added can be taken away again only if nothing of it was lost on the way. So a sum is kept as several numbers
//! that do not overlap and whose sum it is exactly (Shewchuk's expansions): two beside each other, which is enough almost
//! always, and what does not fit into these apart. What is read is the exact sum, rounded once: it depends neither on the
//! order in which values came nor on those that have gone again.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, Float32Type, Float64Type, Int64Type};

use super::accumulate::{Kept, Rows};
use super::total::{Sum, argument, wrong_state};
use crate::Result;
use crate::state::Remap;

/// Sums of FLOAT and DOUBLE. NaN and the infinities, which swallow all else, are counted apart.
#[derive(Default)]
pub(super) struct Floats {
    /// By group: how many NaN, how many infinities, how many negative ones.
    special: HashMap<u32, [i64; 3]>,
    /// By group: what does not fit into the pair.
    rest: HashMap<u32, Vec<f64>>,
}

/// A sum as two numbers, the second at most half of the last place of the first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pair {
    sum: f64,
    low: f64,
}

/// The rounded sum, and exactly what rounding lost.
#[inline]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

impl Pair {
    /// Adds a value; gives what no longer fits.
    #[inline]
    fn add(&mut self, value: f64) -> f64 {
        let (sum, low) = two_sum(self.sum, value);
        if !sum.is_finite() {
            *self = Self { sum, low: 0.0 };
            return 0.0;
        }
        let (low, rest) = two_sum(self.low, low);
        (self.sum, self.low) = two_sum(sum, low);
        rest
    }
}

/// Adds a value to numbers that do not overlap, the smallest first.
fn expand(parts: &mut Vec<f64>, value: f64) {
    let mut carried = value;
    let mut kept = 0;
    for i in 0..parts.len() {
        let (sum, lost) = two_sum(carried, parts[i]);
        if lost != 0.0 {
            parts[kept] = lost;
            kept += 1;
        }
        carried = sum;
    }
    parts.truncate(kept);
    if carried != 0.0 {
        parts.push(carried);
    }
}

/// The sum of numbers that do not overlap, the smallest first, rounded once, half to even.
fn rounded(mut parts: Vec<f64>) -> f64 {
    let Some(mut sum) = parts.pop() else { return 0.0 };
    while let Some(part) = parts.pop() {
        let (next, lost) = two_sum(sum, part);
        sum = next;
        if lost != 0.0 {
            // Half of a last place was rounded to even; what follows decides it.
            let decides = parts.last().is_some_and(|p| (*p < 0.0) == (lost < 0.0));
            let (away, error) = two_sum(sum, lost * 2.0);
            return if decides && error == 0.0 && away - sum == lost * 2.0 { away } else { sum };
        }
    }
    sum
}

impl Floats {
    fn special(&mut self, group: usize, value: f64, sign: i64) {
        let counts = self.special.entry(group as u32).or_default();
        let which = if value.is_nan() { 0 } else { 1 + usize::from(value < 0.0) };
        counts[which] += sign;
        if *counts == [0; 3] {
            self.special.remove(&(group as u32));
        }
    }

    fn set_apart(&mut self, group: usize, value: f64) {
        let parts = self.rest.entry(group as u32).or_default();
        expand(parts, value);
        if parts.is_empty() {
            self.rest.remove(&(group as u32));
        }
    }

    fn value(&self, sums: &[Pair], group: u32) -> f64 {
        let Pair { sum, low } = sums[group as usize];
        match self.special.get(&group) {
            Some([0, _, 0]) => return f64::INFINITY,
            Some([0, 0, _]) => return f64::NEG_INFINITY,
            Some(_) => return f64::NAN,
            None => {}
        }
        match self.rest.get(&group) {
            Some(rest) if sum.is_finite() => {
                let mut parts = rest.clone();
                expand(&mut parts, low);
                expand(&mut parts, sum);
                rounded(parts)
            }
            _ => sum,
        }
    }

    fn add<T: ArrowPrimitiveType<Native: Into<f64>>>(
        &mut self,
        sums: &mut [Pair],
        rows: &Rows,
        kept: &Kept,
        counts: &mut [i64],
    ) -> Result<()> {
        let column = argument(rows, kept)?.as_primitive_opt::<T>().ok_or_else(wrong_state)?;
        let values = column.values();
        rows.each(kept.mask(rows)?.as_ref(), |group, row, sign| {
            let value: f64 = values[row].into();
            counts[group] += sign;
            if !value.is_finite() {
                return self.special(group, value, sign);
            }
            let rest = sums[group].add(if sign < 0 { -value } else { value });
            if rest != 0.0 {
                self.set_apart(group, rest);
            }
        });
        Ok(())
    }
}

impl Sum for Floats {
    type Value = Pair;

    fn update(&mut self, sums: &mut [Pair], rows: &Rows, kept: &Kept, counts: &mut [i64]) -> Result<()> {
        match argument(rows, kept)?.data_type() {
            DataType::Float32 => self.add::<Float32Type>(sums, rows, kept, counts),
            _ => self.add::<Float64Type>(sums, rows, kept, counts),
        }
    }

    fn column(&self, sums: &[Pair], groups: &[u32], data_type: &DataType) -> Result<ArrayRef> {
        let values = groups.iter().map(|g| self.value(sums, *g));
        Ok(match data_type {
            DataType::Float32 => Arc::new(PrimitiveArray::<Float32Type>::from_iter_values(values.map(|v| v as f32))),
            _ => Arc::new(Float64Array::from_iter_values(values)),
        })
    }

    fn clear(&mut self, group: u32) {
        self.special.remove(&group);
        self.rest.remove(&group);
    }

    fn remap(&mut self, remap: &Remap) {
        let special = self.special.drain().filter_map(|(group, counts)| Some((remap.get(group)?, counts)));
        self.special = special.collect();
        let rest = self.rest.drain().filter_map(|(group, parts)| Some((remap.get(group)?, parts)));
        self.rest = rest.collect();
    }

    fn bytes(&self) -> usize {
        let parts: usize = self.rest.values().map(|p| p.capacity() * size_of::<f64>() + 32).sum();
        self.special.capacity() * size_of::<(u32, [i64; 3])>() + parts
    }

    fn types() -> Vec<DataType> {
        let rest = DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)));
        vec![DataType::Float64, DataType::Float64, rest, DataType::Int64, DataType::Int64, DataType::Int64]
    }

    fn save(&self, sums: &[Pair], groups: &[u32]) -> Vec<ArrayRef> {
        let floats = |part: fn(&Pair) -> f64| {
            Arc::new(Float64Array::from_iter_values(groups.iter().map(|g| part(&sums[*g as usize])))) as ArrayRef
        };
        let special = |which: usize| {
            let count = |g: &u32| self.special.get(g).map_or(0, |counts| counts[which]);
            Arc::new(Int64Array::from_iter_values(groups.iter().map(count))) as ArrayRef
        };
        let parts = groups.iter().map(|g| self.rest.get(g).map(|parts| parts.iter().copied().map(Some)));
        let rest = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(parts));
        vec![floats(|p| p.sum), floats(|p| p.low), rest, special(0), special(1), special(2)]
    }

    fn load(&mut self, sums: &mut [Pair], groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let float = |c: usize| columns.get(c).and_then(|c| c.as_primitive_opt::<Float64Type>()).ok_or_else(wrong_state);
        let count = |c: usize| columns.get(c).and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(wrong_state);
        let rest = columns.get(2).and_then(|c| c.as_list_opt::<i32>()).ok_or_else(wrong_state)?;
        let (sum, low) = (float(0)?, float(1)?);
        let special = [count(3)?, count(4)?, count(5)?];
        for (row, group) in groups.iter().enumerate() {
            sums[*group as usize] = Pair { sum: sum.value(row), low: low.value(row) };
            let counts = special.map(|c| c.value(row));
            if counts != [0; 3] {
                self.special.insert(*group, counts);
            }
            if rest.is_valid(row) {
                self.rest.insert(*group, rest.value(row).as_primitive::<Float64Type>().values().to_vec());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f64]) -> f64 {
        let (mut floats, mut sums) = (Floats::default(), [Pair::default()]);
        for value in values {
            let rest = sums[0].add(*value);
            if rest != 0.0 {
                floats.set_apart(0, rest);
            }
        }
        floats.value(&sums, 0)
    }

    #[test]
    fn nothing_is_lost() {
        assert_eq!(sum(&[]), 0.0);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[1e300, 0.25, 1e-300, -1e300]), 0.25);
        assert_eq!(sum(&[1e300, 0.25, 1e-300, -1e300, -0.25]), 1e-300);
        assert_eq!(sum(&[1e16, 1.0, 1e-16]), 10_000_000_000_000_002.0);
        assert_eq!(sum(&[1e16, 1.0, -1e-16]), 1e16);
        assert_eq!(sum(&[1e308, 1e308]), f64::INFINITY);
    }
}
