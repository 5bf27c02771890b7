//! Rows by key and time.

use super::Remap;

/// A row and its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timed {
    /// Milliseconds.
    pub time: i64,
    /// The row's number.
    pub row: u32,
}

/// For each key its rows in the order of their times, those of one time in the order they came. What lies between two times is
/// found by binary search, and what is past goes at once.
#[derive(Debug, Default)]
pub struct Timelines {
    /// By key.
    lines: Vec<Line>,
    /// All lines' rows, in blocks whose sizes are powers of two.
    places: Vec<Timed>,
    /// By a block's class where such blocks begin that no line has.
    free: Vec<Vec<usize>>,
}

/// Where a key's rows stand: `len` of them behind the first `head` places of a block.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    block: usize,
    head: u32,
    len: u32,
    /// The block has room for `1 << class >> 1` rows; 0 without a block.
    class: u32,
}

impl Line {
    fn room(self) -> usize {
        1usize << self.class >> 1
    }

    fn start(self) -> usize {
        self.block + self.head as usize
    }

    fn end(self) -> usize {
        self.start() + self.len as usize
    }
}

impl Timelines {
    /// Adds a row behind those of its key that are not later. Tells whether it is the first of them.
    pub fn push(&mut self, key: u32, time: i64, row: u32) -> bool {
        if self.lines.len() <= key as usize {
            self.lines.resize(key as usize + 1, Line::default());
        }
        let mut line = self.lines[key as usize];
        if line.head as usize + line.len as usize == line.room() {
            line = self.with_room(line);
        }
        let (start, end) = (line.start(), line.end());
        let at = match self.places[start..end].last() {
            Some(last) if last.time > time => start + self.places[start..end].partition_point(|t| t.time <= time),
            _ => end,
        };
        self.places.copy_within(at..end, at + 1);
        self.places[at] = Timed { time, row };
        line.len += 1;
        self.lines[key as usize] = line;
        at == start
    }

    /// A line with room behind its last row: moved to the front of its block if that is half empty, else to a larger one.
    fn with_room(&mut self, line: Line) -> Line {
        let rows = line.start()..line.end();
        if line.head > 0 && line.head as usize * 2 >= line.room() {
            self.places.copy_within(rows, line.block);
            return Line { head: 0, ..line };
        }
        let class = line.class + 1;
        let block = self.block(class);
        self.places.copy_within(rows, block);
        self.give_back(line);
        Line { block, head: 0, len: line.len, class }
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

    /// All rows of a key.
    pub fn of(&self, key: u32) -> &[Timed] {
        self.lines.get(key as usize).map_or(&[], |line| &self.places[line.start()..line.end()])
    }

    /// How many keys have been asked for room: those from 0 up to this.
    pub fn keys(&self) -> u32 {
        self.lines.len() as u32
    }

    /// Whether a key has no rows.
    pub fn is_empty(&self, key: u32) -> bool {
        self.lines.get(key as usize).is_none_or(|line| line.len == 0)
    }

    /// Lets go of a key's rows up to a time, that included, and tells them. Gives the time of the first that is left.
    pub fn pass(&mut self, key: u32, until: i64, mut gone: impl FnMut(Timed)) -> Option<i64> {
        let mut line = self.lines.get(key as usize).copied()?;
        let rows = &self.places[line.start()..line.end()];
        let past = match rows {
            [only] => usize::from(only.time <= until),
            several => several.partition_point(|t| t.time <= until),
        };
        let left = rows.get(past).map(|t| t.time);
        rows[..past].iter().copied().for_each(&mut gone);
        line.head += past as u32;
        line.len -= past as u32;
        if line.len == 0 {
            self.give_back(line);
            line = Line::default();
        }
        self.lines[key as usize] = line;
        left
    }

    /// Follows rows to their new numbers, and gives up places that are not needed. Rows that were dropped must have been let go.
    pub fn remap_rows(&mut self, rows: &Remap) {
        let old = std::mem::take(&mut self.places);
        self.free.clear();
        for line in &mut self.lines {
            let moved = old[line.start()..line.end()].iter();
            let moved = moved.filter_map(|t| Some(Timed { row: rows.get(t.row)?, ..*t }));
            let block = self.places.len();
            self.places.extend(moved);
            let len = self.places.len() - block;
            let class = if len == 0 { 0 } else { len.next_power_of_two().ilog2() + 1 };
            *line = Line { block, head: 0, len: len as u32, class };
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{Rng, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    fn rows(times: &[Timed]) -> Vec<u32> {
        times.iter().map(|t| t.row).collect()
    }

    #[test]
    fn rows_stand_in_the_order_of_their_times() {
        let mut lines = Timelines::default();
        for (row, time) in [(0, 10), (1, 30), (2, 20), (3, 20), (4, 5)] {
            lines.push(7, time, row);
        }
        assert_eq!(rows(lines.of(7)), [4, 0, 2, 3, 1]);
        assert_eq!(rows(lines.between(7, 10, 20)), [0, 2, 3]);
        assert_eq!(rows(lines.between(7, 21, 29)), [] as [u32; 0]);
        assert_eq!(rows(lines.between(7, 29, 21)), [] as [u32; 0]);
        assert_eq!((lines.between(3, 0, 99).len(), lines.between(99, 0, 99).len()), (0, 0));
        let mut gone = Vec::new();
        assert_eq!(lines.pass(7, 20, |t| gone.push(t.row)), Some(30));
        assert_eq!((gone, rows(lines.of(7))), (vec![4, 0, 2, 3], vec![1]));
        assert!(!lines.push(7, 30, 5) && lines.push(7, 29, 6));
        assert_eq!(lines.pass(7, 30, |_| ()), None);
        assert!(lines.is_empty(7));
    }

    #[test]
    fn as_a_map_of_lists() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
        let mut lines = Timelines::default();
        let mut model: BTreeMap<u32, Vec<Timed>> = BTreeMap::new();
        let mut next = 0;
        for step in 0i64..4000 {
            let key = if rng.random_bool(0.5) { 0 } else { rng.random_range(0..9) };
            let time = step + rng.random_range(-20..20);
            lines.push(key, time, next);
            let list = model.entry(key).or_default();
            let at = list.partition_point(|t| t.time <= time);
            list.insert(at, Timed { time, row: next });
            next += 1;
            if step % 7 == 0 {
                let until = step - 60;
                for key in 0..9 {
                    let mut gone = Vec::new();
                    lines.pass(key, until, |t| gone.push(t));
                    let list = model.entry(key).or_default();
                    let past = list.partition_point(|t| t.time <= until);
                    assert_eq!(gone, list.drain(..past).collect::<Vec<_>>());
                }
            }
            if step % 500 == 499 {
                let live: Vec<u32> = model.values().flatten().map(|t| t.row).collect();
                let remap = Remap::keeping(next, |row| live.contains(&row));
                lines.remap_rows(&remap);
                model.values_mut().flatten().for_each(|t| t.row = remap.get(t.row).unwrap());
                next = live.len() as u32;
            }
            for (key, list) in &model {
                assert_eq!(lines.of(*key), list.as_slice(), "key {key}, step {step}");
            }
        }
        assert!(lines.places.len() < 2000, "{} places for a hundred rows", lines.places.len());
    }
}
