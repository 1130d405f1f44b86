//! Grids by weighted least squares, as the "k-quant" pass for checkpoints finds them.

use super::grid::{Grid, Scheme};

/// How far the number of steps is varied, in tenths.
const TRIALS: i32 = 20;

/// The grid of some weights with the least `Σ w (value − x)²`, `w = √(mean x²) + |x|`, among those whose steps are somewhat
/// narrower than the range asks for. Everything is f32; the scale is rounded to its type at the end.
pub fn least_squares_grid(scheme: &Scheme, weights: &[f32]) -> Grid {
    let mean = weights.iter().map(|x| x * x).sum::<f32>() / weights.len().max(1) as f32;
    let root = mean.sqrt();
    let importance: Vec<f32> = weights.iter().map(|x| root + x.abs()).collect();
    let top = ((1u32 << scheme.bits) - 1) as f32;
    let (scale, zero) = if scheme.symmetric {
        (symmetric(weights, &importance, top), (top + 1.0) / 2.0)
    } else {
        asymmetric(weights, &importance, top)
    };
    let mut scale = [scale];
    scheme.float.round(&mut scale);
    let scale = if scale[0] == 0.0 { scheme.float.smallest() } else { scale[0] };
    Grid { scale, zero, top }
}

fn error(weights: &[f32], importance: &[f32], codes: &[f32], scale: f32, offset: f32) -> f32 {
    let one = |((x, w), code): ((&f32, &f32), &f32)| {
        let difference = scale * code + offset - x;
        w * difference * difference
    };
    weights.iter().zip(importance).zip(codes).map(one).sum()
}

/// Scale and zero point.
fn asymmetric(weights: &[f32], importance: &[f32], top: f32) -> (f32, f32) {
    let mut low = weights.iter().copied().fold(0.0, f32::min);
    let mut high = weights.iter().copied().fold(0.0, f32::max);
    if low == 0.0 && high == 0.0 {
        (low, high) = (-1.0, 1.0);
    }
    let range = high - low;
    let code = |factor: f32, x: f32| (factor / range * (x - low)).round_ties_even().clamp(0.0, top);
    let mut codes: Vec<f32> = weights.iter().map(|x| code(top, *x)).collect();
    let (mut scale, mut offset) = (1.0 / (top / range), low);
    let mut least = error(weights, importance, &codes, scale, offset);
    let sum_w: f32 = importance.iter().sum();
    let sum_x: f32 = importance.iter().zip(weights).map(|(w, x)| w * x).sum();
    for trial in 0..TRIALS {
        let factor = top - 1.0 + 0.1 * trial as f32;
        codes.iter_mut().zip(weights).for_each(|(l, x)| *l = code(factor, *x));
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0.0f32, 0.0f32, 0.0f32);
        for ((l, w), x) in codes.iter().zip(importance).zip(weights) {
            sum_l += w * l;
            sum_l2 += w * l * l;
            sum_xl += w * l * x;
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        let (own_scale, own_offset) = if determinant > 0.0 {
            ((sum_w * sum_xl - sum_x * sum_l) / determinant, (sum_l2 * sum_x - sum_l * sum_xl) / determinant)
        } else {
            (1.0 / (factor / range), low)
        };
        let own = error(weights, importance, &codes, own_scale, own_offset);
        if own < least {
            (least, scale, offset) = (own, own_scale, own_offset);
        }
    }
    (scale, (0.0 - offset / scale).round_ties_even().clamp(0.0, top))
}

/// The scale of a grid whose zero is the middle code.
fn symmetric(weights: &[f32], importance: &[f32], top: f32) -> f32 {
    let mut range = weights.iter().fold(0.0f32, |range, x| range.max(x.abs()));
    if range == 0.0 {
        range = 1.0;
    }
    let high = ((top + 1.0) / 2.0) - 1.0;
    let low = -high - 1.0;
    let code = |factor: f32, x: f32| (factor / range * x).round_ties_even().clamp(low, high);
    let (mut scale, mut least) = (0.0, f32::INFINITY);
    for trial in std::iter::once(0).chain((-9..=9).filter(|trial| *trial != 0)) {
        let factor = high + 0.1 * trial as f32;
        let codes: Vec<f32> = weights.iter().map(|x| code(factor, *x)).collect();
        let (mut sum_l2, mut sum_xl) = (0.0f32, 0.0f32);
        for ((l, w), x) in codes.iter().zip(importance).zip(weights) {
            sum_l2 += w * l * l;
            sum_xl += w * l * x;
        }
        let own_scale = if sum_l2 > 0.0 { sum_xl / sum_l2 } else { 1.0 / (factor / range) };
        let own = error(weights, importance, &codes, own_scale, 0.0);
        if own < least {
            (least, scale) = (own, own_scale);
        }
    }
    scale
}
