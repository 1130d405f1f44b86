//! MergeAdapterWeights: values, types, files, and the adapters it refuses.

use crate::support::models::in_double_precision;
use crate::support::passes::merge;
use crate::support::tiny_model::{self, HIDDEN, INNER};
use crate::support::training::product;
use half::bf16;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_engine::passes::{ConfiguredPass, MergePass};
use olive_model::Checkpoint;
use serde_json::json;
use std::path::Path;

const Q0: &str = "model.layers.0.self_attn.q_proj";
const DOWN1: &str = "model.layers.1.mlp.down_proj";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn merged_weights_are_the_sum_rounded_once_and_nothing_else_changes() {
    let (base, adapter_dir, out) = (folder(), folder(), folder());
    tiny_model::write(base.path(), &tiny_model::config());
    let adapter = tiny_model::adapter(&[(Q0, HIDDEN, HIDDEN), (DOWN1, HIDDEN, INNER)]);
    adapter.save(adapter_dir.path()).unwrap();

    let handle = merge(base.path(), adapter_dir.path(), out.path()).unwrap();
    assert_eq!(handle, ModelHandle::Hf { dir: out.path().to_owned() });

    let (before, after) = (Checkpoint::open(base.path()).unwrap(), Checkpoint::open(out.path()).unwrap());
    assert_eq!(before.tensors().count(), after.tensors().count());
    for tensor in before.tensors() {
        let merged = after.tensor_of(&tensor.name, &tensor.shape).unwrap();
        assert_eq!(merged.dtype, tensor.dtype);
        let module = tensor.name.trim_end_matches(".weight");
        let Some(pair) = adapter.modules.get(module) else {
            assert_eq!(merged.bytes(), tensor.bytes(), "{}", tensor.name);
            continue;
        };
        let (old, new) = (tensor.to_f32().unwrap(), merged.to_f32().unwrap());
        let mut changed = 0;
        for (i, (old, new)) in old.iter().zip(&new).enumerate() {
            let (row, col) = (i / pair.in_features, i % pair.in_features);
            let delta = product(pair, row, col);
            let exact = f64::from(*old) + pair.scale * delta;
            let nearest = bf16::from_f64(exact).to_f32();
            // The sum is made in f32, so an exact value near the middle of two bf16 may go either way.
            assert!((f64::from(*new) - exact).abs() <= (f64::from(nearest) - exact).abs() + 1e-6);
            changed += usize::from(old != new);
        }
        assert!(changed > old.len() / 2);
    }
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        let read = |dir: &Path| std::fs::read(dir.join(name)).unwrap();
        assert_eq!(read(base.path()), read(out.path()), "{name}");
    }
}

#[test]
fn a_base_in_double_precision_is_merged_in_single() {
    let (base, adapter_dir, out) = (folder(), folder(), folder());
    tiny_model::write(base.path(), &tiny_model::config());
    in_double_precision(&base.path().join("model.safetensors"));
    let adapter = tiny_model::adapter(&[(Q0, HIDDEN, HIDDEN)]);
    adapter.save(adapter_dir.path()).unwrap();
    merge(base.path(), adapter_dir.path(), out.path()).unwrap();
    let (before, after) = (Checkpoint::open(base.path()).unwrap(), Checkpoint::open(out.path()).unwrap());
    let values = |weights: &Checkpoint| weights.tensor(&format!("{Q0}.weight")).unwrap().to_f32().unwrap();
    let pair = &adapter.modules[Q0];
    for (i, (old, new)) in values(&before).iter().zip(values(&after)).enumerate() {
        let exact = f64::from(*old) + pair.scale * product(pair, i / HIDDEN, i % HIDDEN);
        assert!((f64::from(new) - exact).abs() <= 1e-6, "{new} for {exact}");
    }
    let untouched = format!("{DOWN1}.weight");
    assert_eq!(before.tensor(&untouched).unwrap().bytes(), after.tensor(&untouched).unwrap().bytes());
}

#[test]
fn an_adapter_that_does_not_belong_to_the_base_is_refused() {
    let (base, out) = (folder(), folder());
    tiny_model::write(base.path(), &tiny_model::config());
    for (modules, expected) in [
        (vec![("model.layers.7.mlp.up_proj", INNER, HIDDEN)], "no `model.layers.7.mlp.up_proj.weight`"),
        (vec![(Q0, HIDDEN, HIDDEN), (DOWN1, HIDDEN, HIDDEN)], "`model.layers.1.mlp.down_proj` does not fit"),
    ] {
        let dir = folder();
        tiny_model::adapter(&modules).save(dir.path()).unwrap();
        let error = merge(base.path(), dir.path(), out.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&dir.path().display().to_string()), "{error}");
    }
}

#[test]
fn half_an_adapter_is_refused() {
    let (base, dir, out) = (folder(), folder(), folder());
    tiny_model::write(base.path(), &tiny_model::config());
    let adapter = tiny_model::adapter(&[(Q0, HIDDEN, HIDDEN)]);
    adapter.save(dir.path()).unwrap();
    let pair = &adapter.modules[Q0];
    let name = format!("base_model.model.{Q0}.lora_A.weight");
    let file = dir.path().join("adapter_model.safetensors");
    olive_model::safetensors_file::write_f32(&file, &[(name, vec![pair.rank, HIDDEN], &pair.a)]).unwrap();
    let error = merge(base.path(), dir.path(), out.path()).unwrap_err().to_string();
    assert!(error.contains("only one of lora_A and lora_B"), "{error}");
}

#[test]
fn what_cannot_be_merged_is_named() {
    let (base, out) = (folder(), folder());
    let mut config = tiny_model::config();
    config["tie_word_embeddings"] = json!(true);
    tiny_model::write(base.path(), &config);

    let dir = folder();
    tiny_model::adapter(&[("lm_head", tiny_model::VOCAB, HIDDEN)]).save(dir.path()).unwrap();
    let error = merge(base.path(), dir.path(), out.path()).unwrap_err().to_string();
    assert!(error.contains("both as embedding and as head"), "{error}");

    let dir = folder();
    let mut adapter = tiny_model::adapter(&[(Q0, HIDDEN, HIDDEN)]);
    adapter.config.modules_to_save = Some(vec!["embed_tokens".into()]);
    adapter.save(dir.path()).unwrap();
    let error = merge(base.path(), dir.path(), out.path()).unwrap_err().to_string();
    assert!(error.contains("`modules_to_save` names `embed_tokens`"), "{error}");
}

#[test]
fn only_a_model_with_an_adapter_is_accepted() {
    let after = |input| MergePass { options: Default::default() }.output(input);
    assert_eq!(after(ModelKind::HfWithAdapter), Ok(ModelKind::Hf));
    assert!(after(ModelKind::Hf).unwrap_err().contains("no adapter"));
    assert!(after(ModelKind::Onnx).unwrap_err().contains("ONNX"));
}
