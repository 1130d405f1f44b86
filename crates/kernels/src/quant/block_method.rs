//! What the methods of quantising a block have in common. A method is a file with a type of this trait, and a name in
//! `Algorithm`.

use crate::float_type::FloatType;

/// What a method is told of all blocks.
#[derive(Clone, Copy)]
pub(super) struct BlockOptions {
    /// 4 or 8.
    pub(super) bits: u8,
    pub(super) block_size: usize,
    pub(super) symmetric: bool,
    pub(super) rounding: Rounding,
    pub(super) float: FloatType,
}

/// Where a value in the middle of two codes goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Upwards: values are rounded after the zero point was added.
    HalvesUp,
    /// Away from zero: values are rounded as signed numbers, before the zero point is added, as it is done for
    /// `DequantizeLinear`. Codes are stored unsigned all the same.
    HalvesAway,
}

/// Which of the reference's two quantisers a method belongs to. They name their tensors differently, and write them in
/// different orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantiser {
    OnnxRuntime,
    NeuralCompressor,
}

/// Buffers of a method, kept between blocks; they have no other use outside it.
#[derive(Default)]
pub(super) struct Buffers {
    /// A partial block with zeros in the place of what is not there.
    padded: Vec<f32>,
    pub(super) weights: Vec<f32>,
    pub(super) grid: Vec<f32>,
    pub(super) terms: Vec<f32>,
}

pub(super) trait BlockMethod: Sync {
    /// Codes of a block, of at most `block_size` elements; `codes` has room for that many. Gives the scale, before its
    /// rounding to the float type, and the zero point.
    fn encode(
        &self,
        block: &[f32],
        options: BlockOptions,
        buffers: &mut Buffers,
        codes: &mut [u8],
    ) -> (f32, u8);

    fn quantiser(&self) -> Quantiser;

    /// Whether zero points are stored.
    fn has_zero_points(&self, symmetric: bool) -> bool {
        !symmetric
    }

    /// Appends scale and zero point of every block of a row, and writes the codes to `packed`, block by block. A method
    /// of the trait, so that the call of `encode` is one of its own type's.
    fn encode_row(&self, row: &[f32], options: BlockOptions, encoder: &mut RowEncoder, packed: &mut [u8]) {
        let bytes = options.block_size * usize::from(options.bits) / 8;
        encoder.scales.clear();
        encoder.zeros.clear();
        encoder.codes.resize(options.block_size, 0);
        for (block, packed) in row.chunks(options.block_size).zip(packed.chunks_exact_mut(bytes)) {
            let (scale, zero) = self.encode(block, options, &mut encoder.buffers, &mut encoder.codes);
            pack_codes(&encoder.codes, options.bits, packed);
            encoder.scales.push(scale);
            encoder.zeros.push(zero);
        }
    }
}

/// What a row became, beside its codes, and the memory for it.
#[derive(Default)]
pub(super) struct RowEncoder {
    pub(super) scales: Vec<f32>,
    pub(super) zeros: Vec<u8>,
    codes: Vec<u8>,
    buffers: Buffers,
}

/// Codes of 8 bits as they are, of 4 bits two in a byte, the first in the low half.
pub(super) fn pack_codes(codes: &[u8], bits: u8, packed: &mut [u8]) {
    if bits == 8 {
        packed.copy_from_slice(codes);
        return;
    }
    for (byte, pair) in packed.iter_mut().zip(codes.chunks_exact(2)) {
        *byte = pair[0] | pair[1] << 4;
    }
}

/// Calls `encode` with the block and zeros behind it, where it is a partial one.
pub(super) fn padded<R>(
    block: &[f32],
    block_size: usize,
    buffers: &mut Buffers,
    encode: impl FnOnce(&[f32], &mut Buffers) -> R,
) -> R {
    if block.len() == block_size {
        return encode(block, buffers);
    }
    let mut whole = std::mem::take(&mut buffers.padded);
    whole.clear();
    whole.extend_from_slice(block);
    whole.resize(block_size, 0.0);
    let result = encode(&whole, buffers);
    buffers.padded = whole;
    result
}
