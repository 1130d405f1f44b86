//! `extra_options` over the options beside them.

use crate::model_builder_options::{EXTRA_ALONE, EXTRA_OPTIONS, ExtraOptions, ModelBuilderOptions};
use olive_config::option::Fate;
use olive_config::{Era, Fields, Findings, ResolvedOption, Values};
use serde_json::json;

/// Puts the `extra_options` in place of the options beside them. Gives the others, and what the plan shows of them.
pub(crate) fn apply(
    fields: &Fields<'_>,
    values: &mut Values,
    findings: &mut Findings,
) -> (ExtraOptions, Vec<ResolvedOption>) {
    let Some(found) = fields.found("extra_options") else { return Default::default() };
    let extra = Fields::open(found.node, &found.path, &EXTRA_OPTIONS, findings).resolve(Era::New, findings);
    for opt in EXTRA_OPTIONS.options().filter(|opt| opt.fate == Fate::Honoured && extra.given(opt.name)) {
        values.override_with(opt.name, extra.get(opt.name));
    }
    if extra.given("disable_qkv_fusion") && !extra.given("fuse_qkv") {
        let fuse = !extra.bool("disable_qkv_fusion");
        values.override_with("fuse_qkv", extra.get("disable_qkv_fusion"));
        values.set("fuse_qkv", json!(fuse));
    }
    if extra.given("config_only") {
        values.override_with("metadata_only", extra.get("config_only"));
    }
    let filename = extra.text("filename");
    if filename.is_some_and(|name| !ModelBuilderOptions::is_onnx_file_name(name)) {
        let message = format!("expected {}", ModelBuilderOptions::ONNX_FILE_NAME);
        extra.error("filename", message, Some("for example \"model.onnx\"".into()), findings);
    }
    let shown = EXTRA_ALONE.iter().filter(|opt| extra.given(opt.name)).map(|opt| {
        let setting = extra.get(opt.name);
        ResolvedOption { name: opt.name.to_owned(), value: setting.json.clone(), origin: setting.origin }
    });
    (ExtraOptions::read(&extra).unwrap_or_default(), shown.collect())
}
