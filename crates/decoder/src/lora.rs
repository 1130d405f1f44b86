//! Low-rank branches on the linear layers of a decoder, and their gradients.

use candle_core::Tensor;
use olive_core::Result;
use olive_kernels::adamw::sum_of_squares;
use olive_kernels::residual;
use olive_model::adapter::LoraPair;
use olive_model::{Adapter, AdapterConfig};

/// The branch of one linear layer: `scale · B·A` is added to its weight.
#[derive(Debug, Clone)]
pub struct LoraModule {
    /// Module path, for example `model.layers.0.self_attn.qkv_proj`.
    pub name: String,
    /// `[r, in]`, f32.
    pub a: Tensor,
    /// `[out, r]`, f32.
    pub b: Tensor,
    pub scale: f64,
    /// With DoRA, the lengths of the rows.
    pub lengths: Option<RowLengths>,
}

/// DoRA's part of a module.
#[derive(Debug, Clone)]
pub struct RowLengths {
    /// What the rows of the merged weight are scaled to, `[out]`, f32.
    pub magnitude: Tensor,
    /// Length of the rows of `W + scale · B·A`, `[out]`, f32. Follows A and B, see `Decoder::refresh`.
    pub norm: Tensor,
}

impl LoraModule {
    pub(super) fn new(name: &str, pair: &LoraPair, device: &candle_core::Device) -> Result<LoraModule> {
        Ok(LoraModule {
            name: name.into(),
            a: Tensor::from_slice(&pair.a, (pair.rank, pair.in_features), device)?,
            b: Tensor::from_slice(&pair.b, (pair.out_features, pair.rank), device)?,
            scale: pair.scale,
            lengths: None,
        })
    }

    fn pair(&self) -> Result<LoraPair> {
        let (rank, in_features) = self.a.dims2()?;
        Ok(LoraPair {
            a: self.a.flatten_all()?.to_vec1()?,
            b: self.b.flatten_all()?.to_vec1()?,
            rank,
            in_features,
            out_features: self.b.dim(0)?,
            scale: self.scale,
            magnitude: self.lengths.as_ref().map(|l| l.magnitude.to_vec1()).transpose()?,
        })
    }
}

/// The low-rank modules as an adapter; `Decoder::to_adapter` gives the whole of it.
///
/// # Errors
/// A device error.
pub fn to_adapter(modules: &[LoraModule], config: AdapterConfig) -> Result<Adapter> {
    let modules = modules.iter().map(|m| Ok((m.name.clone(), m.pair()?))).collect::<Result<_>>()?;
    Ok(Adapter { config, modules, whole: Default::default() })
}

/// Gradients of the adapter, in the order of the decoder's modules; sums of what was added.
#[derive(Debug, Clone, Default)]
pub struct LoraGradients {
    modules: Vec<Option<(Tensor, Tensor)>>,
    magnitudes: Vec<Option<Tensor>>,
    whole: Vec<Option<Tensor>>,
}

impl LoraGradients {
    /// Empty, for so many modules.
    pub fn new(modules: usize) -> LoraGradients {
        LoraGradients { modules: vec![None; modules], magnitudes: vec![None; modules], whole: Vec::new() }
    }

    /// # Errors
    /// A device error.
    pub fn add(&mut self, module: usize, (a, b): (Tensor, Tensor)) -> Result<()> {
        let sum = match self.modules[module].take() {
            None => (a, b),
            Some((old_a, old_b)) => {
                (residual::add_scaled(&old_a, a, None)?, residual::add_scaled(&old_b, b, None)?)
            }
        };
        self.modules[module] = Some(sum);
        Ok(())
    }

    /// # Errors
    /// A device error.
    pub fn add_magnitude(&mut self, module: usize, magnitude: Tensor) -> Result<()> {
        let sum = match self.magnitudes[module].take() {
            None => magnitude,
            Some(old) => (old + magnitude)?,
        };
        self.magnitudes[module] = Some(sum);
        Ok(())
    }

    /// Adds to the gradient of a module that is trained whole.
    ///
    /// # Errors
    /// A device error.
    pub fn add_whole(&mut self, module: usize, gradient: Tensor) -> Result<()> {
        if self.whole.len() <= module {
            self.whole.resize(module + 1, None);
        }
        let sum = match self.whole[module].take() {
            None => gradient,
            Some(old) => (old + gradient)?,
        };
        self.whole[module] = Some(sum);
        Ok(())
    }

    /// Gradient of a module that is trained whole, once something was added.
    pub fn whole(&self, module: usize) -> Option<&Tensor> {
        self.whole.get(module)?.as_ref()
    }

    /// Gradients of A `[r, in]` and B `[out, r]`, once something was added.
    pub fn get(&self, module: usize) -> Option<&(Tensor, Tensor)> {
        self.modules[module].as_ref()
    }

    /// Gradient of DoRA's magnitude `[out]`, once something was added.
    pub fn magnitude(&self, module: usize) -> Option<&Tensor> {
        self.magnitudes[module].as_ref()
    }

    /// Euclidean norm over all elements, accumulated in f64.
    ///
    /// # Errors
    /// A device error.
    pub fn norm(&self) -> Result<f64> {
        let mut total = 0.0;
        for (a, b) in self.modules.iter().flatten() {
            total += sum_of_squares(a)? + sum_of_squares(b)?;
        }
        for gradient in self.magnitudes.iter().chain(&self.whole).flatten() {
            total += sum_of_squares(gradient)?;
        }
        Ok(total.sqrt())
    }
}
