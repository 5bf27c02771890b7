//! Prices: 10 to the power of something up to 6, in cents; so as many below ten as between a hundred thousand and a
//! million.

use std::f64::consts::LN_10;

use super::random::draw;

const DECADES: f64 = 6.0;
const STEPS: u32 = 1 << 10;

/// Powers from tables, which cost less than computing them.
#[derive(Debug)]
pub(super) struct Prices {
    coarse: Vec<f64>,
    fine: Vec<f64>,
}

impl Prices {
    pub(super) fn new() -> Self {
        let power = |i: u32, steps: f64| 10f64.powf(DECADES * f64::from(i) / steps);
        let (one, two) = (f64::from(STEPS), f64::from(STEPS) * f64::from(STEPS));
        Self {
            coarse: (0..STEPS).map(|i| 100.0 * power(i, one)).collect(),
            fine: (0..STEPS).map(|i| power(i, two)).collect(),
        }
    }

    /// A price, from 100 up to 100,000,000, in cents.
    #[inline]
    pub(super) fn draw(&self, root: u64, field: u64) -> i64 {
        let bits = draw(root, field);
        let coarse = self.coarse[(bits >> 54) as usize % STEPS as usize];
        let fine = self.fine[(bits >> 44) as usize % STEPS as usize];
        // So near to 1, a power is as good as its tangent.
        let rest = (bits >> 28 & 0xffff) as f64 * (DECADES * LN_10 / (f64::from(STEPS) * f64::from(STEPS) * 65_536.0));
        (coarse * fine * (1.0 + rest) + 0.5) as i64
    }
}
