//! `passes/<architecture>`: checkpoints and graphs that the reference's quantisers and surgeries made, against those of the
//! program.

use crate::support::binary::{greedy, run_configuration, succeed, text};
use crate::support::models::{name, read_json};
use crate::support::onnx;
use crate::support::shared::{folders, say, shared};
use safetensors::{Dtype, SafeTensors, View};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const ARCHITECTURES: [&str; 3] = ["llama", "qwen3", "phi3"];

/// A tensor of a file, as the file has it.
#[derive(Clone)]
struct Raw(Dtype, Vec<usize>, Vec<u8>);

impl View for Raw {
    fn dtype(&self) -> Dtype {
        self.0
    }
    fn shape(&self) -> &[usize] {
        &self.1
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.2)
    }
    fn data_len(&self) -> usize {
        self.2.len()
    }
}

fn tensors(path: &Path) -> BTreeMap<String, Raw> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let raw = |view: safetensors::tensor::TensorView| {
        Raw(view.dtype(), view.shape().to_vec(), view.data().to_vec())
    };
    file.tensors().into_iter().map(|(name, view)| (name, raw(view))).collect()
}

fn widened(raw: Raw) -> Raw {
    let pairs = || raw.2.as_chunks::<2>().0.iter();
    let values: Vec<f32> = match raw.0 {
        Dtype::BF16 => pairs().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::F16 => pairs().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect(),
        _ => return raw,
    };
    Raw(Dtype::F32, raw.1, values.into_iter().flat_map(f32::to_le_bytes).collect())
}

/// The tiny model of an architecture in f32, which is how the reference had loaded it.
fn model(goldens: &Path, arch: &str, dir: &Path) -> PathBuf {
    let (from, to) = (goldens.join("models").join(arch).join("hf"), dir.join(arch));
    std::fs::create_dir_all(&to).unwrap();
    for entry in std::fs::read_dir(&from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::write(to.join(path.file_name().unwrap()), std::fs::read(&path).unwrap()).unwrap();
    }
    let wide = tensors(&from.join("model.safetensors")).into_iter().map(|(name, raw)| (name, widened(raw)));
    safetensors::serialize_to_file(wide.collect::<Vec<_>>(), None, &to.join("model.safetensors")).unwrap();
    to
}

