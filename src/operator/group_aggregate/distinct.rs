//! DISTINCT: one table of values for all aggregates over the same argument.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, UInt32Type};

use super::accumulate::{Accumulator, Kept, Part, Rows, Saved, too_many};
use super::values::Values;
use crate::state::Remap;
use crate::{Error, Result};

/// With fewer values gone it is not worth while to number the others anew.
const COMPACT_FROM: usize = 4096;
/// How many filters one table has room for.
pub(super) const MAX_FILTERS: usize = 32;

/// What a table is about.
pub(super) struct Table {
    /// The argument's inputs.
    pub inputs: Vec<usize>,
    /// Their types.
    pub types: Vec<DataType>,
    /// The different filters of the aggregates.
    pub filters: Vec<Option<usize>>,
    /// Whether rows may go.
    pub changing: bool,
    /// Whether groups expire: then a row may be taken away that is not there.
    pub expires: bool,
}

/// The distinct values of each group, and how often each is there by each filter. The aggregates see a value once: when it
/// comes for the first time, and when it goes for the last.
pub(super) struct Distinct {
    table: Table,
    /// Groups and values.
    values: Values,
    counts: Counts,
    /// How many values are there by any filter; with those of groups that have expired since.
    live: usize,
    /// By group, where groups expire: how often it was cleared, and how many values it has.
    lives: Vec<(u32, u32)>,
    /// By value, where groups expire: in which life of its group it came.
    born: Vec<u32>,
    /// By filter, the aggregates; they read the argument's inputs by their places.
    aggregates: Vec<Vec<Box<dyn Accumulator>>>,
    /// Kept between calls for its memory.
    found: Vec<u32>,
}

/// For each value and filter how often it is there; a bit is enough while rows only come.
enum Counts {
    Bits(Vec<u32>),
    Numbers { of: Vec<u32>, filters: usize },
}

impl Counts {
    fn grow(&mut self, values: usize) {
        match self {
            Counts::Bits(bits) => bits.resize(values, 0),
            Counts::Numbers { of, filters } => of.resize(values * *filters, 0),
        }
    }

    fn is_gone(&self, value: u32) -> bool {
        match self {
            Counts::Bits(bits) => bits[value as usize] == 0,
            Counts::Numbers { of, filters } => of[value as usize * filters..][..*filters].iter().all(|n| *n == 0),
        }
    }

    fn reset(&mut self, value: u32) {
        match self {
            Counts::Bits(bits) => bits[value as usize] = 0,
            Counts::Numbers { of, filters } => of[value as usize * *filters..][..*filters].fill(0),
        }
    }

    fn remap(&mut self, remap: &Remap) {
        match self {
            Counts::Bits(bits) => remap.apply(bits),
            Counts::Numbers { of, filters } => {
                *of = remap.kept().iter().flat_map(|v| of[*v as usize * *filters..][..*filters].to_vec()).collect();
            }
        }
    }

    fn bytes(&self) -> usize {
        let (Counts::Bits(of) | Counts::Numbers { of, .. }) = self;
        of.capacity() * size_of::<u32>()
    }
}

/// The rows with which values come or go, by one filter.
#[derive(Default)]
struct Turns {
    rows: Vec<u32>,
    signs: Vec<i8>,
}

