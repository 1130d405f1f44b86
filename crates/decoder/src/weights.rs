//! The weights of a decoder, found in a checkpoint by its [`Spec`].

use super::lora::LoraModule;
use super::whole::WholeModule;
use candle_core::{DType, Tensor};
use olive_arch::{Linear, QkNorm, Spec};
use olive_core::Result;
use olive_core::device::Device;
use olive_kernels::{FrozenWeight, activation_type, first_not_finite, invalid};
use olive_model::{Adapter, Checkpoint, ModelError, ModelFolder, QuantisedBase};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// A decoder with frozen weights and an optional adapter on some linear layers.
///
/// On the CPU weights stay in the mapped checkpoint and everything is computed in f32.
pub struct Decoder {
    pub spec: Spec,
    pub(super) device: Device,
    /// Type of activations.
    pub(super) dtype: DType,
    pub(super) embedding: FrozenWeight,
    pub(super) layers: Vec<LayerWeights>,
    pub(super) final_norm: Tensor,
    pub(super) head: FrozenWeight,
    pub(super) lora: Vec<LoraModule>,
    /// Modules that are trained whole.
    pub(super) whole: Vec<WholeModule>,
    /// So many sequences may run together.
    pub(super) together: AtomicUsize,
}

/// One decoder layer; norms are f32 `[n]`, one already added where the checkpoint stores offsets.
pub(super) struct LayerWeights {
    pub(super) linears: Vec<LinearWeights>,
    /// Before attention.
    pub(super) input_norm: Option<Tensor>,
    /// On the attention branch's output.
    pub(super) attention_output_norm: Option<Tensor>,
    /// Before the MLP.
    pub(super) mlp_norm: Option<Tensor>,
    /// On the MLP branch's output.
    pub(super) mlp_output_norm: Option<Tensor>,
    /// On queries and on keys.
    pub(super) qk_norm: Option<[Tensor; 2]>,
}

pub(super) struct LinearWeights {
    pub(super) linear: Linear,
    pub(super) weight: FrozenWeight,
    pub(super) bias: Option<Tensor>,
    /// Index into the decoder's adapter modules.
    pub(super) lora: Option<usize>,
}

impl Decoder {
    /// Opens a model folder, its linear layers as in `quantised` where there is one, with an adapter on it or not.
    ///
    /// # Errors
    /// An unsupported architecture, a missing or misshapen tensor, an adapter that does not fit.
    pub fn load(
        folder: &ModelFolder,
        quantised: Option<&QuantisedBase>,
        adapter: Option<&Adapter>,
        device: &Device,
    ) -> Result<Decoder> {
        let checkpoint = folder.checkpoint()?;
        let mut decoder = Decoder::with_base(folder.spec()?, &checkpoint, quantised, DType::F32, device)?;
        if let Some(adapter) = adapter {
            decoder.attach(adapter)?;
        }
        Ok(decoder)
    }

    /// `dtype` is the type of activations, where the device has that choice; see [`activation_type`].
    ///
    /// # Errors
    /// A missing or misshapen tensor, or no room on the device.
    pub fn new(spec: Spec, checkpoint: &Checkpoint, dtype: DType, device: &Device) -> Result<Decoder> {
        Decoder::with_base(spec, checkpoint, None, dtype, device)
    }

    /// As [`Decoder::new`], but the linear layers of the decoder come from `quantised`, where there is one.
    ///
    /// # Errors
    /// As [`Decoder::new`].
    pub fn with_base(
        spec: Spec,
        checkpoint: &Checkpoint,
        quantised: Option<&QuantisedBase>,
        dtype: DType,
        device: &Device,
    ) -> Result<Decoder> {
        let dtype = activation_type(dtype, device);
        let loader = WeightLoader { spec: &spec, checkpoint, quantised, dtype, device };
        let vocab_shape = [spec.vocab_size, spec.hidden_size];
        let embedding = loader.matrix(Spec::EMBEDDING, &vocab_shape)?;
        let head =
            if spec.tied { embedding.clone() } else { loader.matrix(spec.head_name(), &vocab_shape)? };
        let layers = (0..spec.num_layers()).map(|layer| loader.layer(layer)).collect::<Result<_>>()?;
        let final_norm = loader.norm(Spec::FINAL_NORM, spec.hidden_size)?;
        Ok(Decoder {
            device: device.clone(),
            dtype,
            embedding,
            layers,
            final_norm,
            head,
            lora: Vec::new(),
            whole: Vec::new(),
            together: AtomicUsize::new(1),
            spec,
        })
    }

    /// Puts an adapter in place of the present one.
    ///
    /// # Errors
    /// The adapter names a module that the decoder does not have, or whose shape differs.
    pub fn attach(&mut self, adapter: &Adapter) -> Result<()> {
        let refuse = |reason: String| ModelError::AdapterMismatch { reason };
        for (name, pair) in adapter.modules.iter().filter(|(name, _)| !self.is_matrix(name)) {
            if self.spec.shares(&format!("{name}.weight")) {
                let what = "which this model uses both as embedding and as head";
                return Err(refuse(format!("it changes `{name}`, {what}")).into());
            }
            let Some(linear) = self.linears().find(|l| l.linear.module == *name) else {
                return Err(refuse(format!("the model has no linear layer `{name}`")).into());
            };
            let wanted = (linear.linear.in_features, linear.linear.out_features);
            if (pair.in_features, pair.out_features) != wanted {
                return Err(refuse(format!(
                    "`{name}` is made for {} inputs and {} outputs, the layer has {} and {}",
                    pair.in_features, pair.out_features, wanted.0, wanted.1
                ))
                .into());
            }
        }
        let mut lora = Vec::with_capacity(adapter.modules.len());
        for linear in self.layers.iter_mut().flat_map(|l| &mut l.linears) {
            linear.lora = None;
            if let Some(pair) = adapter.modules.get(&linear.linear.module) {
                linear.lora = Some(lora.len());
                lora.push(LoraModule::new(&linear.linear.module, pair, &self.device)?);
            }
        }
        self.lora = lora;
        self.attach_whole(adapter)?;
        if adapter.config.use_dora {
            self.split_lengths(|name| adapter.modules.get(name).and_then(|pair| pair.magnitude.clone()))?;
        }
        Ok(())
    }

