//! What the initializers of a node are called.

use super::data_file::QuantisedNames;
use olive_kernels::quant::{Algorithm, BlockFormat};

/// Names of the initializers that the weight `name` becomes; the reference's quantisers name them differently.
pub(crate) fn quantised_names(name: &str, format: BlockFormat) -> QuantisedNames {
    let BlockFormat { bits, block_size, .. } = format;
    let (codes, scales, zero_points) = match format.algorithm {
        Algorithm::Default => {
            (format!("{name}_Q{bits}"), format!("{name}_scales"), format!("{name}_zero_points"))
        }
        Algorithm::Rtn | Algorithm::KQuant => {
            (format!("{name}_Q{bits}G{block_size}"), format!("{name}_scale"), format!("{name}_zp"))
        }
    };
    QuantisedNames { codes, scales, zero_points: format.has_zero_points().then_some(zero_points) }
}

/// `/model/layers.0/mlp/up_proj/MatMul` → `model.layers.0.mlp.up_proj.MatMul`.
pub(super) fn initializer_name(node: &str) -> String {
    node.trim_start_matches('/').replace('/', ".")
}
