//! Rows by key and time.

use super::Remap;

/// A row that belongs more places than this before the last of its key waits for others of that kind.
const NEAR: usize = 64;

/// A row and its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timed {
    /// Milliseconds.
    pub time: i64,
    /// The row's number.
    pub row: u32,
}

/// For each key its rows in the order of their times, those of one time in the order of their numbers, however they come. What lies
/// between two times is found by binary search.
#[derive(Debug, Default)]
pub struct Timelines {
    /// By key.
    lines: Vec<Line>,
    /// All lines' rows, in blocks whose sizes are powers of two.
    places: Vec<Timed>,
    /// By a block's class where such blocks begin that no line has.
    free: Vec<Vec<usize>>,
    /// Rows with their keys that belong far before the last of these. There are none but between `push` and `settle`.
    far: Vec<(u32, Timed)>,
    rows: usize,
}

/// Where a key's rows stand: the first `len` places of a block.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    block: usize,
    len: u32,
    /// The block has room for `1 << class >> 1` rows; 0 without a block.
    class: u32,
}

impl Line {
    fn room(self) -> usize {
        1usize << self.class >> 1
    }

    fn end(self) -> usize {
        self.block + self.len as usize
    }
}

impl Timelines {
    /// Adds a row to a key, if it is not there yet. [`Timelines::settle`] must follow before rows are asked for.
    pub fn push(&mut self, key: u32, time: i64, row: u32) {
        if self.lines.len() <= key as usize {
            self.lines.resize(key as usize + 1, Line::default());
        }
        let timed = Timed { time, row };
        let mut line = self.lines[key as usize];
        let rows = &self.places[line.block..line.end()];
        let at = match rows.last() {
            Some(last) if *last >= timed => rows.partition_point(|t| *t < timed),
            _ => rows.len(),
        };
        if rows.get(at) == Some(&timed) {
            return;
        }
        if rows.len() - at > NEAR {
            self.far.push((key, timed));
            return;
        }
        line = self.with_room(line, 1);
        let at = line.block + at;
        self.places.copy_within(at..line.end(), at + 1);
        self.places[at] = timed;
        line.len += 1;
        self.rows += 1;
        self.lines[key as usize] = line;
    }

    /// Ends a series of `push`. A key's rows that belong far before its last go in together: each alone would move all behind it.
    pub fn settle(&mut self) {
        let mut far = std::mem::take(&mut self.far);
        far.sort_unstable();
        far.dedup();
        for rows in far.chunk_by(|a, b| a.0 == b.0) {
            self.merge(rows);
        }
        far.clear();
        self.far = far;
    }

    /// Puts in rows of one key, in their order, none of which is there.
    fn merge(&mut self, rows: &[(u32, Timed)]) {
        let Some((key, _)) = rows.first() else { return };
        let mut line = self.with_room(self.lines[*key as usize], rows.len());
        let mut from = line.end();
        let mut to = from + rows.len();
        for (_, timed) in rows.iter().rev() {
            let at = line.block + self.places[line.block..from].partition_point(|t| t < timed);
            to -= from - at;
            self.places.copy_within(at..from, to);
            from = at;
            to -= 1;
            self.places[to] = *timed;
        }
        line.len += rows.len() as u32;
        self.rows += rows.len();
        self.lines[*key as usize] = line;
    }

    /// A line with room for some more rows: as it is, or moved to a larger block.
    fn with_room(&mut self, line: Line, more: usize) -> Line {
        let needed = line.len as usize + more;
        if needed <= line.room() {
            return line;
        }
        let class = class_of(needed);
        let block = self.block(class);
        self.places.copy_within(line.block..line.end(), block);
        self.give_back(line);
        Line { block, len: line.len, class }
    }

    fn block(&mut self, class: u32) -> usize {
        if let Some(block) = self.free.get_mut(class as usize).and_then(Vec::pop) {
            return block;
        }
        let block = self.places.len();
        self.places.resize(block + (1usize << class >> 1), Timed::default());
        block
    }

    fn give_back(&mut self, line: Line) {
        if line.class == 0 {
            return;
        }
        if self.free.len() <= line.class as usize {
            self.free.resize_with(line.class as usize + 1, Vec::new);
        }
        self.free[line.class as usize].push(line.block);
    }

