//! Weights that are trained or replaced whole, in the places of a decoder where they are used.

use super::LoraGradients;
use super::weights::Decoder;
use super::whole::{LayerNorm, WholeKind, WholeModule, candidates};
use candle_core::{DType, Tensor};
use olive_core::Result;
use olive_kernels::quant::FloatType;
use olive_kernels::{FrozenWeight, rms_norm};
use olive_model::adapter::WholeTensor;
use olive_model::{Adapter, ModelError};
use std::collections::BTreeMap;

impl Decoder {
    /// Takes the adapter's weights in place of the base's, also of embedding and head where it has products for them.
    pub(super) fn attach_whole(&mut self, adapter: &Adapter) -> Result<()> {
        let known = candidates(&self.spec);
        let refuse = |reason: String| ModelError::AdapterMismatch { reason };
        if !self.whole.is_empty() {
            return Err(refuse("the present one has replaced weights of the model".into()).into());
        }
        let merged = self.merged_matrices(adapter)?;
        let mut given: BTreeMap<_, _> = adapter.whole.iter().chain(&merged).collect();
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

    /// Embedding and head with the adapter's products on them: both are used as they are, so they have no branches.
    fn merged_matrices(&self, adapter: &Adapter) -> Result<BTreeMap<String, WholeTensor>> {
        let mut merged = BTreeMap::new();
        for (name, kind, shape) in candidates(&self.spec) {
            let (Some(base), Some(pair)) = (self.matrix(kind), adapter.modules.get(&name)) else { continue };
            let mut values = match adapter.whole.get(&name) {
                Some(tensor) => tensor.values.clone(),
                None => {
                    let rows: Vec<u32> = (0..self.spec.vocab_size as u32).collect();
                    base.gather(&rows)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?
                }
            };
            if shape != [pair.out_features, pair.in_features]
                || values.len() != shape.iter().product::<usize>()
            {
                let reason = format!("`{name}` is of shape {shape:?}, and the adapter's is another");
                return Err(ModelError::AdapterMismatch { reason }.into());
            }
            pair.merge_rows(0..pair.out_features, &mut values, FloatType::F32);
            merged.insert(name, WholeTensor { shape, values });
        }
        Ok(merged)
    }

    /// The matrix in this place, if it is one.
    fn matrix(&self, kind: WholeKind) -> Option<&FrozenWeight> {
        match kind {
            WholeKind::Embedding => Some(&self.embedding),
            WholeKind::Head => Some(&self.head),
            WholeKind::FinalNorm | WholeKind::LayerNorm(..) => None,
        }
    }

    /// Whether an adapter may have products for this module, which is no linear layer of the decoder.
    pub(super) fn is_matrix(&self, module: &str) -> bool {
        let known = candidates(&self.spec);
        known.iter().any(|(name, kind, _)| name == module && self.matrix(*kind).is_some())
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
