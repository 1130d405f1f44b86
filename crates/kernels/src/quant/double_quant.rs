//! Double quantisation: the scales of 4-bit blocks, less their mean, in 8 bits with a scale per 256 of them.
//!
//! The 8-bit code is bitsandbytes' dynamic map (Dettmers 2015, "8-Bit Approximations for Parallelism in Deep
//! Learning"): seven decades, of which the higher ones have more steps.

use std::sync::LazyLock;

/// Scales that share a scale.
pub const BLOCK: usize = 256;

/// Scales in 8 bits, as they are stored.
#[derive(Clone, Copy)]
pub struct NestedScales<'a> {
    pub codes: &'a [u8],
    /// Scale of every 256 codes.
    pub absmax: &'a [f32],
    /// Mean of all scales.
    pub offset: f32,
}

impl NestedScales<'_> {
    #[inline(always)]
    pub(super) fn of(&self, index: usize) -> f32 {
        DYNAMIC_MAP[usize::from(self.codes[index])] * self.absmax[index / BLOCK] + self.offset
    }
}

/// What [`quantise`] gives.
pub struct Nested {
    pub codes: Vec<u8>,
    pub absmax: Vec<f32>,
    pub offset: f32,
}

/// The value of every code, ascending.
pub static DYNAMIC_MAP: LazyLock<[f32; 256]> = LazyLock::new(|| {
    const DECADES: usize = 7;
    let mut map = vec![0.0, 1.0];
    for decade in 0..DECADES {
        // torch.linspace(0.1, 1, n): from the nearer end, with fused multiply-adds.
        let n = (1 << decade) + 1;
        let step = (1.0f32 - 0.1) / (n - 1) as f32;
        let edge = |i: usize| match i < n / 2 {
            true => step.mul_add(i as f32, 0.1),
            false => (-step).mul_add((n - 1 - i) as f32, 1.0),
        };
        let unit = 10f64.powi(decade as i32 - (DECADES as i32 - 1)) as f32;
        for i in 0..n - 1 {
            let middle = unit * ((edge(i) + edge(i + 1)) / 2.0);
            map.extend([middle, -middle]);
        }
    }
    map.sort_by(f32::total_cmp);
    map.try_into().expect("2 · (2⁷ - 1) + 2 values")
});

/// The code of every point of a grid on [-1, 1]. bitsandbytes looks codes up in such a grid, so that values next to the
/// middle of two codes go to the one that the nearest grid point goes to.
static GRID: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let map = &*DYNAMIC_MAP;
    let point = |i: u32| (f64::from(i) / f64::from(GRID_END) * 2.0 - 1.0) as f32;
    let nearest = |value: f32| {
        let right = map.partition_point(|entry| *entry < value).clamp(1, map.len() - 1);
        let left = right - 1;
        (if map[right] - value < value - map[left] { right } else { left }) as u8
    };
    (0..=GRID_END).map(|i| nearest(point(i))).collect()
});

const GRID_END: u32 = 65_535;

/// Quantises the scales of a matrix.
pub fn quantise(scales: &[f32]) -> Nested {
    let offset = mean(scales);
    let grid = &*GRID;
    let mut codes = vec![0; scales.len()];
    let mut absmax = Vec::with_capacity(scales.len().div_ceil(BLOCK));
    for (block, codes) in scales.chunks(BLOCK).zip(codes.chunks_mut(BLOCK)) {
        let max = block.iter().fold(0f32, |max, scale| max.max((scale - offset).abs()));
        absmax.push(max);
        if max == 0.0 {
            continue; // Zeros, as in bitsandbytes: with a scale of 0 every code means the offset.
        }
        let factor = 1.0 / max;
        for (code, scale) in codes.iter_mut().zip(block) {
            let value = ((scale - offset) * factor).clamp(-1.0, 1.0);
            *code = grid[((value + 1.0) * 0.5).mul_add(GRID_END as f32, 0.5) as usize];
        }
    }
    Nested { codes, absmax, offset }
}

/// The mean as torch computes it in f32 on one thread of a machine with AVX2: the order of the sums decides the last
/// bit, and with it the codes (`cascade_sum` of ATen/native/cpu/SumKernel.cpp).
fn mean(values: &[f32]) -> f32 {
    const LANES: usize = 8;
    let sum = if values.len() < LANES {
        cascade(values, |value| [*value])[0]
    } else {
        let (vectors, rest) = values.as_chunks::<LANES>();
        let lanes = cascade(vectors, |vector| *vector);
        lanes.iter().fold(rest.iter().sum::<f32>(), |sum, lane| sum + lane)
    };
    sum / values.len() as f32
}

/// Sums of vectors, lane by lane: four interleaved sums, each in four levels of growing steps.
fn cascade<T, const N: usize>(vectors: &[T], load: impl Fn(&T) -> [f32; N]) -> [f32; N] {
    const INTERLEAVED: usize = 4;
    const LEVELS: usize = 4;
    let add = |sum: &mut [f32; N], vector: [f32; N]| {
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
    };
    let (groups, rest) = vectors.as_chunks::<INTERLEAVED>();
    let ceil_log2 = groups.len().max(1).next_power_of_two().trailing_zeros() as usize;
    let power = (ceil_log2 / LEVELS).max(4);
    let step = 1 << power;
    let mut sums = [[[0.0; N]; INTERLEAVED]; LEVELS];
    for (i, group) in groups.iter().enumerate() {
        for (sum, vector) in sums[0].iter_mut().zip(group) {
            add(sum, load(vector));
        }
        let done = i + 1;
        if done % step != 0 {
            continue;
        }
        for level in 1..LEVELS {
            let lower = std::mem::replace(&mut sums[level - 1], [[0.0; N]; INTERLEAVED]);
            sums[level].iter_mut().zip(lower).for_each(|(sum, lower)| add(sum, lower));
            if done & ((step - 1) << (level * power)) != 0 {
                break;
            }
        }
    }
    let [mut sums, upper @ ..] = sums;
    for level in upper {
        sums.iter_mut().zip(level).for_each(|(sum, upper)| add(sum, upper));
    }
    rest.iter().for_each(|vector| add(&mut sums[0], load(vector)));
    let [mut first, others @ ..] = sums;
    others.into_iter().for_each(|sum| add(&mut first, sum));
    first
}