    /// A key's rows from one time to another, both included.
    pub fn between(&self, key: u32, from: i64, to: i64) -> &[Timed] {
        let rows = self.of(key);
        let (first, last) = match rows {
            [] => return rows,
            [first, ..] => (first, &rows[rows.len() - 1]),
        };
        let start = if from <= first.time { 0 } else { rows.partition_point(|t| t.time < from) };
        let end = if last.time <= to { rows.len() } else { rows.partition_point(|t| t.time <= to) };
        rows.get(start..end).unwrap_or_default()
    }

    fn of(&self, key: u32) -> &[Timed] {
        self.lines.get(key as usize).map_or(&[], |line| &self.places[line.block..line.end()])
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether a key has no rows.
    pub fn is_empty(&self, key: u32) -> bool {
        self.lines.get(key as usize).is_none_or(|line| line.len == 0)
    }

    /// Lets go of all keys' rows up to a time, that included, and of the places that are not needed. It goes through all lines: to
    /// be called when most rows are past.
    pub fn pass(&mut self, until: i64) {
        let old = std::mem::take(&mut self.places);
        self.free.clear();
        self.rows = 0;
        for line in &mut self.lines {
            let rows = &old[line.block..line.end()];
            let left = &rows[rows.partition_point(|t| t.time <= until)..];
            let block = self.places.len();
            self.places.extend_from_slice(left);
            self.rows += left.len();
            *line = Line { block, len: left.len() as u32, class: class_of(left.len()) };
            self.places.resize(block + line.room(), Timed::default());
        }
    }

    /// Follows keys to their new numbers. Those that were dropped must have no rows.
    pub fn remap_keys(&mut self, keys: &Remap) {
        keys.apply(&mut self.lines);
    }

    /// About how many bytes of memory they take.
    pub fn bytes(&self) -> usize {
        self.lines.capacity() * size_of::<Line>() + self.places.capacity() * size_of::<Timed>()
    }
}

/// The class of the smallest block with room for some rows.
fn class_of(rows: usize) -> u32 {
    if rows == 0 { 0 } else { rows.next_power_of_two().ilog2() + 1 }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use rand::{Rng, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    fn rows(times: &[Timed]) -> Vec<u32> {
        times.iter().map(|t| t.row).collect()
    }

    #[test]
    fn rows_stand_in_the_order_of_their_times() {
        let mut lines = Timelines::default();
        for (row, time) in [(0, 10), (1, 30), (3, 20), (2, 20), (4, 5), (1, 30), (2, 20)] {
            lines.push(7, time, row);
        }
        lines.settle();
        assert_eq!((rows(lines.of(7)), lines.rows()), (vec![4, 0, 2, 3, 1], 5));
        assert_eq!(rows(lines.between(7, 10, 20)), [0, 2, 3]);
        assert_eq!(rows(lines.between(7, 21, 29)), [] as [u32; 0]);
        assert_eq!(rows(lines.between(7, 29, 21)), [] as [u32; 0]);
        assert_eq!((lines.between(3, 0, 99).len(), lines.between(99, 0, 99).len()), (0, 0));
        lines.pass(20);
        assert_eq!((rows(lines.of(7)), lines.is_empty(7)), (vec![1], false));
        lines.pass(30);
        assert!(lines.is_empty(7) && lines.rows() == 0);
    }

    #[test]
    fn as_a_map_of_sets() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
        let mut lines = Timelines::default();
        let mut model: BTreeMap<u32, BTreeSet<Timed>> = BTreeMap::new();
        for step in 0i64..2000 {
            for _ in 0..rng.random_range(0..6) {
                let key = if rng.random_bool(0.5) { 0 } else { rng.random_range(0..9) };
                // Some come again, and some belong hundreds of rows before the last.
                let behind = if rng.random_bool(0.2) { 300 } else { 20 };
                let row = rng.random_range(0..5000u32);
                let time = step + i64::from(row) % behind;
                lines.push(key, time, row);
                model.entry(key).or_default().insert(Timed { time, row });
            }
            lines.settle();
            if step % 97 == 0 {
                let until = step - 200;
                lines.pass(until);
                model.values_mut().for_each(|rows| rows.retain(|t| t.time > until));
            }
            for (key, rows) in &model {
                assert!(lines.of(*key).iter().eq(rows), "key {key}, step {step}");
            }
            assert_eq!(lines.rows(), model.values().map(BTreeSet::len).sum::<usize>());
        }
        assert!(lines.places.len() < 10_000, "{} places for {} rows", lines.places.len(), lines.rows());
    }
}
