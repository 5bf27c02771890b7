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

    fn push(&mut self, sum: &Sum) {
        self.ranges.extend_from_slice(&sum.cells);
        self.latest.push(sum.latest);
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
            self.cells[*cell].add(&zone.cells[*cell]);
        }
        self.latest = self.latest.max(zone.latest);
    }

    fn add_row(&mut self, row: u64, tape: &Tape, read: &[usize]) {
        let values = tape.values(row, self.cells.len());
        for cell in read {
            self.cells[*cell].add(&Range::of(values[*cell]));
        }
        self.latest = self.latest.max(tape.row(row).time);
    }

    fn zone(&self) -> Zone<'_> {
        Zone { cells: &self.cells, latest: self.latest }
    }
}

/// Rows up to where searches mostly end, of which is known what they are together from any block on. Both its ends go forward,
/// so that each row is taken in twice, not once for each search.
#[derive(Debug, Default)]
struct Window {
    /// The blocks of level [`WINDOW_LEVEL`] whose sums to the last of them are known.
    first: u64,
    last: u64,
    /// These sums, that of the last block first.
    sums: Level,
    /// The sum of the rows behind these blocks, and where they end.
    behind: Sum,
    until: u64,
}

/// Sums are known from each block of this level on.
const WINDOW_LEVEL: usize = 2;
/// Of fewer rows the sum is made anew.
const WINDOW: u64 = 256;

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
    window: Window,
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
                own.push(&self.sum);
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

    fn add(&self, level: usize, row: u64, tape: &Tape, sum: &mut Sum) {
        match level.checked_sub(1) {
            None => sum.add_row(row, tape, &self.read),
            Some(at) => sum.add(self.levels[at].block(number_of(row, level), self.width), &self.read),
        }
    }

    /// Whether a block of a level begins at a row, and ends with a row before another.
    fn fits(&self, level: usize, row: u64, until: u64) -> bool {
        self.has(level, row) && row + rows_of(level) <= until
    }

    /// Adds what is known of the rows from one on, up to another.
    fn add_rows(&self, from: u64, until: u64, tape: &Tape, sum: &mut Sum) {
        let (mut row, mut level) = (from, 0);
        while row < until {
            while self.fits(level + 1, row, until) {
                level += 1;
            }
            while level > 0 && !self.fits(level, row, until) {
                level -= 1;
            }
            self.add(level, row, tape, sum);
            row += rows_of(level);
        }
    }

    /// What is known of the rows from one on, up to another.
    pub fn between(&mut self, from: u64, until: u64, tape: &Tape) -> Zone<'_> {
        let (mut sum, mut window) = (std::mem::take(&mut self.sum), std::mem::take(&mut self.window));
        sum.begin(self.width);
        let block = from.div_ceil(rows_of(WINDOW_LEVEL));
        if until >= from + WINDOW && block >= window.last {
            self.move_window(block, until, &mut window);
        }
        if until >= from + WINDOW && (window.first..window.last).contains(&block) && until >= window.until {
            self.add_rows(window.until, until, tape, &mut window.behind);
            window.until = until;
            self.add_rows(from, block * rows_of(WINDOW_LEVEL), tape, &mut sum);
            sum.add(window.sums.block(window.last - 1 - block, self.width), &self.read);
            sum.add(window.behind.zone(), &self.read);
        } else {
            self.add_rows(from, until, tape, &mut sum);
        }
        (self.sum, self.window) = (sum, window);
        self.sum.zone()
    }

    /// Begins anew with the blocks from one on that end before a row.
    fn move_window(&self, block: u64, until: u64, window: &mut Window) {
        let Some(blocks) = self.levels.get(WINDOW_LEVEL - 1) else { return };
        (window.first, window.last) = (block, number_of(until, WINDOW_LEVEL));
        window.until = window.last * rows_of(WINDOW_LEVEL);
        window.sums = Level::default();
        window.behind.begin(self.width);
        for number in (window.first..window.last).rev() {
            window.behind.add(blocks.block(number, self.width), &self.read);
            window.sums.push(&window.behind);
        }
        window.behind.begin(self.width);
    }

    /// The first row, from one on, of which something does not hold, if that is before another: else that one. What holds of rows
    /// taken together holds of each.
    pub fn first_not(&mut self, from: u64, until: u64, tape: &Tape, holds: impl Fn(Zone<'_>) -> bool) -> u64 {
        let (mut row, mut level) = (from, 0);
        let mut sum = std::mem::take(&mut self.sum);
        while row < until {
            sum.begin(self.width);
            self.add(level, row, tape, &mut sum);
            if holds(sum.zone()) {
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
        self.sum = sum;
        row
    }

    /// About how many bytes they take.
    pub fn bytes(&self) -> usize {
        let levels = self.levels.iter().chain([&self.window.sums]);
        let level = |l: &Level| l.ranges.capacity() * size_of::<Range>() + l.latest.capacity() * size_of::<i64>();
        levels.map(level).sum()
    }
}

#[cfg(test)]
mod tests;
