//! `models/<architecture>/ort-<precision>-<provider>[-<variant>]`: our model builder against onnxruntime-genai's.

use crate::support::models::{name, read_json};
use crate::support::onnx;
use crate::support::shared::{folders, say, shared_cases};
use olive_core::cancel::CancelFlag;
use olive_model::{ModelFolder, WeightSource};
use olive_onnx::proto::{GraphProto, TensorProto, data_type};
use olive_onnx::{
    BuildOptions, MixedPrecision, ModelBuilderOptions, Precision, Provider, QuantAlgorithm, Weights, build,
};
use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn models() {
    let Some(architectures) = shared_cases("goldens/models") else { return };
    let mut failures = Vec::new();
    let mut cases = 0;
    for arch in architectures {
        let hf = ModelFolder::open(&arch.join("hf")).unwrap();
        for folder in folders(&arch).into_iter().filter(|folder| name(folder).starts_with("ort-")) {
            let case = format!("{}/{}", name(&arch), name(&folder));
            let options = options(&name(&folder)).unwrap_or_else(|| panic!("{case}: an unknown name"));
            cases += 1;
            match compare(&hf, &folder, options) {
                Ok(line) => say(&format!("models/{case}: {line}")),
                Err(line) => {
                    say(&format!("models/{case}: FAILED, {line}"));
                    failures.push(format!("{case}: {line}"));
                }
            }
        }
    }
    assert!(cases >= 23, "{cases} cases");
    assert!(failures.is_empty(), "{} of {cases} cases differ:\n{}", failures.len(), failures.join("\n"));
}

/// What the folder's name says about how it was built; `None` for a name without a meaning here.
fn options(case: &str) -> Option<BuildOptions> {
    let mut words = case.split('-');
    if words.next() != Some("ort") {
        return None;
    }
    let precision = match words.next()? {
        "fp32" => Precision::Fp32,
        "fp16" => Precision::Fp16,
        "bf16" => Precision::Bf16,
        "int8" => Precision::Int8,
        "int4" => Precision::Int4,
        _ => return None,
    };
    let mut options = ModelBuilderOptions::new(precision, words.next()?);
    let mut windowed = true;
    match words.next() {
        None => {}
        Some("asym") => options.is_symmetric = false,
        Some("rtn") => (options.algorithm, options.block_size) = (QuantAlgorithm::Rtn, 64),
        Some("rtnlast") => {
            options.algorithm = QuantAlgorithm::Rtn;
            options.mixed_precision.last_matmul = Some(8);
        }
        Some("kquantmixed") => {
            options.algorithm = QuantAlgorithm::KQuant;
            options.mixed_precision = MixedPrecision { last_matmul: Some(8), mixed_layers: Some(8) };
        }
        Some("qdq") => options.use_qdq = true,
        Some("asymqdq") => (options.use_qdq, options.is_symmetric) = (true, false),
        Some("gather") => options.quantise_gather = true,
        Some("asymgather") => (options.quantise_gather, options.is_symmetric) = (true, false),
        Some("mixed") => {
            options.mixed_precision = MixedPrecision { last_matmul: Some(8), mixed_layers: Some(8) };
        }
        Some("hidden") => (options.include_hidden_states, options.prune_lm_head) = (true, true),
        Some("nohead") => options.exclude_lm_head = true,
        Some("noembeds") => options.exclude_embeds = true,
        Some("unshared") => options.shared_embeddings = Some(false),
        Some("unfused") => options.fuse_qkv = false,
        Some("bf16") => options.use_cuda_bf16 = true,
        Some("fp32") => options.use_webgpu_fp32 = true,
        Some("b128") => (options.block_size, options.accuracy_level) = (128, Some(0)),
        Some("fullkv") => windowed = false,
        Some(_) => return None,
    }
    let mut options = BuildOptions::new(&options).ok()?;
    // The other providers' attention has no short cache.
    options.windowed_kv_cache = windowed && matches!(options.provider, Provider::Cpu | Provider::Cuda);
    Some(options)
}

