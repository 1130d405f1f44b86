//! The decoder in training: loss, and the gradients of the adapter layer by layer.
//!
//! There is no graph over the whole model. The forward keeps each layer's activations, or with checkpointing only its
//! input; the backward goes down the layers, computing again what was not kept, and drops each layer's share as it goes.

use super::layer::{Pass, Saved};
use super::whole::WholeKind;
use super::{Decoder, LoraGradients, Tokens};
use crate::Result;
use crate::ops::lm_loss::{LmLoss, head_gradient, lm_loss};
use crate::ops::{noise, rms_norm};
use candle_core::Tensor;

/// Dropout of one micro-batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutKey {
    pub rate: f64,
    /// Differs for every step and micro-batch.
    pub key: [u8; 32],
}

/// NEFTune's noise on the embeddings of one micro-batch (<https://arxiv.org/abs/2310.05914>).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseKey {
    /// The noise is uniform in ±alpha / √(sequence length · width).
    pub alpha: f64,
    /// Differs for every step and micro-batch.
    pub key: [u8; 32],
}

impl NoiseKey {
    /// Largest noise on sequences of `length` tokens, padding included, of `width` elements each.
    pub fn bound(&self, length: usize, width: usize) -> f64 {
        self.alpha / ((length * width) as f64).sqrt()
    }
}

/// How gradients are computed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TrainingMode {
    /// Keep only the input of every layer and compute the rest again in the backward.
    pub checkpointing: bool,
    pub dropout: Option<DropoutKey>,
    pub noise: Option<NoiseKey>,
}

/// A layer between forward and backward.
enum Kept {
    All(Box<Saved>),
    Input(Tensor),
}

impl Decoder {
    /// Sum of the cross-entropies of `targets`, one per id; negative ones do not count.
    ///
    /// # Errors
    /// No target that counts, an id outside the vocabulary, or a device error.
    pub fn loss(&self, tokens: &Tokens, targets: &[i32]) -> Result<LmLoss> {
        let pass = self.pass(tokens, None)?;
        let mut hidden = self.embed(&tokens.ids)?;
        for index in 0..self.spec.num_layers() {
            hidden = self.layer(index).forward(&hidden, &pass, None)?.0;
        }
        lm_loss(&self.final_norm(&hidden)?, targets, self.head(), None)
    }

    /// As [`Decoder::loss`], and adds the gradients of `factor · sum` to `gradients`.
    ///
    /// # Errors
    /// As [`Decoder::loss`].
    pub fn loss_and_gradients(
        &self,
        tokens: &Tokens,
        targets: &[i32],
        factor: f64,
        mode: TrainingMode,
        gradients: &mut LoraGradients,
    ) -> Result<LmLoss> {
        let pass = self.pass(tokens, mode.dropout)?;
        let mut hidden = self.embed(&tokens.ids)?;
        if let Some(key) = mode.noise {
            let bound = key.bound(tokens.sequence_length, self.spec.hidden_size);
            hidden = noise::add_uniform(&hidden, bound, key.key)?;
        }
        // Below the lowest layer with an adapter nothing needs a gradient, so nothing is kept.
        let lowest = self.lowest_trained();
        let embedding = self.whole_index(WholeKind::Embedding);
        let mut kept = Vec::with_capacity(self.spec.num_layers());
        for index in 0..self.spec.num_layers() {
            let (output, saved) = self.layer(index).forward(&hidden, &pass, None)?;
            if index >= lowest {
                kept.push(if mode.checkpointing {
                    Kept::Input(saved.input)
                } else {
                    Kept::All(Box::new(saved))
                });
            }
            hidden = output;
        }
        let normed = self.final_norm(&hidden)?;
        let mut loss = lm_loss(&normed, targets, self.head(), Some(factor))?;
        if let Some(index) = self.whole_index(WholeKind::Head) {
            gradients.add_whole(index, head_gradient(&normed, targets, self.head(), factor)?)?;
        }
        drop(normed);
        let d_normed = loss.d_hidden.take().expect("the gradient was asked for");
        self.add_norm_gradient(WholeKind::FinalNorm, &hidden, &d_normed, gradients)?;
        let mut d_hidden = rms_norm::backward(&hidden, &self.final_norm, self.spec.norm_eps, d_normed)?;
        drop(hidden);
        while let Some(layer) = kept.pop() {
            let index = lowest + kept.len();
            let layer_of = self.layer(index);
            let saved = match layer {
                Kept::All(saved) => *saved,
                Kept::Input(input) => layer_of.forward(&input, &pass, None)?.1,
            };
            let need_input = index > lowest || embedding.is_some();
            match layer_of.backward(saved, &d_hidden, &pass, gradients, need_input)? {
                Some(next) => d_hidden = next,
                None => break,
            }
        }
        if let Some(index) = embedding {
            let d_rows = match self.spec.embedding_multiplier {
                None => d_hidden,
                Some(multiplier) => (d_hidden * multiplier)?,
            };
            let ids = Tensor::new(tokens.ids.as_slice(), d_rows.device())?;
            let zeros = self.whole[index].value.zeros_like()?;
            gradients.add_whole(index, zeros.index_add(&ids, &d_rows.to_dtype(zeros.dtype())?, 0)?)?;
        }
        Ok(loss)
    }

