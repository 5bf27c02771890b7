//! Rows by the number of their key.

use super::Pairs;

/// For each key, by its number, its rows in their order.
#[derive(Debug)]
pub struct Groups {
    /// Where each key's rows begin in `order`; one more at the end.
    starts: Vec<u32>,
    order: Vec<u32>,
}

impl Groups {
    /// Groups rows by their numbers, all below `count`; rows without a number are left out.
    pub fn of(numbers: &[Option<u32>], count: usize) -> Self {
        let mut starts = vec![0u32; count + 1];
        numbers.iter().flatten().for_each(|n| starts[*n as usize + 1] += 1);
        (0..count).for_each(|n| starts[n + 1] += starts[n]);
        let mut next = starts.clone();
        let mut order = vec![0u32; starts[count] as usize];
        for (row, number) in (0u32..).zip(numbers) {
            if let Some(number) = number {
                order[next[*number as usize] as usize] = row;
                next[*number as usize] += 1;
            }
        }
        Self { starts, order }
    }

    /// Each probe, by its key's number, with each row of that key.
    pub fn pairs(&self, probes: &[Option<u32>]) -> Pairs {
        let (mut all, mut found) = (Vec::with_capacity(probes.len()), Vec::with_capacity(probes.len()));
        for (probe, number) in (0u32..).zip(probes) {
            let Some(number) = number else { continue };
            let rows = &self.order[self.starts[*number as usize] as usize..self.starts[*number as usize + 1] as usize];
            all.extend(std::iter::repeat_n(probe, rows.len()));
            found.extend_from_slice(rows);
        }
        Pairs { probes: all.into(), found: found.into() }
    }
}
