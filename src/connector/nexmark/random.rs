//! Randomness by number: what is drawn depends on the seed, the event and the field alone, so that any event can be
//! made without those before it and any field without its neighbours.

/// The finaliser of SplitMix64: a bijection that spreads every input bit over the output.
#[inline]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// SplitMix64's step: the golden ratio's fraction.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The root of all that is drawn for event `number`.
#[inline]
pub(super) fn root(seed: u64, number: u64) -> u64 {
    mix(mix(seed.wrapping_add(STEP)).wrapping_add(number.wrapping_mul(STEP)))
}

/// What is drawn for one field of an event.
#[inline]
pub(super) fn draw(root: u64, field: u64) -> u64 {
    mix(root.wrapping_add(field.wrapping_mul(STEP)))
}

/// A number below `bound` from the upper half of a draw.
#[inline]
pub(super) fn high(draw: u64, bound: u64) -> u64 {
    ((draw >> 32) * bound) >> 32
}

/// A number below `bound` from the lower half of a draw; `bound` is at most 2^32.
#[inline]
pub(super) fn low(draw: u64, bound: u64) -> u64 {
    ((draw & 0xffff_ffff) * bound) >> 32
}

/// Many draws for one field, as texts need them.
#[derive(Debug)]
pub(super) struct Draws(u64);

impl Draws {
    /// Begins with what was drawn for the field.
    pub(super) fn new(draw: u64) -> Self {
        Self(draw)
    }

    /// A number below `bound`, which is at most 2^32.
    #[inline]
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        high(self.next(), bound)
    }

    /// 64 bits.
    #[inline]
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }
}
