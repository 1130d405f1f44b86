//! Half-quadratic quantisation (Badri and Shaji 2023) to 4 bits: the zero points of a matrix are moved until its errors, of which
//! a few may be large, no longer become smaller. Blocks lie along the rows, as ONNX Runtime has them.

/// Codes of a matrix, `[rows, blocks, block · 4 / 8]`, and its scales and zero points, `[rows, blocks]`.
pub(super) struct Hqq {
    pub(super) codes: Vec<u8>,
    pub(super) scales: Vec<f32>,
    pub(super) zeros: Vec<f32>,
}

const TOP: f32 = 15.0;
const ROUNDS: usize = 20;
/// The exponent of the norm that errors are measured in, less one.
const NORM: f32 = -0.3;
const GROWTH: f32 = 1.01;
const FIRST_BETA: f32 = 10.0;
/// Beyond this a block is taken for one value.
const STEEPEST: f32 = 2e4;

pub(super) fn quantise(values: &[f32], cols: usize, block_size: usize) -> Hqq {
    let blocks: Vec<&[f32]> =
        values.chunks_exact(cols.max(1)).flat_map(|row| row.chunks(block_size)).collect();
    let range = |block: &[f32]| {
        let least = block.iter().copied().fold(f32::INFINITY, f32::min);
        (least, block.iter().copied().fold(f32::NEG_INFINITY, f32::max))
    };
    let steps: Vec<f32> = blocks
        .iter()
        .map(|block| {
            let (least, most) = range(block);
            (TOP / (most - least)).min(STEEPEST)
        })
        .collect();
    let mut zeros: Vec<f32> =
        blocks.iter().zip(&steps).map(|(block, step)| (-range(block).0 * step).round_ties_even()).collect();
    let mut best = f64::INFINITY;
    let mut beta = FIRST_BETA;
    for _ in 0..ROUNDS {
        let mut moved = zeros.clone();
        let mut error = 0.0;
        for ((block, step), zero) in blocks.iter().zip(&steps).zip(&mut moved) {
            let mut sum = 0.0;
            for value in *block {
                let code = code(*value, *step, *zero);
                let rest = value - (code - *zero) / step;
                error += f64::from(rest.abs());
                let kept = (rest.abs() - (rest.abs() + 1e-8).powf(NORM) / beta).max(0.0).copysign(rest);
                sum += code - (value - if rest == 0.0 { 0.0 } else { kept }) * step;
            }
            *zero = sum / block.len() as f32;
        }
        beta *= GROWTH;
        if error >= best {
            break;
        }
        best = error;
        zeros = moved;
    }
    let mut codes = Vec::with_capacity(values.len() / 2);
    for ((block, step), zero) in blocks.iter().zip(&steps).zip(&zeros) {
        let mut padded: Vec<u8> = block.iter().map(|value| code(*value, *step, *zero) as u8).collect();
        padded.resize(block_size, 0);
        codes.extend(padded.chunks(2).map(|pair| pair[0] | pair.get(1).copied().unwrap_or(0) << 4));
    }
    Hqq { codes, scales: steps.iter().map(|step| 1.0 / step).collect(), zeros }
}

fn code(value: f32, step: f32, zero: f32) -> f32 {
    (value * step + zero).round_ties_even().clamp(0.0, TOP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_closer_than_with_the_first_zero_points() {
        let (rows, cols, block) = (16, 96, 32);
        let values: Vec<f32> =
            (0..rows * cols).map(|i| ((i * 7919 % 1013) as f32 * 0.37).sin() * 0.1).collect();
        let hqq = quantise(&values, cols, block);
        let (mut error, mut size) = (0.0, 0.0);
        for (i, value) in values.iter().enumerate() {
            let place = i / cols * (cols / block) + i % cols / block;
            let code = hqq.codes[i / 2] >> (4 * (i % 2)) & 15;
            let got = (f32::from(code) - hqq.zeros[place]) * hqq.scales[place];
            error += (got - value) * (got - value);
            size += value * value;
        }
        assert!((error / size).sqrt() < 0.1, "{}", (error / size).sqrt());
    }
}
