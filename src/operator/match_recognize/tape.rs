//! The rows of one partition that a match may still have.

use super::scalar::Scalar;

/// A row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// Its number in the operator's store; numbers are in the order of arrival.
    pub id: u32,
    /// Its time.
    pub time: i64,
}

/// Rows by ordinal, with the values that conditions compute with.
#[derive(Debug, Default)]
pub(super) struct Tape {
    /// The ordinal of the first row.
    base: u64,
    rows: Vec<Held>,
    cells: Vec<Scalar>,
    /// How many of the first rows are let go of and still stand here.
    dropped: usize,
}

impl Tape {
    /// The ordinal behind the last row.
    pub fn end(&self) -> u64 {
        self.base + self.rows.len() as u64
    }

    /// The ordinal of the first row that is held.
    pub fn begin(&self) -> u64 {
        self.base + self.dropped as u64
    }

    /// How many rows are held.
    pub fn len(&self) -> usize {
        self.rows.len() - self.dropped
    }

    /// Where a row stands among those that are here.
    pub fn place(&self, ordinal: u64) -> usize {
        (ordinal - self.base) as usize
    }

    /// A row.
    pub fn row(&self, ordinal: u64) -> Held {
        self.rows[self.place(ordinal)]
    }

    /// The values of all rows that are here.
    pub fn cells(&self) -> &[Scalar] {
        &self.cells
    }

    /// The values of one row.
    pub fn values(&self, ordinal: u64, width: usize) -> &[Scalar] {
        let at = self.place(ordinal) * width;
        &self.cells[at..at + width]
    }

    /// Adds a row.
    pub fn push(&mut self, row: Held, cells: impl Iterator<Item = Scalar>) {
        self.rows.push(row);
        self.cells.extend(cells);
    }

    /// Lets go of the rows before an ordinal; gives them to `gone`.
    pub fn release(&mut self, before: u64, width: usize, mut gone: impl FnMut(u32)) {
        let until = self.place(before.max(self.base)).min(self.rows.len());
        if until <= self.dropped {
            return;
        }
        self.rows[self.dropped..until].iter().for_each(|row| gone(row.id));
        self.dropped = until;
        if self.dropped * 2 >= self.rows.len() {
            self.rows.drain(..self.dropped);
            self.cells.drain(..self.dropped * width);
            self.base += self.dropped as u64;
            self.dropped = 0;
        }
    }

    /// The rows that are held.
    pub fn held(&self) -> &[Held] {
        &self.rows[self.dropped..]
    }

    /// Follows rows to their new numbers.
    pub fn renumber(&mut self, new: impl Fn(u32) -> u32) {
        self.rows[self.dropped..].iter_mut().for_each(|row| row.id = new(row.id));
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Held>() + self.cells.capacity() * size_of::<Scalar>()
    }
}
