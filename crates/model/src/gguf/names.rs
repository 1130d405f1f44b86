//! Tensors of a GGUF file by their Hugging Face names, and what must be done to their values.

use super::Found;
use super::file::Gguf;
use olive_arch::{GGUF_NORMS, LinearKind, NormLayout, Spec};
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

/// Every tensor of the file, in the order of the Hugging Face names.
pub(super) fn targets(gguf: &Gguf, spec: &Spec) -> Found<Vec<Target>> {
    let attention = &spec.attention;
    let arch = gguf.text("general.architecture")?.unwrap_or_default();
    let mut targets = Vec::new();
    for source in gguf.tensor_names() {
        if NOT_WEIGHTS.contains(&source) {
            continue;
        }
        let mut add = |named: &str, rows: Option<Range<usize>>| -> Found<()> {
            let name = name(named, spec.norm_layout, spec.mlp.packed_gate_up)
                .ok_or_else(|| format!("tensor `{source}` is not known of `{arch}` models"))?;
            targets.push(Target { name, source: source.to_owned(), rows, change: change(named, spec) });
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

fn change(source: &str, spec: &Spec) -> Change {
    let reordered = spec.family.gguf.reorders_qk;
    if reordered && source.contains(".attn_q.") {
        Change::Interleaved { heads: spec.attention.heads }
    } else if reordered && source.contains(".attn_k.") {
        Change::Interleaved { heads: spec.attention.kv_heads }
    } else if spec.norm_plus_one && source.ends_with("norm.weight") {
        Change::PlusOne
    } else {
        Change::None
    }
}

/// The Hugging Face name; `None` for what no model with such norms has.
fn name(source: &str, norms: NormLayout, packed_gate_up: bool) -> Option<String> {
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
    let part = match part {
        "attn_q_norm" => "self_attn.q_norm".into(),
        "attn_k_norm" => "self_attn.k_norm".into(),
        _ => linear(part, packed_gate_up).or_else(|| norm(part, norms))?,
    };
    Some(format!("model.layers.{layer}.{part}.{suffix}"))
}

/// A file has one matrix where the checkpoint has.
fn linear(part: &str, packed_gate_up: bool) -> Option<String> {
    let hides = |kind: &LinearKind| *kind == if packed_gate_up { LinearKind::Up } else { LinearKind::GateUp };
    let kind = LinearKind::ALL.into_iter().find(|kind| kind.gguf_name() == part && !hides(kind))?;
    Some(kind.path())
}

fn norm(part: &str, norms: NormLayout) -> Option<String> {
    let place = GGUF_NORMS.iter().position(|name| *name == part)?;
    let names = norms.names();
    let [_, attention_output, mlp, _] = names;
    // Some files name the norm before the MLP by the attention.
    let name = if place == 1 { attention_output.or(mlp) } else { names[place] };
    Some(format!("{}_layernorm", name?))
}

#[cfg(test)]
mod tests {
    use super::name;
    use olive_arch::NormLayout::{Post, Pre, PreAndPost, PreAndPostGlm};

    #[test]
    fn norms_are_named_by_their_place() {
        for (norms, source, expected) in [
            (Pre, "attn_norm", "input"),
            (Pre, "ffn_norm", "post_attention"),
            (Pre, "post_attention_norm", "post_attention"),
            (PreAndPost, "post_attention_norm", "post_attention"),
            (PreAndPost, "ffn_norm", "pre_feedforward"),
            (PreAndPost, "post_ffw_norm", "post_feedforward"),
            (PreAndPostGlm, "post_attention_norm", "post_self_attn"),
            (PreAndPostGlm, "ffn_norm", "post_attention"),
            (PreAndPostGlm, "post_ffw_norm", "post_mlp"),
            (Post, "post_attention_norm", "post_attention"),
            (Post, "post_ffw_norm", "post_feedforward"),
        ] {
            let found = name(&format!("blk.3.{source}.weight"), norms, false);
            let expected = format!("model.layers.3.{expected}_layernorm.weight");
            assert_eq!(found, Some(expected), "{norms:?}: {source}");
        }
        assert_eq!(name("blk.0.attn_norm.weight", Post, false), None);
    }

    #[test]
    fn matrices_are_named_by_what_they_hold() {
        let of = |source, packed| name(source, Pre, packed);
        assert_eq!(of("blk.0.ffn_up.weight", true).unwrap(), "model.layers.0.mlp.gate_up_proj.weight");
        assert_eq!(of("blk.0.attn_k.bias", false).unwrap(), "model.layers.0.self_attn.k_proj.bias");
        assert_eq!(of("blk.0.ffn_gate_exps.weight", false), None);
        assert_eq!(of("blk.x.ffn_up.weight", false), None);
    }
}