impl Distinct {
    /// `aggregates` are by filter.
    pub fn try_new(table: Table, aggregates: Vec<Vec<Box<dyn Accumulator>>>) -> Result<Self> {
        let values = Values::try_new(&table.types)?;
        let counts = match table.changing {
            true => Counts::Numbers { of: Vec::new(), filters: table.filters.len() },
            false => Counts::Bits(Vec::new()),
        };
        let (lives, born, found) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { table, values, counts, live: 0, lives, born, aggregates, found })
    }

    /// For each row a bit for each filter that it passes.
    fn passed(&self, rows: &Rows) -> Result<Vec<u32>> {
        let mut passed = vec![0; rows.groups.len()];
        for (bit, filter) in self.table.filters.iter().enumerate() {
            let kept = Kept { filter: *filter, valid: Vec::new() };
            match kept.mask(rows)? {
                None => passed.iter_mut().for_each(|p| *p |= 1 << bit),
                Some(mask) => passed.iter_mut().zip(mask.iter()).for_each(|(p, kept)| *p |= u32::from(kept) << bit),
            }
        }
        Ok(passed)
    }

    /// Finds or makes the values, into `found`.
    fn find(&mut self, groups: &[u32], arguments: &[ArrayRef]) -> Result<()> {
        self.values.intern(groups, arguments, &mut self.found)?;
        self.counts.grow(self.values.len());
        if self.table.expires {
            self.born.resize(self.values.len(), u32::MAX);
        }
        Ok(())
    }

    /// Forgets what is known of a value from an earlier life of its group.
    fn revive(&mut self, group: u32, value: u32) {
        if self.table.expires {
            let (life, _) = self.lives[group as usize];
            let born = &mut self.born[value as usize];
            if *born != life {
                *born = life;
                self.counts.reset(value);
            }
        }
    }

    fn came(&mut self, group: u32) {
        self.live += 1;
        if self.table.expires {
            self.lives[group as usize].1 += 1;
        }
    }

    fn went(&mut self, group: u32) {
        self.live -= 1;
        if self.table.expires {
            self.lives[group as usize].1 -= 1;
        }
    }

    /// Counts rows in; gives by filter where values come and go.
    fn turns(&mut self, rows: &Rows, passed: &[u32], picked: Option<&[u32]>) -> Result<Vec<Turns>> {
        let mut turns: Vec<Turns> = self.table.filters.iter().map(|_| Turns::default()).collect();
        for at in 0..self.found.len() {
            let row = picked.map_or(at, |p| p[at] as usize);
            let (value, group) = (self.found[at], rows.groups[row]);
            self.revive(group, value);
            if let Counts::Bits(bits) = &mut self.counts {
                let seen = &mut bits[value as usize];
                let new = passed[row] & !*seen;
                if new == 0 {
                    continue;
                }
                let first = *seen == 0;
                *seen |= new;
                if first {
                    self.came(group);
                }
                each_bit(new, |filter| turns[filter].rows.push(row as u32));
                continue;
            }
            self.count(rows, row, value, passed[row], &mut turns)?;
        }
        Ok(turns)
    }

    /// Counts one row that comes or goes.
    fn count(&mut self, rows: &Rows, row: usize, value: u32, passed: u32, turns: &mut [Turns]) -> Result<()> {
        let Counts::Numbers { of, filters } = &mut self.counts else { return Ok(()) };
        let counts = &mut of[value as usize * *filters..][..*filters];
        let was_gone = counts.iter().all(|n| *n == 0);
        let sign = rows.sign(row) as i8;
        let mut failed = None;
        each_bit(passed, |filter| {
            let count = &mut counts[filter];
            let turn = match (sign > 0, *count) {
                (true, u32::MAX) => {
                    failed = Some(too_many());
                    return;
                }
                (true, n) => {
                    *count = n + 1;
                    n == 0
                }
                (false, 0) if self.table.expires => return,
                (false, 0) => {
                    failed = Some(rows.absent(row));
                    return;
                }
                (false, n) => {
                    *count = n - 1;
                    n == 1
                }
            };
            if turn {
                turns[filter].rows.push(row as u32);
                turns[filter].signs.push(sign);
            }
        });
        let is_gone = counts.iter().all(|n| *n == 0);
        match (was_gone, is_gone) {
            (true, false) => self.came(rows.groups[row]),
            (false, true) => self.went(rows.groups[row]),
            _ => {}
        }
        failed.map_or(Ok(()), Err)
    }

    fn hand_on(&mut self, rows: &Rows, turns: Vec<Turns>) -> Result<()> {
        for (aggregates, Turns { rows: places, signs }) in self.aggregates.iter_mut().zip(turns) {
            if places.is_empty() {
                continue;
            }
            let groups: Vec<u32> = places.iter().map(|row| rows.groups[*row as usize]).collect();
            let places = UInt32Array::from(places);
            let inputs = self.table.inputs.iter().map(|i| Ok(take(rows.input(*i)?, &places, None)?));
            let inputs = inputs.collect::<Result<Vec<_>>>()?;
            let signs = (!signs.is_empty()).then_some(signs.as_slice());
            let rows = Rows { batch: rows.batch, groups: &groups, signs, inputs: &inputs };
            aggregates.iter_mut().try_for_each(|a| a.update(&rows))?;
        }
        Ok(())
    }

    fn is_there(&self, group: u32, value: u32) -> bool {
        let alive = !self.table.expires || self.born[value as usize] == self.lives[group as usize].0;
        alive && !self.counts.is_gone(value)
    }

    /// Forgets values that are gone when they are most.
    fn compact(&mut self) -> Result<()> {
        let gone = self.values.len() - self.live;
        if gone < COMPACT_FROM || gone < self.live {
            return Ok(());
        }
        let groups = self.values.groups()?;
        let there: Vec<bool> = (0u32..).zip(&groups).map(|(value, group)| self.is_there(*group, value)).collect();
        let remap = self.values.retain(|value| there[value as usize])?;
        self.counts.remap(&remap);
        if self.table.expires {
            remap.apply(&mut self.born);
        }
        Ok(())
    }

    fn inner(&self) -> impl Iterator<Item = &Box<dyn Accumulator>> {
        self.aggregates.iter().flatten()
    }
}

