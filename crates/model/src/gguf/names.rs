//! Tensors of a GGUF file by their Hugging Face names, and what must be done to their values.

use super::Found;
use super::file::Gguf;
use olive_arch::Attention;
use std::ops::Range;

/// A tensor of the converted checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Hugging Face name.
    pub(super) name: String,
    /// Name in the file.
    pub(super) source: String,
    /// The rows of the file's tensor that this one is, if not all.
    pub(super) rows: Option<Range<usize>>,
    pub(super) change: Change,
}

/// How the file's values differ from those of a Hugging Face checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// Rows of every head are `[pair, half]` where Hugging Face has `[half, pair]`: the rotation there works on
    /// neighbours.
    Interleaved {
        heads: usize,
    },
    /// One has been added to a norm that is stored as an offset from one.
    PlusOne,
}

/// Computed by whoever reads the file, from what the metadata says.
const NOT_WEIGHTS: [&str; 3] = ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

/// Families whose converter reorders the rows of q and k. GLM and ERNIE rotate neighbours in Hugging Face too: their
/// rows stay as they are.
const INTERLEAVED: [&str; 4] = ["llama", "mistral3", "granite", "smollm3"];

/// Every tensor of the file, in the order of the Hugging Face names.
pub(super) fn targets(gguf: &Gguf, arch: &str, attention: &Attention) -> Found<Vec<Target>> {
    let mut targets = Vec::new();
    for source in gguf.tensor_names() {
        if NOT_WEIGHTS.contains(&source) {
            continue;
        }
        let mut add = |named: &str, rows: Option<Range<usize>>| -> Found<()> {
            let name = name(named, arch)
                .ok_or_else(|| format!("tensor `{source}` is not known of `{arch}` models"))?;
            targets.push(Target {
                name,
                source: source.to_owned(),
                rows,
                change: change(named, arch, attention),
            });
            Ok(())
        };
        match source.split_once(".attn_qkv.").filter(|_| !attention.packed_qkv) {
            None => add(source, None)?,
            // Only the file has q, k and v in one matrix.
            Some((layer, suffix)) => {
                let (q, kv) = (attention.q_size(), attention.kv_size());
                let found = gguf.tensor(source).and_then(|(shape, _)| shape.first().copied());
                if found != Some(q + 2 * kv) {
                    return Err(format!("`{source}` has not the {} rows of q, k and v", q + 2 * kv));
                }
                for (letter, rows) in [("q", 0..q), ("k", q..q + kv), ("v", q + kv..q + 2 * kv)] {
                    add(&format!("{layer}.attn_{letter}.{suffix}"), Some(rows))?;
                }
            }
        }
    }
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(targets)
}

fn change(source: &str, arch: &str, attention: &Attention) -> Change {
    let interleaved = INTERLEAVED.contains(&arch);
    if interleaved && source.contains(".attn_q.") {
        Change::Interleaved { heads: attention.heads }
    } else if interleaved && source.contains(".attn_k.") {
        Change::Interleaved { heads: attention.kv_heads }
    } else if arch.starts_with("gemma") && source.ends_with("norm.weight") {
        Change::PlusOne
    } else {
        Change::None
    }
}

fn name(source: &str, arch: &str) -> Option<String> {
    match source {
        "token_embd.weight" => return Some("model.embed_tokens.weight".into()),
        "output_norm.weight" => return Some("model.norm.weight".into()),
        "output.weight" => return Some("lm_head.weight".into()),
        _ => {}
    }
    let (layer, rest) = source.strip_prefix("blk.")?.split_once('.')?;
    let (part, suffix) = rest.rsplit_once('.')?;
    if layer.parse::<usize>().is_err() || !matches!(suffix, "weight" | "bias") {
        return None;
    }
    let packed_gate_up = matches!(arch, "phi3" | "chatglm" | "glm4");
    let part = match part {
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_qkv" => "self_attn.qkv_proj",
        "attn_output" => "self_attn.o_proj",
        "attn_q_norm" => "self_attn.q_norm",
        "attn_k_norm" => "self_attn.k_norm",
        "ffn_gate" => "mlp.gate_proj",
        // Phi-3 and GLM keep gate and up in one matrix, as their checkpoints do.
        "ffn_up" if packed_gate_up => "mlp.gate_up_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        "attn_norm" => "input_layernorm",
        "ffn_norm" if matches!(arch, "gemma2" | "gemma3") => "pre_feedforward_layernorm",
        "ffn_norm" => "post_attention_layernorm",
        "post_attention_norm" if arch == "glm4" => "post_self_attn_layernorm",
        "post_ffw_norm" if arch == "glm4" => "post_mlp_layernorm",
        "post_attention_norm" => "post_attention_layernorm",
        "post_ffw_norm" => "post_feedforward_layernorm",
        _ => return None,
    };
    Some(format!("model.layers.{layer}.{part}.{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn norms_are_named_by_their_place() {
        for (arch, source, expected) in [
            ("llama", "blk.3.ffn_norm.weight", "model.layers.3.post_attention_layernorm.weight"),
            ("gemma2", "blk.3.ffn_norm.weight", "model.layers.3.pre_feedforward_layernorm.weight"),
            ("olmo2", "blk.0.post_ffw_norm.weight", "model.layers.0.post_feedforward_layernorm.weight"),
            ("phi3", "blk.0.ffn_up.weight", "model.layers.0.mlp.gate_up_proj.weight"),
            ("gemma", "blk.1.ffn_norm.weight", "model.layers.1.post_attention_layernorm.weight"),
            ("glm4", "blk.1.ffn_norm.weight", "model.layers.1.post_attention_layernorm.weight"),
            ("glm4", "blk.1.post_attention_norm.weight", "model.layers.1.post_self_attn_layernorm.weight"),
            ("glm4", "blk.1.post_ffw_norm.weight", "model.layers.1.post_mlp_layernorm.weight"),
            (
                "seed_oss",
                "blk.1.post_attention_norm.weight",
                "model.layers.1.post_attention_layernorm.weight",
            ),
            ("exaone4", "blk.1.post_ffw_norm.weight", "model.layers.1.post_feedforward_layernorm.weight"),
            ("qwen2", "blk.0.attn_k.bias", "model.layers.0.self_attn.k_proj.bias"),
        ] {
            assert_eq!(name(source, arch).as_deref(), Some(expected));
        }
        assert_eq!(name("blk.0.ffn_gate_exps.weight", "llama"), None);
        assert_eq!(name("blk.x.ffn_up.weight", "llama"), None);
    }
}
