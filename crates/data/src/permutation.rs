//! numpy's `default_rng(seed).permutation(n)`, bit for bit: SeedSequence, PCG64, and a Fisher-Yates shuffle.
//!
//! M. O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for Random Number
//! Generation" (2014), variant XSL-RR 128/64; SeedSequence after her `seed_seq_fe`, as numpy documents it.

const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

/// `numpy.random.default_rng(seed).permutation(n)`.
pub(crate) fn permutation(seed: u64, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    let mut generator = Pcg64::new(seed);
    for i in (1..n).rev() {
        order.swap(i, generator.up_to(i as u64) as usize);
    }
    order
}

struct Pcg64 {
    state: u128,
    increment: u128,
    /// The upper half of a 64-bit output of which the lower half was used.
    half: Option<u32>,
}

impl Pcg64 {
    fn new(seed: u64) -> Pcg64 {
        let [s1, s0, i1, i0] = seed_words(seed);
        let wide = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        let mut generator = Pcg64 { state: 0, increment: wide(i1, i0) << 1 | 1, half: None };
        generator.step();
        generator.state = generator.state.wrapping_add(wide(s1, s0));
        generator.step();
        generator
    }

    fn step(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }

    fn next_u64(&mut self) -> u64 {
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    fn next_u32(&mut self) -> u32 {
        self.half.take().unwrap_or_else(|| {
            let value = self.next_u64();
            self.half = Some((value >> 32) as u32);
            value as u32
        })
    }

    /// Uniform in `0..=max`, by masking and rejection.
    fn up_to(&mut self, max: u64) -> u64 {
        let mask = u64::MAX.checked_shr(max.leading_zeros()).unwrap_or(0);
        loop {
            let value =
                if max <= u64::from(u32::MAX) { u64::from(self.next_u32()) } else { self.next_u64() } & mask;
            if value <= max {
                return value;
            }
        }
    }
}

/// `SeedSequence(seed).generate_state(4, uint64)`.
fn seed_words(seed: u64) -> [u64; 4] {
    const POOL: usize = 4;
    let mut hash_constant = 0x43b0_d7e5u32;
    let mut hash = |value: u32| {
        let mut value = value ^ hash_constant;
        hash_constant = hash_constant.wrapping_mul(0x931e_8875);
        value = value.wrapping_mul(hash_constant);
        value ^ (value >> 16)
    };
    let mix = |x: u32, y: u32| {
        let value = 0xca01_f9ddu32.wrapping_mul(x).wrapping_sub(0x4973_f715u32.wrapping_mul(y));
        value ^ (value >> 16)
    };
    let entropy = [seed as u32, (seed >> 32) as u32, 0, 0];
    let mut pool = entropy.map(&mut hash);
    for source in 0..POOL {
        for target in 0..POOL {
            if source != target {
                pool[target] = mix(pool[target], hash(pool[source]));
            }
        }
    }
    let mut constant = 0x8b51_f9ddu32;
    let mut words = (0..2 * POOL).map(|i| {
        let mut value = pool[i % POOL] ^ constant;
        constant = constant.wrapping_mul(0x58f3_8ded);
        value = value.wrapping_mul(constant);
        u64::from(value ^ (value >> 16))
    });
    let mut next = || words.next().unwrap_or(0);
    std::array::from_fn(|_| next() | next() << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that depends on every place of the order.
    fn digest(order: &[usize]) -> usize {
        order.iter().enumerate().map(|(i, &v)| (i + 1) * v).sum::<usize>() % 1_000_000_007
    }

    /// Expected values: numpy 2.4.6.
    #[test]
    fn permutes_as_numpy_does() {
        assert_eq!(permutation(42, 10), [5, 6, 0, 7, 3, 2, 4, 9, 1, 8]);
        assert_eq!(permutation(42, 1), [0]);
        assert_eq!(permutation(42, 0), [0; 0]);
        assert_eq!(digest(&permutation(0, 70_000)), 835_659_011);
        assert_eq!(digest(&permutation(7, 200_000)), 599_829_743);
        assert_eq!(digest(&permutation((1 << 40) + 3, 1000)), 249_104_901);
    }
}