    pub(super) fn pass(&self, tokens: &Tokens, dropout: Option<DropoutKey>) -> Result<Pass> {
        Pass::new(self, &tokens.positions(), tokens.sequence_length, tokens.segments(), dropout)
    }

    fn lowest_trained(&self) -> usize {
        let trained = |l: &super::weights::LayerWeights| l.linears.iter().any(|l| l.lora.is_some());
        let adapted = self.layers.iter().position(trained).unwrap_or(self.layers.len());
        let whole = self.whole.iter().filter_map(|module| match module.kind {
            WholeKind::Embedding => Some(0),
            WholeKind::LayerNorm(layer, _) => Some(layer),
            WholeKind::Head | WholeKind::FinalNorm => None,
        });
        whole.min().map_or(adapted, |whole| whole.min(adapted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::model::ModelFolder;
    use crate::model::adapter::TargetModules;
    use crate::ops::host::without_kernels;
    use crate::train::{LoraShape, fresh_adapter};
    use std::path::Path;

    /// The whole decoder, composed of plain operations as on a device without kernels, gives what the kernels give.
    #[test]
    fn plain_operations_give_the_same_training() -> Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/goldens");
        let root = std::env::var_os("OLIVE_GOLDENS").map_or(root, Into::into);
        for architecture in ["phi3", "gemma2", "qwen3"] {
            let dir = root.join("models").join(architecture).join("hf");
            if !dir.is_dir() {
                continue;
            }
            let mut decoder = Decoder::load(&ModelFolder::open(&dir)?, None, None, &Device::Cpu)?;
            let linears: Vec<_> = decoder.spec.all_linears().collect();
            let shape = LoraShape {
                rank: 4,
                alpha: 8.0,
                dropout: 0.1,
                use_rslora: false,
                use_dora: architecture == "qwen3",
            };
            let mut adapter = fresh_adapter(&linears, TargetModules::Names(Vec::new()), &shape, 1, None);
            for pair in adapter.modules.values_mut() {
                pair.b.iter_mut().enumerate().for_each(|(i, b)| *b = (i % 7) as f32 / 100.0 - 0.03);
            }
            decoder.attach(&adapter)?;
            let ids: Vec<u32> = (0..50).map(|i| i * i % 500).collect();
            let targets: Vec<i32> = (0..50).map(|i| if i % 4 == 0 { -100 } else { i * 7 % 500 }).collect();
            let tokens = Tokens { ids, lengths: vec![30, 20], sequence_length: 30 };
            let run = || -> Result<_> {
                let dropout = Some(DropoutKey { rate: 0.1, key: [3; 32] });
                let mode = TrainingMode { checkpointing: true, dropout, ..TrainingMode::default() };
                let mut gradients = LoraGradients::new(decoder.lora().len());
                let loss = decoder.loss_and_gradients(&tokens, &targets, 0.02, mode, &mut gradients)?;
                Ok((loss.sum, gradients))
            };
            let (fast, fast_gradients) = run()?;
            let (slow, slow_gradients) = without_kernels(run)?;
            assert!((fast / slow - 1.0).abs() < 1e-6, "{architecture}: {fast} not {slow}");
            for module in 0..decoder.lora().len() {
                let [fast, slow] =
                    [&fast_gradients, &slow_gradients].map(|g| g.get(module).expect("gradients"));
                crate::ops::plain::oracle::assert_close(&fast.0, &slow.0, 2e-5);
                crate::ops::plain::oracle::assert_close(&fast.1, &slow.1, 2e-5);
            }
            let logits = |ids: &[u32]| -> Result<_> {
                let mut cache = decoder.new_cache(9)?;
                decoder.logits(&ids[..5], &mut cache)?;
                decoder.logits(&ids[5..], &mut cache)
            };
            let (fast, slow) = (logits(&tokens.ids[..9])?, without_kernels(|| logits(&tokens.ids[..9]))?);
            let close = fast.iter().zip(&slow).all(|(a, b)| (a - b).abs() < 1e-4);
            assert!(close, "{architecture}");
        }
        Ok(())
    }
}
