//! What a training step does beside the plain forward and backward.

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