    /// Looks for what makes logits or a loss no numbers: reads all weights, so for when that has happened.
    ///
    /// # Errors
    /// A weight with a value that is not finite, by its name.
    pub fn check_weights(&self) -> Result<()> {
        self.check_matrix(Spec::EMBEDDING, &self.embedding)?;
        for LinearWeights { linear, weight, .. } in self.linears() {
            self.check_matrix(&linear.weight_name(), weight)?;
        }
        self.check_matrix(self.spec.head_name(), &self.head)
    }

    fn check_matrix(&self, name: &str, weight: &FrozenWeight) -> Result<()> {
        const ROWS: u32 = 64;
        let rows = u32::try_from(weight.out_features).map_err(|e| invalid(e.to_string()))?;
        for start in (0..rows).step_by(ROWS as usize) {
            let ids: Vec<u32> = (start..rows.min(start + ROWS)).collect();
            let values = weight.gather(&ids)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            if let Some(at) = first_not_finite(&values) {
                let near = start as usize * weight.in_features + at;
                return Err(ModelError::NotFinite { name: name.to_owned(), near }.into());
            }
        }
        Ok(())
    }

    /// The adapter's modules, in the order of the layers.
    pub fn lora(&self) -> &[LoraModule] {
        &self.lora
    }

    /// For whoever replaces A and B; with DoRA, [`Decoder::refresh`] must follow.
    pub fn lora_mut(&mut self) -> &mut [LoraModule] {
        &mut self.lora
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    fn linears(&self) -> impl Iterator<Item = &LinearWeights> {
        self.layers.iter().flat_map(|l| &l.linears)
    }
}

struct WeightLoader<'a> {
    spec: &'a Spec,
    checkpoint: &'a Checkpoint,
    quantised: Option<&'a QuantisedBase>,
    dtype: DType,
    device: &'a Device,
}

impl WeightLoader<'_> {
    fn matrix(&self, name: &str, shape: &[usize]) -> Result<FrozenWeight> {
        FrozenWeight::new(self.checkpoint.tensor_of(name, shape)?.matrix()?, self.dtype, self.device)
    }

    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        self.checkpoint.tensor_of(name, &[len])?.to_f32()
    }

    fn norm(&self, name: &str, len: usize) -> Result<Tensor> {
        let mut weight = self.vector(name, len)?;
        if self.spec.norm_plus_one {
            weight.iter_mut().for_each(|w| *w += 1.0);
        }
        Ok(Tensor::from_vec(weight, len, self.device)?)
    }

    fn layer(&self, layer: usize) -> Result<LayerWeights> {
        let spec = self.spec;
        let linears = spec.linears(layer).into_iter().map(|l| self.linear(l)).collect::<Result<_>>()?;
        let norm = |name: Option<&str>| {
            let name = name.map(|name| Spec::layer_norm_name(layer, &format!("{name}_layernorm")));
            name.map(|name| self.norm(&name, spec.hidden_size)).transpose()
        };
        let [input, attention, mlp, mlp_output] = spec.norm_layout.names();
        let a = &spec.attention;
        let qk_norm = |q_len, k_len| -> Result<_> {
            let norm = |name, len| self.norm(&Spec::layer_norm_name(layer, name), len);
            Ok(Some([norm("self_attn.q_norm", q_len)?, norm("self_attn.k_norm", k_len)?]))
        };
        let qk_norm = match a.qk_norm {
            None => None,
            Some(QkNorm::PerHead) => qk_norm(a.head_dim, a.head_dim)?,
            Some(QkNorm::Full) => qk_norm(a.q_size(), a.kv_size())?,
        };
        Ok(LayerWeights {
            linears,
            input_norm: norm(input)?,
            attention_output_norm: norm(attention)?,
            mlp_norm: norm(mlp)?,
            mlp_output_norm: norm(mlp_output)?,
            qk_norm,
        })
    }

    fn linear(&self, linear: Linear) -> Result<LinearWeights> {
        let name = linear.weight_name();
        let weight = match self.quantised.and_then(|quantised| quantised.get(&name)) {
            None => self.matrix(&name, &[linear.out_features, linear.in_features])?,
            Some(matrix) => FrozenWeight::new(Arc::new(matrix.clone()), self.dtype, self.device)?,
        };
        let bias = match linear.bias {
            false => None,
            true => {
                let bias = self.vector(&format!("{}.bias", linear.module), linear.out_features)?;
                Some(Tensor::from_vec(bias, linear.out_features, self.device)?)
            }
        };
        Ok(LinearWeights { linear, weight, bias, lora: None })
    }
}
