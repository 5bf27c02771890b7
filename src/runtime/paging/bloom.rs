//! Which keys a segment may have.

/// A Bloom filter whose bits for a key all stand in one word, so that it is asked with one look into memory (Putze, Sanders and
/// Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007). Of keys that it was not told, about one in a thousand seems to be there.
#[derive(Debug)]
pub(super) struct Bloom {
    words: Vec<u64>,
}

/// How many bits stand for a key.
const BITS_PER_KEY: usize = 20;

impl Bloom {
    /// For so many keys.
    pub fn new(keys: usize) -> Self {
        Self { words: vec![0; (keys.saturating_mul(BITS_PER_KEY) / 64).max(1)] }
    }

    pub fn insert(&mut self, hash: u64) {
        let (word, bits) = self.place(hash);
        self.words[word] |= bits;
    }

    /// Whether a key may be there; `false` only if it is not.
    pub fn may_have(&self, hash: u64) -> bool {
        let (word, bits) = self.place(hash);
        self.words[word] & bits == bits
    }

    pub fn bytes(&self) -> usize {
        self.words.len() * 8
    }

    fn place(&self, hash: u64) -> (usize, u64) {
        let mixed = mix(hash);
        let word = ((u128::from(mixed) * self.words.len() as u128) >> 64) as usize;
        let bits = (0..6).fold(0, |bits, i| bits | 1 << (mixed >> (6 * i) & 63));
        (word, bits)
    }
}

/// The hash's bits, each depending on all: of one worker's keys the lower bits of the hash are much the same.
pub(super) fn mix(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found_and_little_else() {
        let mut bloom = Bloom::new(10_000);
        (0..10_000u64).for_each(|key| bloom.insert(key * 2));
        assert!((0..10_000u64).all(|key| bloom.may_have(key * 2)));
        let wrong = (0..10_000u64).filter(|key| bloom.may_have(key * 2 + 1)).count();
        assert!(wrong < 60, "{wrong} of 10000 that are not there seem to be");
    }
}
