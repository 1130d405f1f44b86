//! What tensors are called in files.

use olive_arch::{LinearKind, Spec};

const KINDS: [LinearKind; 9] = [
    LinearKind::Qkv,
    LinearKind::Q,
    LinearKind::K,
    LinearKind::V,
    LinearKind::O,
    LinearKind::GateUp,
    LinearKind::Gate,
    LinearKind::Up,
    LinearKind::Down,
];

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

fn part_in_file(part: &str, spec: &Spec) -> Option<&'static str> {
    if let Some(norm) = part.strip_suffix("_layernorm") {
        let place = spec.norm_layout.names().iter().position(|name| *name == Some(norm))?;
        let before_mlp =
            if spec.family.gguf.names_mlp_norm_by_attention { "post_attention_norm" } else { "ffn_norm" };
        return Some(["attn_norm", "post_attention_norm", before_mlp, "post_ffw_norm"][place]);
    }
    Some(match part {
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        _ => {
            let (_, module) = part.split_once('.')?;
            linear_in_file(KINDS.into_iter().find(|kind| kind.name() == module)?)
        }
    })
}

fn linear_in_file(kind: LinearKind) -> &'static str {
    match kind {
        LinearKind::Qkv => "attn_qkv",
        LinearKind::Q => "attn_q",
        LinearKind::K => "attn_k",
        LinearKind::V => "attn_v",
        LinearKind::O => "attn_output",
        // Both halves in one matrix, as they are.
        LinearKind::GateUp | LinearKind::Up => "ffn_up",
        LinearKind::Gate => "ffn_gate",
        LinearKind::Down => "ffn_down",
    }
}
