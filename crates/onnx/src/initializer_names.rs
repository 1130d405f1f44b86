//! What the initializers of a node are called.

/// `/model/layers.0/mlp/up_proj/MatMul` → `model.layers.0.mlp.up_proj.MatMul`.
pub(super) fn initializer_name(node: &str) -> String {
    node.trim_start_matches('/').replace('/', ".")
}
