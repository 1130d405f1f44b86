//! Checkpoints whose weights somebody has quantised already: told from what their files say and from the types of their
//! tensors. A statement that was left over beside float weights means nothing.

use super::Checkpoint;
use super::checkpoint::stored_types;
use super::stated::{Statement, StoredFormat};
use olive_core::Result;
use safetensors::Dtype;
use serde_json::Value;
use std::path::Path;

/// # Errors
/// The folder says that its weights are quantised, and they are, in a way that cannot be read.
pub(super) fn check(dir: &Path, config: &Value) -> Result<()> {
    let Some(statement) = Statement::of(dir, config)? else { return Ok(()) };
    // What is wrong with the weights otherwise comes up where they are read.
    let types = stored_types(dir).unwrap_or_default();
    let Some((tensor, dtype)) = types.into_iter().find(|(_, dtype)| holds_codes(*dtype)) else {
        return Ok(());
    };
    match statement.format(dir, config)? {
        Some(StoredFormat::Olive(_)) => Ok(()),
        // A type that no format has is found before the files are mapped.
        Some(_) if candle_core::DType::try_from(dtype).is_ok() => Checkpoint::open(dir).map(|_| ()),
        Some(_) | None => {
            Err(statement.refuse(dir, format!("tensor `{tensor}` is of type {dtype:?}")).into())
        }
    }
}

/// Whether tensors of this type hold codes: not values, and neither positions nor masks.
fn holds_codes(dtype: Dtype) -> bool {
    use Dtype::{BF16, BOOL, F16, F32, F64, I64, U64};
    !matches!(dtype, F64 | F32 | F16 | BF16 | I64 | U64 | BOOL)
}
