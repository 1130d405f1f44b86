//! Weights that are no numbers: whoever reads them says which tensor holds them, whatever becomes of it.

use crate::support::binary::{olive, run_configuration, text};
use crate::support::quickstart::{Quickstart, base_model};
use crate::support::tiny_model::{self, HIDDEN};
use olive_model::adapter::LoraPair;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const MIDDLE: &str = "model.layers.1.self_attn.o_proj.weight";
const NAN: [u8; 2] = [0xc0, 0x7f];
const INFINITY: [u8; 2] = [0x80, 0xff];

/// Puts a bf16 value into the middle of a tensor.
fn poison(dir: &Path, tensor: &str, value: [u8; 2]) {
    let path = dir.join("model.safetensors");
    let mut file = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let offsets = header[tensor]["data_offsets"].as_array().unwrap();
    let [start, end] = [0, 1].map(|i| offsets[i].as_u64().unwrap() as usize);
    let at = 8 + length + start + (end - start) / 4 * 2;
    file[at..at + 2].copy_from_slice(&value);
    std::fs::write(path, file).unwrap();
}

/// A tiny model with such a value.
fn poisoned(dir: &Path, tensor: &str, value: [u8; 2]) -> PathBuf {
    let model = dir.join("model");
    std::fs::create_dir_all(&model).unwrap();
    tiny_model::write(&model, &tiny_model::config());
    poison(&model, tensor, value);
    model
}

/// The quickstart's model with such a value; it has a tokenizer.
fn poisoned_quickstart(dir: &Path, tensor: &str, value: [u8; 2]) -> PathBuf {
    let model = dir.join("quickstart");
    std::fs::create_dir_all(&model).unwrap();
    for entry in std::fs::read_dir(base_model()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), model.join(entry.file_name())).unwrap();
    }
    poison(&model, tensor, value);
    model
}

fn assert_named(output: &std::process::Output, tensor: &str) {
    let said = text(&output.stderr);
    let named = said.contains(&format!("tensor `{tensor}` holds values that are not finite, near element"));
    assert!(matches!(output.status.code(), Some(1 | 2)) && named, "{said}");
}

#[test]
fn no_precision_and_no_algorithm_takes_them() {
    let dir = tempfile::tempdir().unwrap();
    let build = |tensor, value, options: Value| {
        let model = poisoned(dir.path(), tensor, value);
        let mut pass = json!({"type": "ModelBuilder"});
        pass.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let output = run_configuration(
            dir.path(),
            &json!({
                "input_model": {"type": "HfModel", "model_path": model}, "passes": {"builder": pass},
                "cache_dir": dir.path().join("cache"), "output_dir": dir.path().join("out"),
            }),
        );
        assert_named(&output, tensor);
    };
    for options in [
        json!({"precision": "fp32"}),
        json!({"precision": "int8"}),
        json!({"precision": "int4"}),
        json!({"precision": "int4", "int4_algo_config": "rtn"}),
        json!({"precision": "int4", "int4_algo_config": "k_quant"}),
        json!({"precision": "int4", "int4_algo_config": "k_quant_mixed"}),
    ] {
        build(MIDDLE, NAN, options);
    }
    for tensor in [
        "model.embed_tokens.weight",
        "lm_head.weight",
        "model.norm.weight",
        "model.layers.0.mlp.up_proj.weight",
    ] {
        build(tensor, INFINITY, json!({"precision": "int4"}));
    }
}

#[test]
fn a_merge_names_them_whether_it_changes_the_tensor_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let merge = |tensor, damage: &dyn Fn(&mut LoraPair)| {
        let model = match tensor {
            Some(tensor) => poisoned(dir.path(), tensor, NAN),
            None => {
                poisoned(dir.path(), MIDDLE, NAN);
                let model = dir.path().join("model");
                tiny_model::write(&model, &tiny_model::config());
                model
            }
        };
        let adapter = dir.path().join("adapter");
        let mut pairs = tiny_model::adapter(&[(MIDDLE.trim_end_matches(".weight"), HIDDEN, HIDDEN)]);
        pairs.modules.values_mut().for_each(damage);
        pairs.save(&adapter).unwrap();
        run_configuration(
            dir.path(),
            &json!({
                "input_model": {"type": "HfModel", "model_path": model, "adapter_path": adapter},
                "passes": {"merge": {"type": "MergeAdapterWeights"}},
                "cache_dir": dir.path().join("cache"), "output_dir": dir.path().join("out"),
            }),
        )
    };
    for tensor in [MIDDLE, "model.layers.0.mlp.down_proj.weight", "model.layers.1.input_layernorm.weight"] {
        assert_named(&merge(Some(tensor), &|_| {}), tensor);
    }
    let prefix = "base_model.model.model.layers.1.self_attn.o_proj";
    assert_named(&merge(None, &|pair| pair.a[7] = f32::NAN), &format!("{prefix}.lora_A.weight"));
    assert_named(&merge(None, &|pair| pair.b[7] = f32::INFINITY), &format!("{prefix}.lora_B.weight"));
    // Finite, until they are multiplied.
    let overflow = |pair: &mut LoraPair| {
        pair.a.fill(2.0);
        pair.b.fill(f32::MAX);
    };
    assert_named(&merge(None, &overflow), MIDDLE);
}

#[test]
fn generation_and_training_name_them() {
    let dir = tempfile::tempdir().unwrap();
    for tensor in ["model.layers.1.mlp.down_proj.weight", "lm_head.weight", "model.norm.weight"] {
        let model = poisoned_quickstart(dir.path(), tensor, INFINITY);
        let arguments = ["generate", "--raw", "--prompt", "x", "--max-new-tokens", "2", "--temperature", "0"];
        assert_named(&olive().args(arguments).arg(&model).output().unwrap(), tensor);
        let run = Quickstart::new(1);
        let set = format!("input_model.config.hf_config.model_name={}", model.display());
        assert_named(&run.run(&[&set]).output().unwrap(), tensor);
    }
}
