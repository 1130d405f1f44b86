//! The options of ModelBuilder.

use super::model_builder_options::{
    Adapters, MixedPrecision, ModelBuilderOptions, Precision, QuantAlgorithm,
};
use super::model_builder_table::EXTRA_OPTIONS;
use olive_config::{Era, Fields, Findings, PassContext, ResolvedOption, Values};
use serde_json::{Value as Json, json};

/// The options of a pass, and how they came about.
pub fn read(
    fields: &Fields<'_>,
    mut values: Values,
    context: &PassContext<'_>,
    findings: &mut Findings,
) -> Option<(ModelBuilderOptions, Vec<ResolvedOption>)> {
    let extra = extra_options(fields, &mut values, findings);
    let (provider, origin) = context.execution_provider(fields, findings);
    let search = match &values.get("search").json {
        Json::Null => None,
        Json::Object(search) => Some(search.clone()),
        _ => {
            values.error(
                "search",
                "expected an object, to be merged over `search` of genai_config.json",
                None,
                findings,
            );
            None
        }
    };
    let precision = values.choice::<Precision>("precision")?;
    check_pair(precision, &provider, &values, findings);

    let shown_data = context.attach_data(fields, &mut values, "calibration", findings);
    let (algorithm, mixed_precision) = algorithm(&mut values, findings);
    let [quantise_matmul, quantise_gather] = op_types(&values, findings);
    let mut resolved = values.resolved("");
    resolved.retain(|option| !["extra_options", "calibration"].contains(&option.name.as_str()));
    resolved.extend(shown_data);
    resolved.extend(extra.resolved);
    let name = "execution_provider".to_owned();
    resolved.push(ResolvedOption { name, value: json!(provider), origin });
    let options = ModelBuilderOptions {
        precision,
        execution_provider: provider,
        block_size: values.usize("int4_block_size"),
        accuracy_level: values.u64("int4_accuracy_level").and_then(|level| level.try_into().ok()),
        is_symmetric: values.bool("int4_is_symmetric"),
        algorithm,
        mixed_precision,
        quantise_matmul,
        quantise_gather,
        nodes_to_exclude: values
            .texts("int4_nodes_to_exclude")
            .unwrap_or_default()
            .iter()
            .flat_map(|names| names.split(','))
            .map(|name| name.trim().to_owned())
            .collect(),
        use_qdq: values.bool("use_qdq"),
        shared_embeddings: values.get("shared_embeddings").json.as_bool(),
        fuse_qkv: values.bool("fuse_qkv"),
        exclude_embeds: values.bool("exclude_embeds"),
        exclude_lm_head: values.bool("exclude_lm_head"),
        include_hidden_states: values.bool("include_hidden_states"),
        prune_lm_head: values.bool("prune_lm_head"),
        use_webgpu_fp32: values.bool("use_webgpu_fp32"),
        use_cuda_bf16: values.bool("use_cuda_bf16"),
        enable_cuda_graph: values.bool("enable_cuda_graph"),
        metadata_only: values.bool("metadata_only"),
        num_hidden_layers: extra.num_hidden_layers,
        filename: extra.filename,
        adapters: values.choice("adapters").unwrap_or(Adapters::Merged),
        search,
        calibration: values.get("calibration").object(),
    };
    Some((options, resolved))
}

/// What only `extra_options` can say.
#[derive(Default)]
struct Extra {
    num_hidden_layers: Option<usize>,
    filename: Option<String>,
    resolved: Vec<ResolvedOption>,
}

impl Extra {
    fn read(extra: &Values, findings: &mut Findings) -> Extra {
        let filename = extra.text("filename").map(str::to_owned);
        if filename.as_deref().is_some_and(|name| !ModelBuilderOptions::is_onnx_file_name(name)) {
            let message = format!("expected {}", ModelBuilderOptions::ONNX_FILE_NAME);
            extra.error("filename", message, Some("for example \"model.onnx\"".into()), findings);
        }
        let resolved =
            ["num_hidden_layers", "filename"].into_iter().filter(|name| extra.given(name)).map(|name| {
                let setting = extra.get(name);
                ResolvedOption { name: name.to_owned(), value: setting.json.clone(), origin: setting.origin }
            });
        Extra {
            num_hidden_layers: extra.positive("num_hidden_layers"),
            resolved: resolved.collect(),
            filename,
        }
    }
}

