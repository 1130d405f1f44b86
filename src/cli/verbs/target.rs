//! `--device` of Olive's verbs: the device that a result is for.

use crate::cli::Globals;
use olive_verbs::{Device, VerbError, Word};

/// The device that was asked for.
///
/// # Errors
/// A word that means none.
pub(super) fn device(globals: &Globals) -> Result<Option<Device>, VerbError> {
    let Some(text) = &globals.device else { return Ok(None) };
    match Device::of(text) {
        Some(device) => Ok(Some(device)),
        None if text == "cuda" || text.starts_with("cuda:") => Ok(Some(Device::Gpu)),
        None => Err(VerbError::Value {
            option: format!("--device {text}"),
            reason: "expected cpu, gpu or npu".into(),
            hint: Some("`cuda` and `cuda:1` are for GPUs, and compute there, too".into()),
        }),
    }
}

/// The same options for a run: what is for a GPU is made on the CPU, unless `cuda` is said.
pub(super) fn computing(globals: &Globals) -> Globals {
    let device = globals.device.clone().filter(|text| Device::of(text).is_none());
    Globals { device, ..globals.clone() }
}