/// `Ok` with the largest difference that is allowed, `Err` with the first one that is not.
fn compare(hf: &ModelFolder, golden: &Path, mut options: BuildOptions) -> Result<String, String> {
    let spec = hf.spec().unwrap();
    let checkpoint = hf.checkpoint().unwrap();
    let want_config = read_json(&golden.join("genai_config.json"));
    // The reference lost the window of models without `layer_types`, and left an empty section in the
    // configuration. Ours keeps the window in the attention, and has neither section nor short cache then.
    let section = &want_config["model"]["decoder"]["sliding_window"];
    let lost_window = section["layers"].as_array().is_some_and(Vec::is_empty);
    options.windowed_kv_cache &= !lost_window;

    let out = tempfile::tempdir().unwrap();
    let weights = Weights { source: &checkpoint, adapter: None };
    build(hf, weights, &options, None, out.path(), &CancelFlag::default(), &()).map_err(|e| e.to_string())?;
    let ours = Onnx::read(out.path());
    let theirs = Onnx::read(golden);

    let (got, want) = (ours.interface(), theirs.interface());
    if got != want {
        return Err(format!("inputs and outputs are {got:?} instead of {want:?}"));
    }
    let got_config = read_json(&out.path().join("genai_config.json"));
    let mut expected = want_config.clone();
    if lost_window {
        expected["model"]["decoder"].as_object_mut().unwrap().remove("sliding_window");
    }
    if got_config != expected {
        return Err(format!("genai_config.json is {got_config} instead of {expected}"));
    }
    if !lost_window {
        let text = |dir: &Path| std::fs::read_to_string(dir.join("genai_config.json")).unwrap();
        if text(out.path()) != text(golden) {
            return Err("genai_config.json means the same but is written otherwise".into());
        }
    }
    let (names, want_names): (Vec<_>, Vec<_>) =
        (ours.tensors.keys().collect(), theirs.tensors.keys().collect());
    if names != want_names {
        return Err(format!("tensors are {names:?} instead of {want_names:?}"));
    }
    let (mut equal, mut rounded_equal) = (0, 0);
    let mut notes = Vec::new();
    for (name, (tensor, bytes)) in &ours.tensors {
        let (want, want_bytes) = &theirs.tensors[name];
        if (tensor.data_type, &tensor.dims) != (want.data_type, &want.dims) {
            let (got, want) = ((tensor.data_type, &tensor.dims), (want.data_type, &want.dims));
            return Err(format!("`{name}` has type and shape {got:?} instead of {want:?}"));
        }
        if bytes == want_bytes {
            equal += 1;
        } else if name.starts_with("cos_cache") || name.starts_with("sin_cache") {
            // PyTorch's sines are met but for one in 100 000, and its powers but for one in 100, which then moves a
            // whole column.
            let (count, distance) = ulps(tensor.data_type, bytes, want_bytes);
            if distance > 2 {
                return Err(format!("`{name}` is off by {distance} ulp"));
            }
            let total = bytes.len() / width(tensor.data_type);
            notes.push(format!("{name} {count}/{total} by {distance} ulp"));
        } else if spec.norm_plus_one && name.ends_with("norm.weight") {
            // The reference adds the one in the checkpoint's type, ours in f32: rounded, ours must be theirs.
            let stored = tensor_behind(name, spec.num_layers());
            let (dtype, _) = checkpoint.describe(&stored).ok_or(format!("no tensor `{stored}`"))?;
            let round = |v: f32| match dtype.as_str() {
                "bf16" => half::bf16::from_f32(v).to_f32(),
                "f16" => half::f16::from_f32(v).to_f32(),
                _ => v,
            };
            let rounded: Vec<f32> = floats(tensor.data_type, bytes).into_iter().map(round).collect();
            if rounded != floats(want.data_type, want_bytes) {
                return Err(format!("`{name}` is not the reference's before rounding"));
            }
            rounded_equal += 1;
        } else {
            let differing = bytes.iter().zip(want_bytes).filter(|(a, b)| a != b).count();
            return Err(format!("`{name}` differs in {differing} of {} bytes", bytes.len()));
        }
    }
    let total = ours.tensors.len();
    if rounded_equal > 0 {
        notes.push(format!("{rounded_equal} norms (1 + w) equal once rounded to the checkpoint's type"));
    }
    let notes = if notes.is_empty() { "nothing differs".into() } else { notes.join(", ") };
    Ok(format!("{equal} of {total} tensors equal byte for byte; {notes}"))
}

/// The checkpoint's name of a norm weight.
fn tensor_behind(initializer: &str, layers: usize) -> String {
    if initializer.starts_with(&format!("model.layers.{layers}.final_norm")) {
        return "model.norm.weight".into();
    }
    initializer.replace(".attn.", ".self_attn.").replace("_norm.layernorm.", "_norm.")
}

/// A graph with its tensors.
struct Onnx {
    graph: GraphProto,
    tensors: BTreeMap<String, (TensorProto, Vec<u8>)>,
}

impl Onnx {
    fn read(dir: &Path) -> Onnx {
        let graph = onnx::graph(dir);
        let tensors = onnx::tensors(dir, &graph);
        Onnx { graph, tensors }
    }

    /// Names, types and dimensions of what goes in and comes out, in order.
    fn interface(&self) -> Vec<(String, i32, Vec<String>)> {
        self.graph
            .input
            .iter()
            .chain(&self.graph.output)
            .map(|value| {
                let tensor = value.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
                let dims = tensor.shape.as_ref().unwrap().dim.iter();
                let dims = dims.map(|d| {
                    d.dim_param.clone().unwrap_or_else(|| d.dim_value.unwrap_or_default().to_string())
                });
                (value.name.clone(), tensor.elem_type, dims.collect())
            })
            .collect()
    }
}

fn width(data_type: i32) -> usize {
    if data_type == data_type::FLOAT { 4 } else { 2 }
}

fn floats(kind: i32, bytes: &[u8]) -> Vec<f32> {
    let pairs = || bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
    match kind {
        data_type::FLOAT => {
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        }
        data_type::FLOAT16 => pairs().map(|b| half::f16::from_le_bytes(b).to_f32()).collect(),
        data_type::BFLOAT16 => pairs().map(|b| half::bf16::from_le_bytes(b).to_f32()).collect(),
        other => panic!("element type {other} is no float"),
    }
}

/// How many values differ, and the largest distance in units in the last place.
fn ulps(data_type: i32, a: &[u8], b: &[u8]) -> (usize, i64) {
    let width = width(data_type);
    // Floats of one type are in the order of their bits, each side of zero on its own.
    let place = |bytes: &[u8]| {
        let mut wide = [0; 4];
        wide[4 - width..].copy_from_slice(bytes);
        let bits = i64::from(i32::from_le_bytes(wide));
        (if bits < 0 { i64::from(i32::MIN) - bits } else { bits }) >> (32 - 8 * width)
    };
    let distances = a.chunks_exact(width).zip(b.chunks_exact(width)).map(|(a, b)| place(a) - place(b));
    distances.fold((0, 0), |(count, largest), d| (count + usize::from(d != 0), largest.max(d.abs())))
}
