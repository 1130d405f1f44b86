//! The whole decoder, composed of plain operations as on a device without kernels, against the kernels of the CPU.

use olive_core::Result;
use olive_core::device::Device;
use olive_decoder::training_mode::DropoutKey;
use olive_decoder::{Decoder, LoraGradients, Tokens, TrainingMode};
use olive_kernels::oracle::{assert_close, without_kernels};
use olive_model::ModelFolder;
use olive_model::adapter_config::TargetModules;
use olive_train::{LoraShape, fresh_adapter};
use std::path::Path;

#[test]
fn plain_operations_give_the_same_training() -> Result<()> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models");
    for architecture in ["phi4mini", "gemma3", "exaone4"] {
        let dir = models.join(architecture);
        let mut decoder = Decoder::load(&ModelFolder::open(&dir)?, None, None, &Device::Cpu)?;
        let linears: Vec<_> = decoder.spec.all_linears().collect();
        let shape = LoraShape {
            rank: 4,
            alpha: 8.0,
            dropout: 0.1,
            use_rslora: false,
            use_dora: architecture == "exaone4",
        };
        let mut adapter = fresh_adapter(&linears, TargetModules::Names(Vec::new()), &shape, 1, None);
        for pair in adapter.modules.values_mut() {
            pair.b.iter_mut().enumerate().for_each(|(i, b)| *b = (i % 7) as f32 / 100.0 - 0.03);
        }
        decoder.attach(&adapter)?;
        let ids: Vec<u32> = (0..50).map(|i| i * i % 120).collect();
        let targets: Vec<i32> = (0..50).map(|i| if i % 4 == 0 { -100 } else { i * 7 % 120 }).collect();
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
            let [fast, slow] = [&fast_gradients, &slow_gradients].map(|g| g.get(module).expect("gradients"));
            assert_close(&fast.0, &slow.0, 2e-5);
            assert_close(&fast.1, &slow.1, 2e-5);
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
