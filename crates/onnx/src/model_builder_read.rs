//! The options of ModelBuilder from a configuration.

use crate::model_builder_extra;
use crate::model_builder_options::{
    MixedPrecision, ModelBuilderOptions, Precision, operators, split_algorithm,
};
use crate::options::{Provider, float_type};
use olive_config::{Fields, Findings, OptionValue, PassContext, ResolvedOption, Values, nearest};
use serde_json::{Value as Json, json};

/// The options of a pass, and how they came about.
pub fn read(
    fields: &Fields<'_>,
    mut values: Values,
    context: &PassContext<'_>,
    findings: &mut Findings,
) -> Option<(ModelBuilderOptions, Vec<ResolvedOption>)> {
    check_task(context, findings);
    let (extra, extra_shown) = model_builder_extra::apply(fields, &mut values, findings);
    let (execution_provider, origin) = context.execution_provider(fields, findings);
    let search = &values.get("search").json;
    if !search.is_null() && !search.is_object() {
        let message = "expected an object, to be merged over `search` of genai_config.json";
        values.error("search", message, None, findings);
    }
    let precision = Precision::read(values.get("precision"))?;
    check_pair(precision, &execution_provider, &values, findings);
    let data_shown = context.attach_data(fields, &mut values, "calibration", findings);
    let mixed_precision = mixed_precision(&values, findings);
    let quantise_gather = check_operators(&values, findings);

    let mut shown = values.resolved("");
    shown.retain(|option| !["extra_options", "calibration"].contains(&option.name.as_str()));
    shown.extend(data_shown);
    shown.extend(extra_shown);
    let name = "execution_provider".to_owned();
    shown.push(ResolvedOption { name, value: json!(execution_provider), origin });
    let options = ModelBuilderOptions {
        execution_provider,
        mixed_precision,
        quantise_gather,
        num_hidden_layers: extra.num_hidden_layers,
        filename: extra.filename,
        ..ModelBuilderOptions::read(&values)?
    };
    Some((options, shown))
}

/// Tasks of models that hear or speak: encoders, and decoders that take sound.
const SPEECH_TASKS: &[&str] = &[
    "audio-classification",
    "automatic-speech-recognition",
    "automatic-speech-recognition-with-past",
    "text-to-audio",
    "text-to-speech",
];

fn check_task(context: &PassContext<'_>, findings: &mut Findings) {
    let Some((task, at, path)) = context.task() else { return };
    if SPEECH_TASKS.contains(&task) {
        let message = format!("the task is `{task}`, and ModelBuilder builds text decoders only");
        findings.error(
            at,
            path,
            message,
            Some("speech models are not built here; `text-generation` is".into()),
        );
    }
}

/// The widths that an old word for the algorithm or `matmul_mixed_precision` asks for.
fn mixed_precision(values: &Values, findings: &mut Findings) -> MixedPrecision {
    let suffix = split_algorithm(values.text("int4_algo_config").unwrap_or_default()).1;
    let mut mixed = MixedPrecision {
        last_matmul: (!suffix.is_empty()).then_some(8),
        mixed_layers: (suffix == "_mixed").then_some(8),
    };
    select_widths(values, &mut mixed, findings);
    mixed
}

/// `selector:type` entries, as a text with commas or a list, or an object of selectors.
fn select_widths(values: &Values, mixed: &mut MixedPrecision, findings: &mut Findings) {
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
            // No architecture here has such layers.
            "linear_attn" => {}
            _ => {
                let message =
                    format!("there is no selector `{selector}`: last_matmul, mixed_layers, linear_attn");
                values.error(NAME, message, hint(), findings);
            }
        }
    }
}

/// Whether Gather nodes are quantised.
fn check_operators(values: &Values, findings: &mut Findings) -> bool {
    const NAME: &str = "int4_op_types_to_quantize";
    let mut gather = false;
    for operator in operators(values.get(NAME)) {
        match operator {
            "MatMul" => {}
            "Gather" => gather = true,
            other => match nearest(other, ["MatMul", "Gather"]) {
                Some(meant) => {
                    let message = format!("nodes of type `{other}` cannot be quantised");
                    values.refuse(NAME, message, format!("did you mean `{meant}`?"), findings);
                }
                None => {
                    let message = format!(
                        "`{other}` has no effect: MatMul and Gather are the nodes that can be quantised"
                    );
                    values.warn(NAME, message, findings);
                }
            },
        }
    }
    gather
}

/// Pairs for which onnxruntime has the kernels.
fn check_pair(precision: Precision, execution_provider: &str, values: &Values, findings: &mut Findings) {
    let Some(provider) = Provider::of(execution_provider) else { return };
    let possible: Vec<Precision> =
        Precision::ALL.into_iter().filter(|precision| float_type(provider, *precision).is_some()).collect();
    if !possible.contains(&precision) {
        let names: Vec<&str> = possible.iter().map(|precision| precision.name()).collect();
        let asked = values.text("precision").unwrap_or_default();
        let message =
            format!("{asked} does not run on the target's execution provider, `{execution_provider}`");
        values.refuse("precision", message, format!("possible are {}", names.join(", ")), findings);
    }
}
