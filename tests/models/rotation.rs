//! The pass QuaRot: other weights, the same function.

use crate::families::{largest_difference, run};
use crate::support::binary::{olive, text};
use crate::support::models::{families, name};
use olive_core::device::Device;
use olive_decoder::{Decoder, LanguageModel};
use olive_model::safetensors_file::write_f32;
use olive_model::{ModelFolder, WeightSource};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn rotated(model: &Path, pass: &Value, temp: &Path) -> PathBuf {
    let config = json!({"input_model": {"type": "HfModel", "model_path": model}, "passes": {"turn": pass}});
    run(config, temp, "turned").join("model")
}

/// The model with its weights as f32, so that nothing is rounded but by the rotation itself.
fn in_f32(model: &Path, temp: &Path) -> PathBuf {
    let copy = temp.join("f32");
    std::fs::create_dir(&copy).unwrap();
    for file in std::fs::read_dir(model).unwrap().flatten() {
        std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    let checkpoint = ModelFolder::open(model).unwrap().checkpoint().unwrap();
    let values: Vec<_> = checkpoint.tensors().map(|tensor| (tensor, tensor.to_f32().unwrap())).collect();
    let tensors: Vec<_> = values
        .iter()
        .map(|(tensor, values)| (tensor.name.clone(), tensor.shape.clone(), values.as_slice()))
        .collect();
    write_f32(&copy.join("model.safetensors"), &tensors).unwrap();
    copy
}

/// Whether every norm of a family lies before a matrix that takes its weight, and is not an offset from one.
fn can_be_rotated(model: &Path) -> bool {
    let spec = ModelFolder::open(model).unwrap().spec().unwrap();
    let [before_attention, after_attention, before_mlp, after_mlp] = spec.norm_layout.names();
    let before = before_attention.is_some() && before_mlp.is_some();
    before && after_attention.is_none() && after_mlp.is_none() && !spec.norm_plus_one
}

#[test]
fn a_rotated_model_computes_what_it_did() {
    let (mut turned, mut refused) = (0, 0);
    for family in families() {
        let temp = tempfile::tempdir().unwrap();
        if !can_be_rotated(&family) {
            let input = json!({"type": "HfModel", "model_path": family});
            let config = json!({"input_model": input, "passes": {"turn": {"type": "QuaRot"}}});
            let file = temp.path().join("olive-config.json");
            std::fs::write(&file, config.to_string()).unwrap();
            for verb in ["validate", "run"] {
                let answer = olive().args([verb, "--config"]).arg(&file).current_dir(&temp).output().unwrap();
                let said = text(&answer.stderr);
                assert!(
                    !answer.status.success() && said.contains("cannot be rotated"),
                    "{}: {said}",
                    name(&family)
                );
            }
            refused += 1;
            continue;
        }
        for pass in [json!({"type": "QuaRot"}), json!({"type": "QuaRot", "rotate_mode": "random", "seed": 7})]
        {
            let temp = tempfile::tempdir().unwrap();
            let out = rotated(&in_f32(&family, temp.path()), &pass, temp.path());
            let folder = ModelFolder::open(&out).unwrap();
            assert!(!folder.spec().unwrap().tied);
            let decoder = Decoder::load(&folder, None, None, &Device::Cpu).unwrap();
            let difference = largest_difference(&decoder, &mut decoder.new_sequence().unwrap(), &family);
            println!("{}: {difference:.1e} after {pass}", name(&family));
            assert!(difference <= 1e-4, "{}: {difference} after {pass}", name(&family));
        }
        turned += 1;
    }
    assert!(turned >= 8 && refused >= 4, "{turned} were turned, {refused} refused");
}

#[test]
fn a_seed_repeats_its_rotation() {
    let temp = tempfile::tempdir().unwrap();
    let model = families().into_iter().find(|family| can_be_rotated(family)).unwrap();
    let seed = |seed: u64| {
        let out =
            rotated(&model, &json!({"type": "QuaRot", "seed": seed}), &temp.path().join(seed.to_string()));
        let folder = ModelFolder::open(&out).unwrap();
        let spec = folder.spec().unwrap();
        let checkpoint = folder.checkpoint().unwrap();
        checkpoint.read("lm_head.weight", &[spec.vocab_size, spec.hidden_size]).unwrap()
    };
    for dir in ["0", "1"] {
        std::fs::create_dir(temp.path().join(dir)).unwrap();
    }
    let (zero, one) = (seed(0), seed(1));
    assert_ne!(zero, one);
    assert_eq!(zero, seed(0));
}
