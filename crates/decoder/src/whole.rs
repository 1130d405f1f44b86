//! Modules that are trained whole beside the adapter (PEFT's `modules_to_save`): the embedding, the head, norms.

use candle_core::Tensor;
use olive_arch::{QkNorm, Spec};
use olive_core::Result;
use olive_model::Checkpoint;
use olive_model::adapter::WholeTensor;

/// Where the weight of such a module is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WholeKind {
    Embedding,
    Head,
    FinalNorm,
    LayerNorm(usize, LayerNorm),
}

/// A norm by what it works on, whatever the architecture calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerNorm {
    Input,
    AttentionOutput,
    Mlp,
    MlpOutput,
    Query,
    Key,
}

/// A module under training.
#[derive(Debug, Clone)]
pub struct WholeModule {
    /// Module path, for example `model.embed_tokens`.
    pub name: String,
    pub kind: WholeKind,
    /// The weight as a checkpoint stores it, f32.
    pub value: Tensor,
}

/// The modules that can be trained whole, in the order of the model, with the shapes of their weights.
pub fn candidates(spec: &Spec) -> Vec<(String, WholeKind, Vec<usize>)> {
    use LayerNorm::{AttentionOutput, Input, Key, Mlp, MlpOutput, Query};
    let (hidden, matrix) = (vec![spec.hidden_size], vec![spec.vocab_size, spec.hidden_size]);
    let mut all = Vec::new();
    if !spec.tied {
        all.push(("model.embed_tokens".into(), WholeKind::Embedding, matrix.clone()));
    }
    let a = &spec.attention;
    let qk = a.qk_norm.map(|norm| match norm {
        QkNorm::PerHead => [a.head_dim, a.head_dim],
        QkNorm::Full => [a.q_size(), a.kv_size()],
    });
    for layer in 0..spec.num_layers() {
        let name = |norm: &str| format!("model.layers.{layer}.{norm}");
        if let Some([q, k]) = qk {
            all.push((name("self_attn.q_norm"), WholeKind::LayerNorm(layer, Query), vec![q]));
            all.push((name("self_attn.k_norm"), WholeKind::LayerNorm(layer, Key), vec![k]));
        }
        for (norm, kind) in spec.norm_layout.names().into_iter().zip([Input, AttentionOutput, Mlp, MlpOutput])
        {
            let Some(norm) = norm else { continue };
            let kind = WholeKind::LayerNorm(layer, kind);
            all.push((name(&format!("{norm}_layernorm")), kind, hidden.clone()));
        }
    }
    all.push(("model.norm".into(), WholeKind::FinalNorm, hidden));
    if !spec.tied {
        all.push(("lm_head".into(), WholeKind::Head, matrix));
    }
    all
}

/// The present weight of a module, as the beginning of its training.
///
/// # Errors
/// The checkpoint has no such weight.
pub fn initial(checkpoint: &Checkpoint, module: &str, shape: &[usize]) -> Result<WholeTensor> {
    let values = checkpoint.tensor_of(&format!("{module}.weight"), shape)?.to_f32()?;
    Ok(WholeTensor { shape: shape.to_vec(), values })
}