/// `extra_options` win over the options beside them.
fn extra_options(fields: &Fields<'_>, values: &mut Values, findings: &mut Findings) -> Extra {
    let Some(found) = fields.found("extra_options") else { return Extra::default() };
    let extra = Fields::open(found.node, &found.path, &EXTRA_OPTIONS, findings).resolve(Era::New, findings);
    let shared = [
        "int4_block_size",
        "int4_accuracy_level",
        "int4_is_symmetric",
        "int4_algo_config",
        "int4_nodes_to_exclude",
        "int4_op_types_to_quantize",
        "matmul_mixed_precision",
        "shared_embeddings",
        "exclude_embeds",
        "exclude_lm_head",
        "include_hidden_states",
        "prune_lm_head",
        "fuse_qkv",
        "enable_cuda_graph",
        "use_qdq",
        "use_webgpu_fp32",
        "use_cuda_bf16",
    ];
    for name in shared {
        if extra.given(name) {
            values.override_with(name, extra.get(name));
        }
    }
    if extra.given("disable_qkv_fusion") && !extra.given("fuse_qkv") {
        let fuse = !extra.bool("disable_qkv_fusion");
        values.override_with("fuse_qkv", extra.get("disable_qkv_fusion"));
        values.set("fuse_qkv", json!(fuse));
    }
    if extra.given("config_only") {
        values.override_with("metadata_only", extra.get("config_only"));
    }
    Extra::read(&extra, findings)
}

/// The method, and the widths that an old word for it or `matmul_mixed_precision` asks for.
fn algorithm(values: &mut Values, findings: &mut Findings) -> (QuantAlgorithm, MixedPrecision) {
    let mut mixed = MixedPrecision::default();
    let text = values.text("int4_algo_config").unwrap_or("default").to_owned();
    let (method, suffix) = match text.split_once("_last").or_else(|| text.split_once("_mixed")) {
        Some((method, _)) => (method, &text[method.len()..]),
        None => (text.as_str(), ""),
    };
    if !suffix.is_empty() {
        mixed.last_matmul = Some(8);
        mixed.mixed_layers = (suffix == "_mixed").then_some(8);
    }
    let method = match method {
        "rtn" => QuantAlgorithm::Rtn,
        "k_quant" => QuantAlgorithm::KQuant,
        _ => QuantAlgorithm::Default,
    };
    mixed_precision(values, &mut mixed, findings);
    (method, mixed)
}

/// `selector:type` entries, as a text with commas or a list, or an object of selectors.
fn mixed_precision(values: &Values, mixed: &mut MixedPrecision, findings: &mut Findings) {
    const NAME: &str = "matmul_mixed_precision";
    let pair = |entry: &str| entry.split_once(':').map(|(a, b)| (a.trim().to_owned(), b.trim().to_owned()));
    let entries: Option<Vec<(String, String)>> = match &values.get(NAME).json {
        Json::Null => return,
        Json::String(text) => text.split(',').map(pair).collect(),
        Json::Array(items) => items.iter().map(|item| item.as_str().and_then(pair)).collect(),
        Json::Object(map) => {
            map.iter().map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
        }
        _ => None,
    };
    let hint = || Some("for example \"last_matmul:int8,mixed_layers:int8\"".to_owned());
    let Some(entries) = entries else {
        values.error(NAME, "expected `selector:type` entries", hint(), findings);
        return;
    };
    for (selector, kind) in entries {
        let bits = match kind.as_str() {
            "int4" => 4,
            "int8" => 8,
            _ => {
                let message = format!("`{kind}` is not a type that some nodes can have: int4, int8");
                values.error(NAME, message, hint(), findings);
                continue;
            }
        };
        match selector.as_str() {
            "last_matmul" => mixed.last_matmul = Some(bits),
            "mixed_layers" => mixed.mixed_layers = Some(bits),
            _ => {
                let message = format!("there is no selector `{selector}`: last_matmul, mixed_layers");
                values.error(NAME, message, hint(), findings);
            }
        }
    }
}

/// Whether MatMul and Gather nodes are quantised. On the command line of the builder the types are joined by slashes.
fn op_types(values: &Values, findings: &mut Findings) -> [bool; 2] {
    const NAME: &str = "int4_op_types_to_quantize";
    let mut found = [false; 2];
    for text in values.texts(NAME).unwrap_or_default() {
        for word in text.split('/') {
            match word {
                "MatMul" => found[0] = true,
                "Gather" => found[1] = true,
                _ => {
                    let message = format!("nodes of type `{word}` cannot be quantised");
                    values.refuse(NAME, message, "possible are MatMul and Gather".into(), findings);
                }
            }
        }
    }
    found
}

/// Pairs for which onnxruntime has the kernels.
fn check_pair(precision: Precision, provider: &str, values: &Values, findings: &mut Findings) {
    use Precision::*;
    let possible: &[(Precision, &str)] = match provider {
        "cuda" => &[(Fp16, "fp16"), (Bf16, "bf16"), (Int8, "int8"), (Int4, "int4")],
        "dml" => &[(Fp16, "fp16"), (Int4, "int4")],
        "webgpu" => &[(Fp16, "fp16"), (Int8, "int8"), (Int4, "int4")],
        _ => &[(Fp32, "fp32"), (Int8, "int8"), (Int4, "int4")],
    };
    if !possible.iter().any(|(known, _)| *known == precision) {
        let names: Vec<&str> = possible.iter().map(|(_, name)| *name).collect();
        let asked = values.text("precision").unwrap_or_default();
        let message = format!("{asked} does not run on the target's execution provider, `{provider}`");
        values.refuse("precision", message, format!("possible are {}", names.join(", ")), findings);
    }
}
