//! What the initializers of a node are called.

use super::data_file::QuantisedNames;
use olive_kernels::quant::{BlockFormat, PartKind, WeightFormat};

/// Names of the initializers that the weight `name` becomes; the reference's quantisers name them differently.
pub(crate) fn quantised_names(name: &str, format: BlockFormat) -> QuantisedNames {
    let part = |part| format.part_name(name, part);
    QuantisedNames {
        codes: part(PartKind::Codes),
        scales: part(PartKind::Scales),
        zero_points: format.has_zero_points().then(|| part(PartKind::ZeroPoints)),
    }
}

/// `/model/layers.0/mlp/up_proj/MatMul` → `model.layers.0.mlp.up_proj.MatMul`.
pub(super) fn initializer_name(node: &str) -> String {
    node.trim_start_matches('/').replace('/', ".")
}
