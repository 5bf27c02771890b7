//! A hash table of numbers, of keys that lie elsewhere.

/// Open addressing with linear probing, at most half full. What a number stands for is compared by the caller.
pub(super) struct Slots {
    /// A number and 1, or 0 where there is none; as many as a power of two.
    slots: Vec<u32>,
    /// Takes as many of a hash's high bits as there are slots.
    shift: u32,
}

/// Where a key is not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vacant(usize);

impl Slots {
    /// With room for so many numbers.
    pub fn with_room(numbers: usize) -> Self {
        let bits = (numbers.max(8) * 2).next_power_of_two().ilog2();
        Self { slots: vec![0; 1 << bits], shift: u64::BITS - bits }
    }

    /// Whether there is no room for one more than so many.
    pub fn is_full(&self, numbers: usize) -> bool {
        numbers >= self.slots.len() / 2
    }

    /// The number at the place where a key of this hash is looked for first, and 1; 0 when there is none. For most keys that are
    /// there it is theirs. It does nothing but read, so that a processor waits for many at a time.
    #[inline]
    pub fn peek(&self, hash: u64) -> u32 {
        self.slots[(hash >> self.shift) as usize]
    }

    /// The number of a key, or where it is to be put.
    #[inline]
    pub fn find(&self, hash: u64, same: impl Fn(u32) -> bool) -> Result<u32, Vacant> {
        let mask = self.slots.len() - 1;
        let mut place = (hash >> self.shift) as usize;
        loop {
            match self.slots[place] {
                0 => return Err(Vacant(place)),
                slot if same(slot - 1) => return Ok(slot - 1),
                _ => place = (place + 1) & mask,
            }
        }
    }

    /// Puts a number, which must be below `u32::MAX`, where its key was not found; nothing may have been put since.
    pub fn put(&mut self, place: Vacant, number: u32) {
        self.slots[place.0] = number + 1;
    }

    /// A table of the numbers from 0 on with these hashes, of different keys, and room for so many.
    pub fn of(hashes: impl Iterator<Item = u64>, room: usize) -> Self {
        let mut slots = Self::with_room(room);
        for (number, hash) in (0..).zip(hashes) {
            if let Err(vacant) = slots.find(hash, |_| false) {
                slots.put(vacant, number);
            }
        }
        slots
    }

    pub fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_however_their_hashes_collide() {
        // The same high bits for all, at the end of the table.
        let hashes: Vec<u64> = (0..100).map(|i| u64::MAX - i % 3).collect();
        let keys: Vec<usize> = (0..100).collect();
        let mut slots = Slots::with_room(0);
        for (key, hash) in keys.iter().zip(&hashes) {
            if slots.is_full(*key) {
                slots = Slots::of(hashes[..*key].iter().copied(), key * 2);
            }
            let vacant = slots.find(*hash, |n| keys[n as usize] == *key).unwrap_err();
            slots.put(vacant, *key as u32);
        }
        for (key, hash) in keys.iter().zip(&hashes) {
            assert_eq!(slots.find(*hash, |n| keys[n as usize] == *key).ok(), Some(*key as u32));
        }
        assert!(slots.find(0, |_| true).is_ok_and(|n| n > 0));
        assert_eq!(slots.peek(1 << 63), 0);
        assert!(slots.bytes() >= 800);
    }
}
