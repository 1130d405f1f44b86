//! How queries are scaled.

use olive_arch::{QueryScale, Spec};

/// The scale of the model's queries beside the one that readers take.
pub(super) fn query_factor(spec: &Spec) -> f64 {
    let attention = &spec.attention;
    let (QueryScale::OfHead { but } | QueryScale::InNorm { but }) = spec.family.gguf.query_scale else {
        return 1.0;
    };
    let is_other = but == Some(spec.num_layers());
    let divisor = if is_other { spec.hidden_size / attention.heads } else { attention.head_dim };
    attention.scale * (divisor as f64).sqrt()
}
