//! Python's `random.Random`: the Mersenne Twister MT19937, seeded and read as CPython does.
//!
//! M. Matsumoto, T. Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998); `init_by_array` of the authors' 2002 code.

const N: usize = 624;
const M: usize = 397;

pub struct PythonRandom {
    state: [u32; N],
    next: usize,
}

impl PythonRandom {
    /// `random.Random(seed)`.
    pub fn new(seed: u64) -> PythonRandom {
        let low = seed as u32;
        let high = (seed >> 32) as u32;
        let mut random = PythonRandom { state: [0; N], next: N };
        let key = [low, high];
        random.init_by_array(&key[..if high == 0 { 1 } else { 2 }]);
        random
    }

    fn init_by_array(&mut self, key: &[u32]) {
        let s = &mut self.state;
        s[0] = 19_650_218;
        for i in 1..N {
            s[i] = 1_812_433_253u32.wrapping_mul(s[i - 1] ^ (s[i - 1] >> 30)).wrapping_add(i as u32);
        }
        let (mut i, mut j) = (1, 0);
        let step = |s: &mut [u32; N], i: &mut usize| {
            *i += 1;
            if *i == N {
                s[0] = s[N - 1];
                *i = 1;
            }
        };
        for _ in 0..N.max(key.len()) {
            s[i] = (s[i] ^ (s[i - 1] ^ (s[i - 1] >> 30)).wrapping_mul(1_664_525))
                .wrapping_add(key[j])
                .wrapping_add(j as u32);
            step(s, &mut i);
            j = (j + 1) % key.len();
        }
        for _ in 0..N - 1 {
            s[i] = (s[i] ^ (s[i - 1] ^ (s[i - 1] >> 30)).wrapping_mul(1_566_083_941)).wrapping_sub(i as u32);
            step(s, &mut i);
        }
        s[0] = 0x8000_0000;
    }

    fn next_u32(&mut self) -> u32 {
        if self.next == N {
            for i in 0..N {
                let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
                let twist = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ twist;
            }
            self.next = 0;
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// `getrandbits(bits)` for 1 to 64 bits.
    fn bits(&mut self, bits: u32) -> u64 {
        if bits <= 32 {
            return u64::from(self.next_u32() >> (32 - bits));
        }
        let low = u64::from(self.next_u32());
        low | u64::from(self.next_u32() >> (64 - bits)) << 32
    }

    /// `randint(0, n - 1)`, the same as `randrange(n)`; `n` must not be 0.
    pub fn below(&mut self, n: u64) -> u64 {
        let bits = u64::BITS - n.leading_zeros();
        loop {
            let value = self.bits(bits);
            if value < n {
                return value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `randint(low, high)`.
    fn draws(seed: u64, low: i64, high: i64, n: usize) -> Vec<i64> {
        let mut random = PythonRandom::new(seed);
        (0..n).map(|_| low + random.below((high - low + 1) as u64) as i64).collect()
    }

    /// Expected values: CPython 3.11.
    #[test]
    fn draws_what_python_draws() {
        assert_eq!(draws(42, 0, 3, 13), [0, 0, 2, 1, 1, 1, 0, 0, 3, 0, 0, 0, 1]);
        assert_eq!(draws(0, 0, 99, 10), [49, 97, 53, 5, 33, 65, 62, 51, 38, 61]);
        assert_eq!(
            draws((1 << 40) + 3, -5, 1 << 40, 4),
            [134087964617, 669935018352, 939627458061, 1036092932399]
        );
        let long = draws(7, 0, 999_999, 2000);
        assert_eq!(long.iter().sum::<i64>(), 972728851);
    }
}
