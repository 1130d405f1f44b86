//! The options of ModelBuilder.

use super::passes::{Context, PassRead};
use super::system::Systems;
use crate::config::fields::Fields;
use crate::config::findings::Findings;
use crate::config::tables::EXTRA_OPTIONS;
use crate::config::values::Values;
use crate::config::{Era, ModelBuilderOptions, PassOptions, Precision, QuantAlgorithm, ResolvedOption};
use serde_json::{Value as Json, json};

pub(super) fn read(
    fields: &Fields<'_>,
    mut values: Values,
    context: &Context<'_, '_>,
    systems: &Systems,
    findings: &mut Findings,
) -> Option<PassRead> {
    extra_options(fields, &mut values, findings);
    let (provider, message) = systems.builder_provider(context.target);
    if let Some(message) = message {
        findings.warn(fields.at, &fields.path, message);
    }
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

    let mut resolved = values.resolved("");
    resolved.retain(|option| option.name != "extra_options");
    let name = "execution_provider".to_owned();
    resolved.push(ResolvedOption { name, value: json!(provider), origin: context.target_origin });
    let options = ModelBuilderOptions {
        precision,
        execution_provider: provider,
        block_size: values.usize("int4_block_size"),
        accuracy_level: values.u64("int4_accuracy_level").and_then(|level| level.try_into().ok()),
        is_symmetric: values.bool("int4_is_symmetric"),
        algorithm: values.choice("int4_algo_config").unwrap_or(QuantAlgorithm::Default),
        nodes_to_exclude: values.texts("int4_nodes_to_exclude").unwrap_or_default(),
        search,
    };
    Some((PassOptions::ModelBuilder(options), resolved))
}

/// `extra_options` win over the options beside them.
fn extra_options(fields: &Fields<'_>, values: &mut Values, findings: &mut Findings) {
    let Some(found) = fields.found("extra_options") else { return };
    let extra = Fields::open(found.node, &found.path, &EXTRA_OPTIONS, findings).resolve(Era::New, findings);
    let shared = [
        "int4_block_size",
        "int4_accuracy_level",
        "int4_is_symmetric",
        "int4_algo_config",
        "int4_nodes_to_exclude",
    ];
    for name in shared {
        if extra.given(name) {
            values.override_with(name, extra.get(name));
        }
    }
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
