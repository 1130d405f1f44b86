//! A new adapter before its first step.

use crate::rng;
use olive_arch::Linear;
use olive_kernels::quant::low_rank::LowRank;
use olive_model::adapter::LoraPair;
use olive_model::adapter_config::TargetModules;
use olive_model::{Adapter, AdapterConfig};
use std::collections::BTreeMap;

/// Size and strength of a new adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraShape {
    pub rank: usize,
    pub alpha: f64,
    pub dropout: f64,
    pub use_rslora: bool,
    pub use_dora: bool,
}

/// An adapter whose product B · A is zero: A uniform in ±1/√in (Kaiming with a = √5), B zero, as PEFT begins.
pub fn fresh_adapter(
    targets: &[Linear],
    target_modules: TargetModules,
    shape: &LoraShape,
    seed: u64,
    base: Option<String>,
) -> Adapter {
    let config = AdapterConfig {
        base_model_name_or_path: base,
        bias: "none".into(),
        fan_in_fan_out: false,
        inference_mode: true,
        lora_alpha: shape.alpha,
        lora_dropout: shape.dropout,
        modules_to_save: None,
        peft_type: "LORA".into(),
        r: shape.rank,
        revision: None,
        rank_pattern: Default::default(),
        alpha_pattern: Default::default(),
        target_modules,
        task_type: Some("CAUSAL_LM".into()),
        use_dora: shape.use_dora,
        use_rslora: shape.use_rslora,
    };
    let scale = config.scale();
    let modules = targets
        .iter()
        .map(|linear| {
            let mut stream = rng::stream(seed, "init", &[&linear.module]);
            let bound = (linear.in_features as f32).sqrt().recip();
            let a = (0..shape.rank * linear.in_features).map(|_| rng::uniform(&mut stream, bound)).collect();
            let pair = LoraPair {
                a,
                b: vec![0.0; linear.out_features * shape.rank],
                rank: shape.rank,
                in_features: linear.in_features,
                out_features: linear.out_features,
                scale,
                // Becomes the norms of the base's rows when the adapter is attached.
                magnitude: None,
            };
            (linear.module.clone(), pair)
        })
        .collect();
    Adapter { config, modules, whole: Default::default() }
}

/// Makes `scale · B · A` equal to the low-rank matrices given by module: A becomes the right factor, B the left one divided
/// by the scale. Rows of A whose right factor is zero keep their random values.
pub fn begin_with(adapter: &mut Adapter, low_rank: &BTreeMap<String, LowRank>) {
    for (module, start) in low_rank {
        let Some(pair) = adapter.modules.get_mut(module) else { continue };
        let rows = pair.a.chunks_exact_mut(pair.in_features);
        for (a, right) in rows.zip(start.right.chunks_exact(pair.in_features)) {
            if right.iter().any(|v| *v != 0.0) {
                a.copy_from_slice(right);
            }
        }
        let scale = pair.scale as f32;
        pair.b.iter_mut().zip(&start.left).for_each(|(b, left)| *b = left / scale);
    }
}