fn each_bit(mut bits: u32, mut f: impl FnMut(usize)) {
    while bits != 0 {
        f(bits.trailing_zeros() as usize);
        bits &= bits - 1;
    }
}

impl Accumulator for Distinct {
    fn grow(&mut self, groups: usize) {
        if self.table.expires {
            self.lives.resize(groups, (0, 0));
        }
        self.aggregates.iter_mut().flatten().for_each(|a| a.grow(groups));
    }

    fn update(&mut self, rows: &Rows) -> Result<()> {
        let passed = self.passed(rows)?;
        let arguments = self.table.inputs.iter().map(|i| rows.input(*i).cloned()).collect::<Result<Vec<_>>>()?;
        let turns = if passed.contains(&0) {
            let picked: Vec<u32> = (0u32..).zip(&passed).filter(|(_, p)| **p != 0).map(|(row, _)| row).collect();
            let groups: Vec<u32> = picked.iter().map(|row| rows.groups[*row as usize]).collect();
            let places = UInt32Array::from(picked);
            let arguments = arguments.iter().map(|a| Ok(take(a, &places, None)?)).collect::<Result<Vec<_>>>()?;
            self.find(&groups, &arguments)?;
            self.turns(rows, &passed, Some(places.values()))?
        } else {
            self.find(rows.groups, &arguments)?;
            self.turns(rows, &passed, None)?
        };
        self.hand_on(rows, turns)?;
        self.compact()
    }

    fn evaluate(&mut self, groups: &[u32], out: &mut Vec<ArrayRef>) -> Result<()> {
        self.aggregates.iter_mut().flatten().try_for_each(|a| a.evaluate(groups, out))
    }

    fn clear(&mut self, groups: &[u32]) {
        if self.table.expires {
            for group in groups {
                let (life, values) = &mut self.lives[*group as usize];
                *life += 1;
                self.live -= std::mem::take(values) as usize;
            }
        }
        self.aggregates.iter_mut().flatten().for_each(|a| a.clear(groups));
    }

    fn remap(&mut self, remap: &Remap) -> Result<()> {
        self.aggregates.iter_mut().flatten().try_for_each(|a| a.remap(remap))?;
        let saved = self.save_values(remap.kept())?;
        let groups: Vec<u32> = saved.groups.iter().flatten().filter_map(|g| remap.get(*g)).collect();
        self.values = Values::try_new(&self.table.types)?;
        self.counts = match self.counts {
            Counts::Bits(_) => Counts::Bits(Vec::new()),
            Counts::Numbers { filters, .. } => Counts::Numbers { of: Vec::new(), filters },
        };
        self.born.clear();
        self.live = 0;
        if self.table.expires {
            self.lives = vec![(0, 0); remap.kept().len()];
        }
        self.load_values(&groups, &saved.columns)
    }