/// The golden's passes on the model; gives the folder with the result.
fn run(model: &Path, dir: &Path, passes: &Value, calibration: &Path) -> PathBuf {
    let mut own = serde_json::Map::new();
    for (number, pass) in passes.as_array().unwrap().iter().enumerate() {
        let mut pass = pass.clone();
        if pass["type"] == "Gptq" || pass["algorithm"] == "kld_gradient" {
            pass["data_config"] = "texts".into();
        }
        own.insert(format!("p{number}"), pass);
    }
    let config = json!({
        "input_model": {"type": "HfModel", "model_path": model},
        "data_configs": [{
            "name": "texts", "type": "HuggingfaceContainer",
            "load_dataset_config": {"data_name": "json", "data_files": calibration, "split": "train"},
            "pre_process_data_config": {
                "text_cols": ["text"], "strategy": "line-by-line", "max_seq_len": 32, "max_samples": 12,
                "add_special_tokens": false, "pad_to_max_len": false
            }
        }],
        "passes": own, "output_dir": dir.join("out"), "cache_dir": dir.join("cache"),
    });
    let output = run_configuration(dir, &config);
    assert!(output.status.success(), "{}", text(&output.stderr));
    dir.join("out/model")
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How many tensors are as the golden's, and which others are near to it: scales to 1e-4, and all but this share of the bytes of codes.
fn compare(case: &Path, made: &Path, share: f64) -> Result<String, String> {
    let (golden, title) = (read_json(&case.join("golden.json")), name(case));
    let mine = tensors(&made.join("model.safetensors"));
    let theirs = case.join("model.safetensors").is_file().then(|| tensors(&case.join("model.safetensors")));
    let wanted = golden["tensors"].as_object().unwrap();
    let extra: Vec<_> = mine.keys().filter(|name| !wanted.contains_key(*name)).collect();
    if !extra.is_empty() {
        return Err(format!("{extra:?} should not be there"));
    }
    let (mut near, mut unseen, mut others) = (0, 0, 0);
    for (name, want) in wanted {
        let Some(raw) = mine.get(name) else { return Err(format!("{name} is missing")) };
        if json!(raw.1) != want["shape"] {
            return Err(format!("{name} is {:?}, not {}", raw.1, want["shape"]));
        }
        if want["sha256"] == hash(&raw.2).as_str() {
            continue;
        }
        let Some(other) = theirs.as_ref().and_then(|theirs| theirs.get(name)) else {
            unseen += 1;
            continue;
        };
        near += 1;
        let floats =
            |raw: &Raw| -> Vec<f32> { raw.2.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect() };
        let far = |(mine, other): (&f32, &f32)| (mine / other - 1.0).abs() > 1e-4;
        match raw.0 {
            // Among grids of nearly the same error the order of sums decides, and their scales are not near.
            Dtype::F32 if title.starts_with("kquant") => {}
            Dtype::F32 if floats(raw).iter().zip(&floats(other)).any(far) => {
                return Err(format!("{name} is not near"));
            }
            Dtype::F32 => {}
            _ => others += raw.2.iter().zip(&other.2).filter(|(a, b)| a != b).count(),
        }
    }
    let codes: usize = mine.values().filter(|raw| raw.0 == Dtype::U8).map(|raw| raw.2.len()).sum();
    if others as f64 > share * codes as f64 {
        return Err(format!("{others} of {codes} bytes of codes differ"));
    }
    let config = read_json(&made.join("config.json"));
    if config["quantization_config"] != golden["quantization_config"] {
        return Err(format!("config.json says {}", config["quantization_config"]));
    }
    let count = wanted.len();
    Ok(format!("{count} tensors, {near} near, {unseen} unseen; {others} of {codes} bytes of codes differ"))
}

#[test]
fn checkpoints() {
    let Some(goldens) = shared("goldens") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (mut failures, mut cases) = (Vec::new(), 0);
    for arch in ARCHITECTURES {
        let model = model(&goldens, arch, dir.path());
        let calibration = goldens.join("passes").join(arch).join("calibration.jsonl");
        for case in folders(&goldens.join("passes").join(arch)) {
            let title = name(&case);
            if !title.ends_with("-float32") || !case.join("golden.json").is_file() {
                continue;
            }
            cases += 1;
            let work = dir.path().join(format!("{arch}-{title}"));
            std::fs::create_dir_all(&work).unwrap();
            let made = run(&model, &work, &read_json(&case.join("golden.json"))["passes"], &calibration);
            let share = match title.split('-').next() {
                Some("rtn") => 0.0,
                Some("kquant") => 0.002,
                _ => 0.001,
            };
            match compare(&case, &made, share) {
                Ok(line) => say(&format!("passes/{arch}/{title}: {line}")),
                Err(line) => failures.push(format!("{arch}/{title}: {line}")),
            }
        }
    }
    assert!(cases >= 30, "{cases} cases");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Whether the initializers are the golden's, by hash; the names in `but` are not looked at.
fn compare_graph(golden: &Value, made: &Path, but: &[&str]) -> Result<usize, String> {
    let graph = onnx::graph(made);
    let data = std::fs::read(made.join("model.onnx.data")).unwrap_or_default();
    let mut mine = BTreeMap::new();
    for tensor in &graph.initializer {
        let entry = |key: &str| -> usize {
            tensor.external_data.iter().find(|entry| entry.key == key).unwrap().value.parse().unwrap()
        };
        let bytes = match tensor.data_location {
            1 => &data[entry("offset")..][..entry("length")],
            _ => tensor.raw_data.as_slice(),
        };
        mine.insert(tensor.name.clone(), hash(bytes));
    }
    let wanted = golden["initializers"].as_object().unwrap();
    let differ: Vec<_> = wanted
        .iter()
        .filter(|(name, want)| {
            !but.contains(&name.as_str()) && mine.get(*name).map(String::as_str) != want["sha256"].as_str()
        })
        .map(|(name, _)| name)
        .collect();
    let extra: Vec<_> = mine.keys().filter(|name| !wanted.contains_key(*name)).collect();
    if differ.is_empty() && extra.is_empty() {
        Ok(wanted.len())
    } else {
        Err(format!("{differ:?} differ, {extra:?} are extra"))
    }
}

#[test]
fn graphs_of_quantised_checkpoints() {
    let Some(goldens) = shared("goldens") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (mut failures, mut cases) = (Vec::new(), 0);
    for arch in ARCHITECTURES {
        let float = model(&goldens, arch, dir.path());
        for case in folders(&goldens.join("passes").join(arch)) {
            let title = name(&case);
            let Some(checkpoint) =
                title.strip_suffix("-mb014-tied").filter(|title| title.ends_with("-float32"))
            else {
                continue;
            };
            let from = case.parent().unwrap().join(checkpoint);
            let weights = from.join("model.safetensors");
            if !weights.is_file() || checkpoint.starts_with("gptq-channel") {
                continue; // Without weights there is nothing to build; a scale for 160 weights cannot be run.
            }
            cases += 1;
            let model = dir.path().join(format!("{arch}-{checkpoint}"));
            std::fs::create_dir_all(&model).unwrap();
            for entry in std::fs::read_dir(&float).unwrap() {
                let path = entry.unwrap().path();
                let own = from.join(path.file_name().unwrap());
                let source = if own.is_file() { own } else { path.clone() };
                std::fs::write(model.join(path.file_name().unwrap()), std::fs::read(source).unwrap())
                    .unwrap();
            }
            let out = dir.path().join(format!("{arch}-{title}"));
            let config = json!({
                "input_model": {"type": "HfModel", "model_path": model},
                "passes": {"builder": {"type": "ModelBuilder", "precision": "int4"}},
                "output_dir": out, "cache_dir": dir.path().join("cache"),
            });
            let output = run_configuration(dir.path(), &config);
            assert!(output.status.success(), "{}", text(&output.stderr));
            // Where the head is the embedding, both are one from the start; the shape of the codes is a constant here.
            match compare_graph(&read_json(&case.join("golden.json")), &out, &["/lm_head/Reshape_tied_shape"])
            {
                Ok(count) => say(&format!("passes/{arch}/{title}: {count} initializers")),
                Err(line) => failures.push(format!("{arch}/{title}: {line}")),
            }
            succeed(&mut greedy(&out, "the", 4));
            succeed(&mut greedy(&model, "the", 4));
        }
    }
    assert!(cases >= 8, "{cases} cases");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The ONNX model that a golden was made of, or one with the same tensors.
fn input_of(goldens: &Path, arch: &str, golden: &Value, dir: &Path) -> Option<PathBuf> {
    let input = golden["input"].as_str().unwrap();
    if input.contains('/') {
        let graph = goldens.join("models").join(input);
        return graph.is_file().then(|| graph.parent().unwrap().to_owned());
    }
    let kept = goldens.join("passes").join(arch).join(input);
    if kept.join("model.onnx").is_file() {
        return Some(kept);
    }
    let precision = input.strip_prefix("mb014-")?;
    let out = dir.join(format!("{arch}-{input}"));
    let config = json!({
        "input_model": {"type": "HfModel", "model_path": goldens.join("models").join(arch).join("hf")},
        "passes": {"builder": {"type": "ModelBuilder", "precision": precision, "shared_embeddings": false}},
        "output_dir": out, "cache_dir": dir.join("cache"),
    });
    let output = run_configuration(dir, &config);
    assert!(output.status.success(), "{}", text(&output.stderr));
    Some(out)
}

#[test]
fn changed_graphs() {
    let Some(goldens) = shared("goldens") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (mut failures, mut cases) = (Vec::new(), 0);
    for arch in ARCHITECTURES {
        for case in folders(&goldens.join("passes").join(arch)) {
            let path = case.join("golden.json");
            if !path.is_file() {
                continue;
            }
            let golden = read_json(&path);
            let Some(kind) = golden["pass"].as_str() else { continue };
            let mut pass = json!({"type": kind});
            match kind {
                "GraphSurgeries" if golden["surgeries"].is_array() => {
                    let surgeons = golden["surgeries"].as_array().unwrap();
                    pass["surgeries"] = surgeons.iter().map(|name| json!({"surgeon": name})).collect();
                }
                // The reference's HQQ is noise, and its RTN renames the output; the tensors of the latter are right.
                "MatMulNBitsToQDQ"
                | "OnnxFloatToFloat16"
                | "OnnxKQuantQuantization"
                | "OnnxBlockWiseRtnQuantization" => {
                    for (key, value) in golden["config"].as_object().into_iter().flatten() {
                        pass[key] = value.clone();
                    }
                }
                _ => continue,
            }
            // A block of a whole row is summed in another order by the reference, which decides near-ties.
            if name(&case) == "onnx-kquant-mixed" {
                continue;
            }
            let Some(input) = input_of(&goldens, arch, &golden, dir.path()) else { continue };
            cases += 1;
            let (title, out) = (name(&case), dir.path().join(format!("{arch}-{}", name(&case))));
            let config = json!({
                "input_model": {"type": "ONNXModel", "model_path": input},
                "passes": {"pass": pass}, "output_dir": out, "cache_dir": dir.path().join("cache"),
            });
            let output = run_configuration(dir.path(), &config);
            // The reference shares the matrices of a model that is not tied, and makes noise of it.
            if arch == "phi3" && title == "mb014-int4-emb8share" {
                assert!(text(&output.stderr).contains("not tied"), "{}", text(&output.stderr));
                continue;
            }
            assert!(output.status.success(), "{title}: {}", text(&output.stderr));
            match compare_graph(&golden, &out, &[]) {
                Ok(count) => say(&format!("passes/{arch}/{title}: {count} initializers")),
                Err(line) => failures.push(format!("{arch}/{title}: {line}")),
            }
        }
    }
    assert!(cases >= 38, "{cases} cases");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
