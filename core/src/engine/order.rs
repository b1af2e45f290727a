//! Numbers in an order that a seed decides, without a list of them: so any part of the order can be
//! gone through anywhere, and a run can be repeated.

/// A permutation of the numbers below a limit: a Feistel network over the next larger power of four,
/// walked until it comes to a number below the limit.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    len: u128,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

/// Four are enough for a permutation that looks random to whoever does not try to break it.
const ROUNDS: usize = 4;

impl Order {
    /// The numbers below `len`.
    #[must_use]
    pub fn new(len: u128, seed: u64) -> Self {
        let bits = u128::BITS - len.saturating_sub(1).leading_zeros();
        let mut state = seed;
        let keys = [(); ROUNDS].map(|()| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            mixed(state)
        });
        Self { len, half_bits: bits.div_ceil(2), keys }
    }

    /// Which number comes at this position, below the limit as the position is.
    #[must_use]
    pub fn at(&self, position: u128) -> u128 {
        if self.len <= 1 {
            return position;
        }
        // Arithmetic of 128 bits takes several times as long, and few runs need it.
        if let (Ok(position), Ok(len)) = (u64::try_from(position), u64::try_from(self.len))
            && self.half_bits < u32::BITS
        {
            return self.at_short(position, len).into();
        }
        let mut number = position;
        loop {
            number = self.once(number);
            if number < self.len {
                return number;
            }
        }
    }

    /// As `at`, where all numbers are short.
    fn at_short(&self, position: u64, len: u64) -> u64 {
        let mask = (1_u64 << self.half_bits) - 1;
        let mut number = position;
        loop {
            let (mut left, mut right) = (number >> self.half_bits, number & mask);
            for key in self.keys {
                (left, right) = (right, left ^ (mixed(right ^ key) & mask));
            }
            number = (left << self.half_bits) | right;
            if number < len {
                return number;
            }
        }
    }

    fn once(&self, number: u128) -> u128 {
        let mask = (1_u128 << self.half_bits) - 1;
        let (mut left, mut right) = (number >> self.half_bits, number & mask);
        for key in self.keys {
            #[allow(clippy::cast_possible_truncation, reason = "a half has at most 64 bits")]
            let scrambled = u128::from(mixed(right as u64 ^ key)) & mask;
            (left, right) = (right, left ^ scrambled);
        }
        (left << self.half_bits) | right
    }
}

/// The finalizer of SplitMix64: each bit of the result depends on all of `x`.
pub(super) fn mixed(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_comes_once() {
        for len in [0, 1, 2, 3, 4, 5, 16, 17, 1000, 65_535, 65_537] {
            let order = Order::new(len, 7);
            let mut found: Vec<u128> = (0..len).map(|position| order.at(position)).collect();
            found.sort_unstable();
            assert!(found.iter().copied().eq(0..len), "{len}");
        }
    }

    #[test]
    fn a_seed_is_an_order() {
        let order = |seed| -> Vec<u128> {
            let order = Order::new(1000, seed);
            (0..1000).map(|position| order.at(position)).collect()
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let in_place = order(1).iter().zip(0..).filter(|&(&number, place)| number == place).count();
        assert!(in_place < 10, "{in_place} of 1000 stayed where they were");
    }

    #[test]
    fn short_numbers_have_the_same_order() {
        for len in [2, 3, 1000, 1 << 33] {
            let order = Order::new(len, 5);
            for position in 0..len.min(500) {
                let mut number = position;
                loop {
                    number = order.once(number);
                    if number < len {
                        break;
                    }
                }
                assert_eq!(order.at(position), number, "{position} of {len}");
            }
        }
    }

    #[test]
    fn the_largest_space() {
        let order = Order::new(u128::MAX, 3);
        assert_ne!(order.at(0), order.at(1));
    }
}
