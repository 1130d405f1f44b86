//! A new adapter before its first step.

use super::rng;
use crate::decoder::Linear;
use crate::model::adapter::{Adapter, AdapterConfig, LoraPair, TargetModules};

/// Size and strength of a new adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraShape {
    pub rank: usize,
    pub alpha: f64,
    pub dropout: f64,
    pub use_rslora: bool,
    pub use_dora: bool,
}

/// An adapter that changes nothing yet: A uniform in ±1/√in (Kaiming with a = √5), B zero, as PEFT begins.
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
                // The rows' own lengths, once the adapter lies on its base.
                magnitude: None,
            };
            (linear.module.clone(), pair)
        })
        .collect();
    Adapter { config, modules, whole: Default::default() }
}
