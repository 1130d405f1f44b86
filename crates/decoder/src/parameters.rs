//! What is trained, as one list: the optimiser, checkpoints and the choice of the best state work on it.

use super::lora::RowLengths;
use super::whole::WholeModule;
use super::{Decoder, LoraGradients};
use candle_core::Tensor;
use olive_core::Result;
use olive_kernels::dora;
use olive_model::adapter::WholeTensor;
use olive_model::{Adapter, AdapterConfig};

/// Which learning rate a parameter has (LoRA+).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A, and whatever is no part of a low-rank pair.
    Base,
    /// B, and vectors.
    Fast,
}

/// A parameter under training.
pub struct Parameter<'a> {
    /// PEFT's name without its prefix: `model.layers.0.mlp.up_proj.lora_A`.
    pub name: String,
    pub role: Role,
    pub value: &'a mut Tensor,
    /// `None`: nothing in the step depended on it.
    pub gradient: Option<&'a Tensor>,
}

impl Decoder {
    /// Names and values of all parameters under training, in a fixed order.
    pub fn parameters(&self) -> impl Iterator<Item = (String, &Tensor)> {
        let pairs = self.lora.iter().flat_map(|module| {
            let name = |part: &str| format!("{}.{part}", module.name);
            let lengths = module.lengths.as_ref().map(|l| (name("lora_magnitude_vector"), &l.magnitude));
            [(name("lora_A"), &module.a), (name("lora_B"), &module.b)].into_iter().chain(lengths)
        });
        pairs.chain(self.whole.iter().map(|module| (module.name.clone(), &module.value)))
    }

    /// What is trained, as an adapter that can be saved.
    ///
    /// # Errors
    /// A device error.
    pub fn to_adapter(&self, config: AdapterConfig) -> Result<Adapter> {
        let mut adapter = super::lora::to_adapter(&self.lora, config)?;
        for WholeModule { name, value, .. } in &self.whole {
            let values = value.flatten_all()?.to_vec1()?;
            adapter.whole.insert(name.clone(), WholeTensor { shape: value.dims().to_vec(), values });
        }
        Ok(adapter)
    }

    /// The same for the optimiser, with their gradients. [`Decoder::refresh`] must follow a change.
    pub fn parameters_mut<'a>(
        &'a mut self,
        gradients: Option<&'a LoraGradients>,
    ) -> impl Iterator<Item = Parameter<'a>> {
        let whole = self.whole.iter_mut().enumerate().map(move |(index, module)| Parameter {
            name: module.name.clone(),
            role: if module.value.rank() == 1 { Role::Fast } else { Role::Base },
            value: &mut module.value,
            gradient: gradients.and_then(|g| g.whole(index)),
        });
        let pairs = self.lora.iter_mut().enumerate().flat_map(move |(index, module)| {
            let pair = gradients.and_then(|g| g.get(index));
            let magnitude = gradients.and_then(|g| g.magnitude(index));
            let name = |part: &str| format!("{}.{part}", module.name);
            let names = [name("lora_A"), name("lora_B"), name("lora_magnitude_vector")];
            let [name_a, name_b, name_m] = names;
            let lengths = module.lengths.as_mut().map(|lengths| Parameter {
                name: name_m,
                role: Role::Fast,
                value: &mut lengths.magnitude,
                gradient: magnitude,
            });
            let a = Parameter {
                name: name_a,
                role: Role::Base,
                value: &mut module.a,
                gradient: pair.map(|(a, _)| a),
            };
            let b = Parameter {
                name: name_b,
                role: Role::Fast,
                value: &mut module.b,
                gradient: pair.map(|(_, b)| b),
            };
            [a, b].into_iter().chain(lengths)
        });
        pairs.chain(whole)
    }

    /// Brings what depends on the parameters up to date: the row lengths of DoRA, and weights that are trained whole.
    ///
    /// # Errors
    /// A device error.
    pub fn refresh(&mut self) -> Result<()> {
        for linear in self.layers.iter().flat_map(|l| &l.linears) {
            let Some(module) = linear.lora.map(|index| &mut self.lora[index]) else { continue };
            if let Some(lengths) = &mut module.lengths {
                lengths.norm = dora::row_norms(&linear.weight, &module.a, &module.b, module.scale)?;
            }
        }
        self.place_whole()
    }

    /// Gives every module row lengths: the given ones, or those that its weight has now.
    pub(super) fn split_lengths(&mut self, given: impl Fn(&str) -> Option<Vec<f32>>) -> Result<()> {
        for linear in self.layers.iter().flat_map(|l| &l.linears) {
            let Some(module) = linear.lora.map(|index| &mut self.lora[index]) else { continue };
            let norm = dora::row_norms(&linear.weight, &module.a, &module.b, module.scale)?;
            let magnitude = match given(&module.name) {
                None => norm.clone(),
                Some(values) => Tensor::from_vec(values, norm.shape().clone(), norm.device())?,
            };
            module.lengths = Some(RowLengths { magnitude, norm });
        }
        Ok(())
    }
}
