//! Lists of rows by key.

use super::Remap;

const NONE: u32 = u32::MAX;

/// For each key a list of row numbers, in the order they came. Adding and taking out cost the same however long a list is.
#[derive(Debug, Default)]
pub struct Lists {
    /// By key.
    ends: Vec<Ends>,
    /// By row.
    links: Vec<Link>,
}

#[derive(Debug, Clone, Copy)]
struct Ends {
    first: u32,
    last: u32,
    len: u32,
}

impl Default for Ends {
    fn default() -> Self {
        Self { first: NONE, last: NONE, len: 0 }
    }
}

#[derive(Debug, Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
}

impl Default for Link {
    fn default() -> Self {
        Self { before: NONE, after: NONE }
    }
}

impl Lists {
    /// Adds a row, which is in no list, at the end of a key's.
    pub fn push(&mut self, key: u32, row: u32) {
        if self.ends.len() <= key as usize {
            self.ends.resize(key as usize + 1, Ends::default());
        }
        if self.links.len() <= row as usize {
            self.links.resize(row as usize + 1, Link::default());
        }
        let ends = &mut self.ends[key as usize];
        self.links[row as usize] = Link { before: ends.last, after: NONE };
        match ends.last {
            NONE => ends.first = row,
            last => self.links[last as usize].after = row,
        }
        ends.last = row;
        ends.len += 1;
    }

    /// Takes a row out of the list of its key, which it must be in.
    pub fn remove(&mut self, key: u32, row: u32) {
        let Link { before, after } = std::mem::take(&mut self.links[row as usize]);
        let ends = &mut self.ends[key as usize];
        match before {
            NONE => ends.first = after,
            before => self.links[before as usize].after = after,
        }
        match after {
            NONE => ends.last = before,
            after => self.links[after as usize].before = before,
        }
        ends.len -= 1;
    }

    /// Puts all rows of one key behind those of another.
    pub fn join(&mut self, from: u32, into: u32) {
        let Some(moved) = self.ends.get_mut(from as usize).map(std::mem::take).filter(|e| e.len > 0) else { return };
        if self.ends.len() <= into as usize {
            self.ends.resize(into as usize + 1, Ends::default());
        }
        let ends = &mut self.ends[into as usize];
        match ends.last {
            NONE => ends.first = moved.first,
            last => {
                self.links[last as usize].after = moved.first;
                self.links[moved.first as usize].before = last;
            }
        }
        ends.last = moved.last;
        ends.len += moved.len;
    }

    /// Takes all rows of a key out of its list, in their order.
    pub fn take(&mut self, key: u32, rows: &mut Vec<u32>) {
        rows.extend(self.iter(key));
        if let Some(ends) = self.ends.get_mut(key as usize) {
            *ends = Ends::default();
        }
    }

    /// How many rows a key has.
    pub fn len(&self, key: u32) -> u32 {
        self.ends.get(key as usize).map_or(0, |e| e.len)
    }

    /// Whether a key has no row.
    pub fn is_empty(&self, key: u32) -> bool {
        self.len(key) == 0
    }

    /// A key's rows, in the order they came.
    pub fn iter(&self, key: u32) -> impl Iterator<Item = u32> + '_ {
        let first = self.ends.get(key as usize).map_or(NONE, |e| e.first);
        let some = |row: u32| (row != NONE).then_some(row);
        std::iter::successors(some(first), move |row| some(self.links[*row as usize].after))
    }

    /// The last of a key's rows.
    pub fn last(&self, key: u32) -> Option<u32> {
        self.ends.get(key as usize).map(|e| e.last).filter(|row| *row != NONE)
    }

    /// Follows rows to their new numbers. Those that were dropped must have been taken out before.
    pub fn remap_rows(&mut self, rows: &Remap) {
        let moved = |row: u32| rows.get(row).unwrap_or(NONE);
        rows.apply(&mut self.links);
        for link in &mut self.links {
            *link = Link { before: moved(link.before), after: moved(link.after) };
        }
        for ends in &mut self.ends {
            (ends.first, ends.last) = (moved(ends.first), moved(ends.last));
        }
    }

    /// Follows keys to their new numbers. Those that were dropped must have no rows.
    pub fn remap_keys(&mut self, keys: &Remap) {
        keys.apply(&mut self.ends);
    }

    /// About how many bytes of memory they take.
    pub fn bytes(&self) -> usize {
        self.ends.capacity() * size_of::<Ends>() + self.links.capacity() * size_of::<Link>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_keep_their_order() {
        let mut lists = Lists::default();
        for row in 0..6 {
            lists.push(row % 2, row);
        }
        let of = |lists: &Lists, key| lists.iter(key).collect::<Vec<_>>();
        assert_eq!((of(&lists, 0), of(&lists, 1), of(&lists, 7)), (vec![0, 2, 4], vec![1, 3, 5], vec![]));
        lists.remove(0, 2);
        lists.remove(1, 5);
        lists.remove(1, 1);
        assert_eq!((of(&lists, 0), of(&lists, 1)), (vec![0, 4], vec![3]));
        assert_eq!((lists.last(0), lists.last(1), lists.last(7)), (Some(4), Some(3), None));
        lists.push(1, 5);
        lists.remap_rows(&Remap::keeping(6, |row| [0, 3, 4, 5].contains(&row)));
        assert_eq!((of(&lists, 0), of(&lists, 1)), (vec![0, 2], vec![1, 3]));
        lists.join(1, 0);
        lists.join(7, 0);
        assert_eq!((of(&lists, 0), of(&lists, 1)), (vec![0, 2, 1, 3], vec![]));
        lists.remove(0, 1);
        lists.remove(0, 3);
        lists.push(1, 1);
        lists.push(1, 3);
        let mut taken = Vec::new();
        lists.take(0, &mut taken);
        lists.take(9, &mut taken);
        assert_eq!((taken, lists.len(0)), (vec![0, 2], 0));
        lists.remap_keys(&Remap::keeping(2, |key| key == 1));
        assert_eq!((of(&lists, 0), lists.len(0)), (vec![1, 3], 2));
    }
}
