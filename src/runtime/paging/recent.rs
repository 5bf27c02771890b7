//! Which keys rows came for of late.

use super::bloom::mix;

const BITS: u64 = 1 << 23;

/// A bit for each key, shared by some: those that are set had rows since it was last cleared.
#[derive(Debug, Default)]
pub(super) struct Recent {
    bits: Vec<u64>,
    set: u64,
}

impl Recent {
    pub fn note(&mut self, hash: u64) {
        if self.bits.is_empty() {
            self.bits = vec![0; (BITS / 64) as usize];
        }
        let (word, bit) = place(hash);
        self.set += u64::from(self.bits[word] & bit == 0);
        self.bits[word] |= bit;
    }

    pub fn has(&self, hash: u64) -> bool {
        let (word, bit) = place(hash);
        self.bits.get(word).is_some_and(|w| w & bit != 0)
    }

    pub fn is_empty(&self) -> bool {
        self.set == 0
    }

    pub fn clear(&mut self) {
        self.bits.fill(0);
        self.set = 0;
    }

    pub fn bytes(&self) -> usize {
        self.bits.len() * 8
    }
}

fn place(hash: u64) -> (usize, u64) {
    let bit = mix(hash) % BITS;
    ((bit / 64) as usize, 1 << (bit % 64))
}
