//! What attention is told, and what it gives.

use candle_core::Tensor;

/// What is fixed for a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionSpec {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Factor on `q · k`.
    pub scale: f64,
    /// A position attends to itself and the `window - 1` before it.
    pub window: Option<usize>,
    /// `cap · tanh(scores / cap)` on the scores.
    pub softcap: Option<f64>,
}

/// Output and what the backward needs of the forward.
pub struct Attended {
    /// `[queries, heads · head_dim]`.
    pub output: Tensor,
    /// Logarithm of the sum of exponentials of every row of scores, `[heads, queries]`. `None` where the backward
    /// does not need it.
    pub log_sum_exp: Option<Tensor>,
}