    fn parts(&self) -> Vec<Part> {
        let numbers = if self.table.changing { self.table.filters.len() } else { 1 };
        let mut types = self.table.types.clone();
        types.extend(vec![DataType::UInt32; numbers]);
        let own = Part::many(types);
        std::iter::once(own).chain(self.inner().flat_map(|a| a.parts())).collect()
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<Saved>> {
        let mut saved = vec![self.save_values(groups)?];
        for aggregate in self.aggregates.iter_mut().flatten() {
            saved.extend(aggregate.save(groups)?);
        }
        Ok(saved)
    }

    fn load(&mut self, part: usize, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let Some(mut part) = part.checked_sub(1) else { return self.load_values(groups, columns) };
        for aggregate in self.aggregates.iter_mut().flatten() {
            let parts = aggregate.parts().len();
            if part < parts {
                return aggregate.load(part, groups, columns);
            }
            part -= parts;
        }
        Err(Error::internal("a state of DISTINCT with other aggregates"))
    }

    fn entries(&self) -> usize {
        self.live + self.inner().map(|a| a.entries()).sum::<usize>()
    }

    fn bytes(&self) -> usize {
        let lives = self.lives.capacity() * size_of::<(u32, u32)>() + self.born.capacity() * size_of::<u32>();
        self.values.bytes() + self.counts.bytes() + lives + self.inner().map(|a| a.bytes()).sum::<usize>()
    }
}

impl Distinct {
    /// The values of some groups and their counts.
    fn save_values(&self, groups: &[u32]) -> Result<Saved> {
        let of = self.values.groups()?;
        let mut wanted = vec![false; groups.iter().max().map_or(0, |g| *g as usize + 1)];
        groups.iter().for_each(|g| wanted[*g as usize] = true);
        let there = |(value, group): &(u32, &u32)| {
            wanted.get(**group as usize).copied().unwrap_or(false) && self.is_there(**group, *value)
        };
        let (values, groups): (Vec<u32>, Vec<u32>) = (0u32..).zip(&of).filter(there).unzip();
        let mut columns = self.values.take(&values)?;
        let column = |numbers: &dyn Fn(&u32) -> u32| {
            Arc::new(UInt32Array::from_iter_values(values.iter().map(numbers))) as ArrayRef
        };
        match &self.counts {
            Counts::Bits(bits) => columns.push(column(&|v| bits[*v as usize])),
            Counts::Numbers { of, filters } => {
                columns.extend((0..*filters).map(|f| column(&|v| of[*v as usize * filters + f])));
            }
        }
        Ok(Saved { groups: Some(groups), columns })
    }

    fn load_values(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let (arguments, numbers) = columns.split_at_checked(self.table.types.len()).ok_or_else(wrong_state)?;
        self.find(groups, arguments)?;
        let numbers: Vec<_> = numbers.iter().map(|c| c.as_primitive::<UInt32Type>().values()).collect();
        for at in 0..self.found.len() {
            let (value, group) = (self.found[at], groups[at]);
            self.revive(group, value);
            match (&mut self.counts, numbers.as_slice()) {
                (Counts::Bits(bits), [loaded]) => bits[value as usize] = loaded[at],
                (Counts::Numbers { of, filters }, loaded) if loaded.len() == *filters => {
                    loaded.iter().enumerate().for_each(|(f, n)| of[value as usize * *filters + f] = n[at]);
                }
                _ => return Err(wrong_state()),
            }
            self.came(group);
        }
        Ok(())
    }
}

fn wrong_state() -> Error {
    Error::internal("a state of DISTINCT in other columns")
}
