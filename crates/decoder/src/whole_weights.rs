//! Weights that are trained whole, in the places of a decoder where they are used.

use super::LoraGradients;
use super::weights::Decoder;
use super::whole::{LayerNorm, WholeKind, WholeModule, candidates};
use candle_core::Tensor;
use olive_core::Result;
use olive_kernels::{FrozenWeight, rms_norm};
use olive_model::ModelError;
use olive_model::adapter::WholeTensor;

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
        gradients: &mut LoraGradients,
    ) -> Result<()> {
        match self.whole_index(kind) {
            None => Ok(()),
            Some(index) => gradients.add_whole(index, rms_norm::weight_gradient(x, self.spec.norm_eps, dy)?),
        }
    }
}
