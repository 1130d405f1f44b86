//! The keys of a configuration's rope objects: each changes the rotation or is refused.

use crate::support::binary::{greedy, run_configuration, text};
use crate::support::models::{family, fixture};
use crate::support::onnx::{graph, tensors};
use olive_arch::Spec;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Factor on cos and sin of the global rotation, for sequences within the original context and beyond it.
fn sizes(config: &Value) -> [f32; 2] {
    let rope = Spec::from_config(config).unwrap().rope;
    [1, 200].map(|length| rope.inverse_frequencies(length).1)
}

/// A fixture's configuration with these keys in its rope object.
fn with(name: &str, keys: &Value) -> Value {
    let mut config = family(name).config;
    for (key, value) in keys.as_object().unwrap() {
        config["rope_parameters"][key] = value.clone();
    }
    config
}

/// A model folder with the fixture's weights.
fn folder(dir: &Path, name: &str, config: &Value) -> PathBuf {
    let model = dir.join("model");
    std::fs::create_dir_all(&model).unwrap();
    std::fs::write(model.join("config.json"), config.to_string()).unwrap();
    std::fs::copy(fixture("models").join(name).join("model.safetensors"), model.join("model.safetensors"))
        .unwrap();
    model
}

#[test]
fn longrope_takes_its_size_from_the_first_key_that_states_it() {
    let of_ratio = |ratio: f64| (1.0 + ratio.ln() / 32f64.ln()).sqrt() as f32;
    for (keys, expected) in [
        (json!({}), [of_ratio(8.0); 2]),
        (json!({"factor": 16.0}), [of_ratio(16.0); 2]),
        (json!({"factor": 1.0}), [1.0; 2]),
        (json!({"factor": 16.0, "attention_factor": 1.75}), [1.75; 2]),
        (json!({"attention_factor": null, "factor": null}), [of_ratio(8.0); 2]),
        (json!({"attention_factor": 1.75, "long_mscale": 1.5}), [1.75, 1.5]),
    ] {
        assert_eq!(sizes(&with("phi4mini", &keys)), expected, "{keys}");
    }
}

#[test]
fn the_tables_of_an_exported_model_have_that_size() {
    let temp = tempfile::tempdir().unwrap();
    let table = |factor: f64| {
        let config = with("phi4mini", &json!({"attention_factor": factor}));
        let out = temp.path().join(format!("onnx-{factor}"));
        let run = run_configuration(
            temp.path(),
            &json!({
                "input_model": {"type": "HfModel", "model_path": folder(temp.path(), "phi4mini", &config)},
                "passes": {"builder": {"type": "ModelBuilder", "precision": "fp32"}},
                "cache_dir": temp.path().join("cache"), "output_dir": out,
            }),
        );
        assert!(run.status.success(), "{}", text(&run.stderr));
        let tables = tensors(&out, &graph(&out)).into_iter().filter(|(name, _)| name.contains("cos_cache"));
        let bytes: Vec<u8> = tables.flat_map(|(_, (_, bytes))| bytes).collect();
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<f32>>()
    };
    let (plain, doubled) = (table(1.0), table(2.0));
    assert!(plain.len() > 256 && plain[0] == 1.0);
    assert!(plain.iter().zip(&doubled).all(|(plain, doubled)| 2.0 * plain == *doubled));
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let temp = tempfile::tempdir().unwrap();
    let yarn = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64});
    let llama3 =
        json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0});
    for (base, key, value) in [
        (json!({"rope_type": "default"}), "mrope_section", json!([8, 12, 12])),
        (json!({"rope_type": "default"}), "factor", json!(2.0)),
        (json!({"rope_type": "linear", "factor": 2.0}), "attention_factor", json!(1.5)),
        (json!({"type": "linear", "factor": 2.0}), "short_factor", json!([1.0])),
        (json!({"type": "linear"}), "factor", json!("2.0")),
        (llama3, "attention_factor", json!(1.5)),
        (yarn.clone(), "truncate", json!(false)),
        (yarn.clone(), "llama_4_scaling_beta", json!(0.1)),
        (yarn, "beta_fast", json!("32")),
        (json!({"rope_type": "dynamic", "factor": 2.0}), "rope_type", json!("dynamic")),
    ] {
        let mut rope = base;
        rope[key] = value;
        for place in ["rope_scaling", "rope_parameters"] {
            let mut config = family("llama31").config;
            config.as_object_mut().unwrap().remove("rope_parameters");
            config[place] = rope.clone();
            let run = greedy(&folder(temp.path(), "llama31", &config), "x", 1).output().unwrap();
            let told = text(&run.stderr);
            let named = told.contains(&format!("`{place}.{key}`")) || told.contains("rope type `dynamic`");
            assert!(!run.status.success() && named, "{rope}: {told}");
        }
    }
}

#[test]
fn settings_that_nobody_reads_may_not_differ() {
    let default = json!({"rope_type": "default", "rope_theta": 10_000.0});
    let stretched = json!({"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0});
    let read = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut config = family(name).config;
        change(&mut config);
        Spec::from_config(&config).map_err(|error| error.to_string())
    };
    // Its layers with a window rotate as all do.
    let nested = |local: &Value| {
        let parameters = json!({"full_attention": default, "sliding_attention": local});
        read("ministral", &|config| config["rope_parameters"] = parameters.clone())
    };
    assert!(nested(&default).is_ok());
    assert!(nested(&stretched).unwrap_err().contains("`rope_parameters.sliding_attention`"));
    // Both eras' objects in one configuration.
    let both = |scaling: &Value| {
        read("mistral", &|config| {
            config["rope_parameters"] = default.clone();
            config["rope_scaling"] = scaling.clone();
        })
    };
    assert!(both(&json!({"type": "default"})).is_ok());
    assert!(both(&stretched).unwrap_err().contains("`rope_scaling` and `rope_parameters`"));
    for wrong in [json!("yarn"), json!([1, 2])] {
        assert!(read("mistral", &|config| config["rope_scaling"] = wrong.clone()).is_err());
    }
}
