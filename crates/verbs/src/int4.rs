//! Four-bit matrices for ONNX Runtime's `MatMulNBits`.

use crate::weights_file::element;
use crate::words::ZeroPoint;
use olive_kernels::quant::{Algorithm, BlockFormat, FloatType, QuantisedRows, Rounding, WeightFormat};
use olive_onnx::adapter_file::AdapterParameter;
use olive_onnx::proto::data_type;

/// How matrices become codes of four bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int4Options {
    /// 16, 32, 64, 128 or 256 weights that share a scale.
    pub block_size: u16,
    pub zero_point: ZeroPoint,
}

/// The parts of a matrix `[rows, cols]` whose product is taken with its rows, as ONNX Runtime's own quantiser makes them: codes
/// `[rows, blocks, bytes]`, and lists of scales and, where blocks have them, of zero points. `name` ends in `.weight`.
pub(crate) fn quantise(
    name: &str,
    mut matrix: Vec<f32>,
    [rows, cols]: [usize; 2],
    options: Int4Options,
    float: FloatType,
) -> Vec<AdapterParameter> {
    let format = BlockFormat {
        algorithm: Algorithm::Default,
        bits: 4,
        block_size: usize::from(options.block_size),
        symmetric: options.zero_point == ZeroPoint::Implied,
        rounding: Rounding::HalvesUp,
        float,
    };
    let mut quantised = QuantisedRows::default();
    format.quantise(&mut matrix, cols, &mut quantised);
    let stem = name.strip_suffix(".weight").unwrap_or(name);
    let part = |kind: &str, data_type, dims, bytes| AdapterParameter {
        name: format!("{stem}.quant.{kind}"),
        data_type,
        dims,
        bytes,
    };
    let blocks = format.blocks(cols);
    let codes = part("weight", data_type::UINT8, vec![rows, blocks, format.block_bytes()], quantised.codes);
    let scales = float.to_bytes(&quantised.scales);
    let scales = part("scale", element(float), vec![rows * blocks], scales);
    let zero_points = match options.zero_point {
        ZeroPoint::Implied => None,
        ZeroPoint::PerBlock => Some(part(
            "zero_point",
            data_type::UINT8,
            vec![quantised.zero_points.len()],
            quantised.zero_points,
        )),
    };
    [codes, scales].into_iter().chain(zero_points).collect()
}
