//! A partition's rows in blocks, and blocks of blocks, so that much is told of many rows by looking at few blocks.

use super::{Range, Zone, cells_read};
use crate::operator::match_recognize::program::Program;
use crate::operator::match_recognize::tape::Tape;

/// How many blocks make one of the next level, as a power of two; the blocks of level 0 are the rows.
const FAN_BITS: u32 = 2;
/// The highest level: a million rows.
const LEVELS: usize = 10;

/// How many rows a block of a level has.
const fn rows_of(level: usize) -> u64 {
    1 << (FAN_BITS * level as u32)
}

/// The number of the block of a level that a row is in.
const fn number_of(row: u64, level: usize) -> u64 {
    row >> (FAN_BITS * level as u32)
}

/// Blocks of so many rows each, without gaps.
#[derive(Debug, Default)]
struct Level {
    /// The number of the first block: how many such blocks precede it in the partition.
    base: u64,
    /// Block by block, what is known of each cell.
    ranges: Vec<Range>,
    /// The latest times.
    latest: Vec<i64>,
}

impl Level {
    /// The number behind that of the last block.
    fn end(&self) -> u64 {
        self.base + self.latest.len() as u64
    }

    fn block(&self, number: u64, width: usize) -> Zone<'_> {
        let at = (number - self.base) as usize;
        Zone { cells: &self.ranges[at * width..(at + 1) * width], latest: self.latest[at] }
    }

    /// Lets go of the blocks before one, when they are many.
    fn release(&mut self, before: u64, width: usize) {
        let gone = before.saturating_sub(self.base) as usize;
        if gone >= self.latest.len() {
            self.ranges.clear();
            self.latest.clear();
            self.base = self.base.max(before);
        } else if gone * 2 >= self.latest.len() {
            self.ranges.drain(..gone * width);
            self.latest.drain(..gone);
            self.base = before;
        }
    }
}

/// What is known of some rows, taken together.
#[derive(Debug, Default)]
struct Sum {
    cells: Vec<Range>,
    latest: i64,
}

impl Sum {
    fn begin(&mut self, width: usize) {
        self.cells.clear();
        self.cells.resize(width, Range::NONE);
        self.latest = i64::MIN;
    }

    fn add(&mut self, zone: Zone<'_>, read: &[usize]) {
        for cell in read {
            self.cells[*cell] = self.cells[*cell].or(zone.cells[*cell]);
        }
        self.latest = self.latest.max(zone.latest);
    }

    fn add_row(&mut self, row: u64, tape: &Tape, read: &[usize]) {
        let values = tape.values(row, self.cells.len());
        for cell in read {
            self.cells[*cell] = self.cells[*cell].or(Range::of(values[*cell]));
        }
        self.latest = self.latest.max(tape.row(row).time);
    }

    fn zone(&self) -> Zone<'_> {
        Zone { cells: &self.cells, latest: self.latest }
    }
}

/// The blocks of a partition.
#[derive(Debug, Default)]
pub(in crate::operator::match_recognize) struct Zones {
    /// How many values a row has.
    width: usize,
    /// Those that are read.
    read: Vec<usize>,
    /// From level 1 on.
    levels: Vec<Level>,
    /// The ordinal behind the last row that is in blocks, as far as these are full.
    end: u64,
    /// Kept for its memory.
    sum: Sum,
}

impl Zones {
    /// Puts new rows into blocks.
    pub fn grow(&mut self, tape: &Tape, program: &Program) {
        if self.levels.is_empty() {
            (self.width, self.read) = (program.cells.len(), cells_read(program));
            self.levels.resize_with(LEVELS, Level::default);
        }
        if self.end >= tape.end() {
            return;
        }
        self.release(tape.begin());
        self.end = tape.end();
        for at in 0..LEVELS {
            let (below, own) = self.levels.split_at_mut(at);
            let Some(own) = own.first_mut() else { return };
            while (own.end() + 1) * rows_of(at + 1) <= self.end {
                let parts = own.end() << FAN_BITS..(own.end() + 1) << FAN_BITS;
                self.sum.begin(self.width);
                for part in parts {
                    match below.last() {
                        Some(below) => self.sum.add(below.block(part, self.width), &self.read),
                        None => self.sum.add_row(part, tape, &self.read),
                    }
                }
                own.ranges.extend_from_slice(&self.sum.cells);
                own.latest.push(self.sum.latest);
            }
        }
    }

    /// Lets go of blocks of rows that are gone.
    pub fn release(&mut self, before: u64) {
        for (level, at) in self.levels.iter_mut().zip(1..) {
            level.release(before.div_ceil(rows_of(at)), self.width);
        }
    }

    /// Whether a block of a level begins at a row.
    fn has(&self, level: usize, row: u64) -> bool {
        let Some(at) = level.checked_sub(1) else { return true };
        let number = number_of(row, level);
        let blocks = self.levels.get(at).filter(|_| number * rows_of(level) == row);
        blocks.is_some_and(|blocks| (blocks.base..blocks.end()).contains(&number))
    }

    fn add(&mut self, level: usize, row: u64, tape: &Tape) {
        match level.checked_sub(1) {
            None => self.sum.add_row(row, tape, &self.read),
            Some(at) => self.sum.add(self.levels[at].block(number_of(row, level), self.width), &self.read),
        }
    }

    /// Whether a block of a level begins at a row, and ends with a row before another.
    fn fits(&self, level: usize, row: u64, until: u64) -> bool {
        self.has(level, row) && row + rows_of(level) <= until
    }

    /// What is known of the rows from one on, up to another.
    pub fn between(&mut self, from: u64, until: u64, tape: &Tape) -> Zone<'_> {
        self.sum.begin(self.width);
        let (mut row, mut level) = (from, 0);
        while row < until {
            while self.fits(level + 1, row, until) {
                level += 1;
            }
            while level > 0 && !self.fits(level, row, until) {
                level -= 1;
            }
            self.add(level, row, tape);
            row += rows_of(level);
        }
        self.sum.zone()
    }

    /// The first row, from one on, of which something does not hold, if that is before another: else that one. What holds of rows
    /// taken together holds of each.
    pub fn first_not(&mut self, from: u64, until: u64, tape: &Tape, holds: impl Fn(Zone<'_>) -> bool) -> u64 {
        let (mut row, mut level) = (from, 0);
        while row < until {
            self.sum.begin(self.width);
            self.add(level, row, tape);
            if holds(self.sum.zone()) {
                row += rows_of(level);
                level += usize::from(self.fits(level + 1, row, until));
            } else if level == 0 {
                break;
            } else {
                level -= 1;
            }
            while level > 0 && !self.fits(level, row, until) {
                level -= 1;
            }
        }
        row
    }

    /// About how many bytes they take.
    pub fn bytes(&self) -> usize {
        let level = |l: &Level| l.ranges.capacity() * size_of::<Range>() + l.latest.capacity() * size_of::<i64>();
        self.levels.iter().map(level).sum()
    }
}

#[cfg(test)]
mod tests;
