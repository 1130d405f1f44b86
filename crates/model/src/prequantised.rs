//! Checkpoints whose weights somebody has quantised already: told from what their files say and from the types of their
//! tensors. A statement that was left over beside float weights means nothing.

use super::checkpoint::stored_types;
use super::stored_file::read_json;
use super::{ModelError, QuantisationSettings};
use olive_core::Result;
use safetensors::Dtype;
use serde_json::Value;
use std::path::Path;

/// Objects of config.json that say how weights are quantised.
const KEYS: [&str; 2] = ["quantization_config", "compression_config"];
/// Files with such an object, of the first tools.
const FILES: [&str; 2] = ["quantize_config.json", "quant_config.json"];

/// # Errors
/// The folder says that its weights are quantised, and they are, in a format that cannot be read.
pub(super) fn refuse(dir: &Path, config: &Value) -> Result<()> {
    if QuantisationSettings::of(dir, config)?.is_some() {
        return Ok(());
    }
    let Some(statement) = statement(dir, config)? else { return Ok(()) };
    // What is wrong with the weights otherwise comes up where they are read.
    let types = stored_types(dir).unwrap_or_default();
    match types.into_iter().find(|(_, dtype)| holds_codes(*dtype)) {
        None => Ok(()),
        Some((tensor, dtype)) => Err(ModelError::PreQuantised {
            path: dir.to_owned(),
            statement,
            tensor,
            found: format!("{dtype:?}"),
        }
        .into()),
    }
}

/// What the folder says about how its weights are quantised.
fn statement(dir: &Path, config: &Value) -> Result<Option<String>> {
    let method = |object: &Value| object["quant_method"].as_str().map(str::to_owned);
    if let Some(key) = KEYS.iter().find(|key| config[**key].is_object()) {
        return Ok(Some(match method(&config[*key]) {
            Some(method) => format!("`{key}.quant_method` in config.json is `{method}`"),
            None => format!("config.json has a `{key}` without `quant_method`"),
        }));
    }
    for name in FILES {
        if let Some(object) = read_json(&dir.join(name))? {
            return Ok(Some(match method(&object) {
                Some(method) => format!("`quant_method` in {name} is `{method}`"),
                None => format!("{name} is beside them"),
            }));
        }
    }
    Ok(None)
}

/// Whether tensors of this type hold codes: not values, and neither positions nor masks.
fn holds_codes(dtype: Dtype) -> bool {
    use Dtype::{BF16, BOOL, F16, F32, F64, I64, U64};
    !matches!(dtype, F64 | F32 | F16 | BF16 | I64 | U64 | BOOL)
}
