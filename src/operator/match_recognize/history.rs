//! Which rows a match has bound to what, shared by the threads that have it in common.

/// No rows yet.
pub(super) const NONE: u32 = u32::MAX;

/// Rows in a row that stand at one position of the pattern: from one ordinal on, to where what was added to it begins.
#[derive(Debug, Clone, Copy)]
struct Node {
    position: u32,
    /// What comes before it.
    before: u32,
    from: u64,
}

/// Lists of bound rows that share their beginnings.
#[derive(Debug, Default)]
pub(super) struct Histories {
    nodes: Vec<Node>,
    /// From how many nodes on it is worth looking for those that no thread has any more.
    limit: usize,
}

/// Below so many nodes none are looked for that could go.
const FEW: usize = 1024;

impl Histories {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.nodes.clear();
        self.limit = FEW;
    }

    /// A history with one more row, at a position; `last` is the position of the row before.
    pub fn add(&mut self, history: u32, last: u32, position: u32, row: u64) -> u32 {
        if history != NONE && last == position {
            return history;
        }
        self.nodes.push(Node { position, before: history, from: row });
        (self.nodes.len() - 1) as u32
    }

    /// Whether there may be much that no thread has any more.
    pub fn is_large(&self) -> bool {
        self.nodes.len() > self.limit
    }

    /// Keeps what some histories need, and gives these their new numbers.
    pub fn keep<'a>(&mut self, kept: impl Iterator<Item = &'a mut u32>) {
        let mut live = vec![false; self.nodes.len()];
        let kept: Vec<&mut u32> = kept.filter(|history| **history != NONE).collect();
        kept.iter().for_each(|history| live[**history as usize] = true);
        for at in (0..self.nodes.len()).rev() {
            let before = self.nodes[at].before;
            if live[at] && before != NONE {
                live[before as usize] = true;
            }
        }
        let mut moved = vec![NONE; self.nodes.len()];
        let mut next = 0;
        for at in 0..self.nodes.len() {
            if live[at] {
                let mut node = self.nodes[at];
                if node.before != NONE {
                    node.before = moved[node.before as usize];
                }
                self.nodes[next] = node;
                moved[at] = next as u32;
                next += 1;
            }
        }
        self.nodes.truncate(next);
        self.limit = (next * 2).max(FEW);
        kept.into_iter().for_each(|history| *history = moved[*history as usize]);
    }

    /// The positions of a history's rows, and the ordinals of those that stand at each: from one on, up to another.
    pub fn positions(&self, history: u32, end: u64, into: &mut Vec<(u32, u64, u64)>) {
        into.clear();
        let (mut at, mut end) = (history, end);
        while at != NONE {
            let node = self.nodes[at as usize];
            into.push((node.position, node.from, end));
            (at, end) = (node.before, node.from);
        }
        into.reverse();
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_their_beginnings() {
        let mut histories = Histories::default();
        histories.clear();
        let a = histories.add(NONE, NONE, 0, 5);
        let mut b = histories.add(a, 0, 1, 6);
        assert_eq!(histories.add(b, 1, 1, 7), b);
        let mut c = histories.add(b, 1, 2, 8);
        let rows = |h: &Histories, history, end| {
            let mut rows = Vec::new();
            h.positions(history, end, &mut rows);
            rows
        };
        assert_eq!(rows(&histories, c, 9), [(0, 5, 6), (1, 6, 8), (2, 8, 9)]);
        histories.add(a, 0, 3, 6);
        histories.keep([&mut b, &mut c].into_iter());
        assert_eq!(rows(&histories, b, 9), [(0, 5, 6), (1, 6, 9)]);
        assert_eq!(rows(&histories, c, 9), [(0, 5, 6), (1, 6, 8), (2, 8, 9)]);
    }
}
