//! Modules that are trained whole beside the adapter (PEFT's `modules_to_save`): the embedding, the head, norms.

use super::Decoder;
use candle_core::Tensor;
use olive_arch::{QkNorm, Spec};
use olive_core::Result;
use olive_kernels::{FrozenWeight, rms_norm};
use olive_model::adapter::WholeTensor;
use olive_model::{Checkpoint, ModelError};

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

impl Decoder {
    /// Takes trained weights in place of the base's.
    pub(super) fn attach_whole<'a>(
        &mut self,
        modules: impl Iterator<Item = (&'a String, &'a WholeTensor)>,
    ) -> Result<()> {
        let known = candidates(&self.spec);
        let refuse = |reason: String| ModelError::AdapterMismatch { reason };
        if !self.whole.is_empty() {
            return Err(refuse("the present one has replaced weights of the model".into()).into());
        }
        let mut given: std::collections::BTreeMap<_, _> = modules.collect();
        for (name, kind, shape) in known {
            let Some(tensor) = given.remove(&name) else { continue };
            if tensor.shape != shape {
                let found = &tensor.shape;
                return Err(
                    refuse(format!("`{name}` is of shape {found:?}, the model's is {shape:?}")).into()
                );
            }
            let value = Tensor::from_slice(&tensor.values, shape.as_slice(), &self.device)?;
            self.whole.push(WholeModule { name, kind, value });
        }
        if let Some(name) = given.keys().next() {
            return Err(refuse(format!("`{name}` cannot be replaced whole in this model")).into());
        }
        self.place_whole()
    }

    /// Puts the weights under training where they are used.
    pub(super) fn place_whole(&mut self) -> Result<()> {
        for WholeModule { kind, value, .. } in &self.whole {
            let norm = || match self.spec.norm_plus_one {
                true => value + 1.0,
                false => Ok(value.clone()),
            };
            let matrix = || FrozenWeight::dense(value.to_dtype(self.dtype)?);
            match kind {
                WholeKind::Embedding => self.embedding = matrix()?,
                WholeKind::Head => self.head = matrix()?,
                WholeKind::FinalNorm => self.final_norm = norm()?,
                WholeKind::LayerNorm(layer, place) => {
                    let weights = &mut self.layers[*layer];
                    let target = match place {
                        LayerNorm::Input => weights.input_norm.as_mut(),
                        LayerNorm::AttentionOutput => weights.attention_output_norm.as_mut(),
                        LayerNorm::Mlp => weights.mlp_norm.as_mut(),
                        LayerNorm::MlpOutput => weights.mlp_output_norm.as_mut(),
                        LayerNorm::Query => weights.qk_norm.as_mut().map(|[q, _]| q),
                        LayerNorm::Key => weights.qk_norm.as_mut().map(|[_, k]| k),
                    };
                    *target.expect("a candidate of this architecture") = norm()?;
                }
            }
        }
        Ok(())
    }

    /// Place of a module among those under training.
    pub(super) fn whole_index(&self, kind: WholeKind) -> Option<usize> {
        self.whole.iter().position(|module| module.kind == kind)
    }

    /// The gradient of a norm's weight, if it is under training.
    pub(super) fn add_norm_gradient(
        &self,
        kind: WholeKind,
        x: &Tensor,
        dy: &Tensor,
        gradients: &mut super::LoraGradients,
    ) -> Result<()> {
        match self.whole_index(kind) {
            None => Ok(()),
            Some(index) => gradients.add_whole(index, rms_norm::weight_gradient(x, self.spec.norm_eps, dy)?),
        }
    }
}
