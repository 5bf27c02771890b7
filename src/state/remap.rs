//! New numbers for old after some were dropped.

/// The number of what is no longer there.
pub const GONE: u32 = u32::MAX;

/// Old numbers to new after something was dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remap {
    /// By old number; [`GONE`] for what was dropped.
    new: Vec<u32>,
    /// By new number.
    old: Vec<u32>,
}

impl Remap {
    /// From the new number of each old one, [`GONE`] for what was dropped. The new numbers must be those from 0 on, each once.
    pub fn new(new: Vec<u32>) -> Self {
        let kept = new.iter().filter(|n| **n != GONE).count();
        let mut old = vec![0; kept];
        for (from, to) in (0u32..).zip(&new) {
            if *to != GONE {
                old[*to as usize] = from;
            }
        }
        Self { new, old }
    }

    /// Keeps the order of those for which `live` is true.
    pub fn keeping(count: u32, live: impl Fn(u32) -> bool) -> Self {
        let old: Vec<u32> = (0..count).filter(|id| live(*id)).collect();
        let mut new = vec![GONE; count as usize];
        for (to, from) in (0u32..).zip(&old) {
            new[*from as usize] = to;
        }
        Self { new, old }
    }

    /// The new number of an old one; `None` when it was dropped or never was.
    pub fn get(&self, old: u32) -> Option<u32> {
        self.new.get(old as usize).copied().filter(|n| *n != GONE)
    }

    /// The old numbers of those that are kept, in the order of their new ones.
    pub fn kept(&self) -> &[u32] {
        &self.old
    }

    /// Makes a vector that is indexed by old number one that is indexed by new. What it lacks becomes the default.
    pub fn apply<T: Default>(&self, values: &mut Vec<T>) {
        let moved = self.old.iter().map(|from| values.get_mut(*from as usize).map(std::mem::take).unwrap_or_default());
        *values = moved.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_what_is_kept() {
        let remap = Remap::keeping(5, |id| id % 2 == 0);
        assert_eq!((remap.get(2), remap.get(3), remap.get(9)), (Some(1), None, None));
        let mut values = vec!['a', 'b', 'c', 'd', 'e'];
        remap.apply(&mut values);
        assert_eq!(values, ['a', 'c', 'e']);
        let turned = Remap::new(vec![1, GONE, 0]);
        let mut values = vec!["x".to_string(), "y".into()];
        turned.apply(&mut values);
        assert_eq!(values, ["", "x"]);
    }
}
