//! What tensors are called in files.

use olive_arch::{GGUF_NORMS, LinearKind, Spec};

/// The name of a checkpoint's tensor in a file; `None` for what no such model has.
pub(super) fn in_file(name: &str, spec: &Spec) -> Option<String> {
    match name {
        Spec::EMBEDDING => return Some("token_embd.weight".into()),
        Spec::HEAD => return Some("output.weight".into()),
        "model.norm.weight" => return Some("output_norm.weight".into()),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (part, suffix) = rest.rsplit_once('.')?;
    let part = part_in_file(part, spec)?;
    Some(format!("blk.{layer}.{part}.{suffix}"))
}

/// The kind of a linear layer by its module path, from wherever that begins.
pub(super) fn kind(module: &str) -> Option<LinearKind> {
    let (_, name) = module.rsplit_once('.')?;
    LinearKind::ALL.into_iter().find(|kind| kind.name() == name)
}

fn part_in_file(part: &str, spec: &Spec) -> Option<&'static str> {
    if let Some(norm) = part.strip_suffix("_layernorm") {
        let place = spec.norm_layout.names().iter().position(|name| *name == Some(norm))?;
        let named_by_attention = place == 2 && spec.family.gguf.names_mlp_norm_by_attention;
        return Some(GGUF_NORMS[if named_by_attention { 1 } else { place }]);
    }
    match part {
        "self_attn.q_norm" => Some("attn_q_norm"),
        "self_attn.k_norm" => Some("attn_k_norm"),
        _ => kind(part).map(LinearKind::gguf_name),
    }
}
