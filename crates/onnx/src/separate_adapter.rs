//! An adapter that stays apart from the model: what can, and the file it goes into.

use super::OnnxError;
use super::adapter_file::{self, AdapterParameter, Versions};
use super::synced_file::write_synced;
use olive_arch::Spec;
use olive_model::Adapter;
use std::path::Path;

/// Whether an adapter can stay apart from a model.
///
/// # Errors
/// Parts that are not products of low rank on linear layers of the decoder.
pub fn check(adapter: &Adapter, spec: &Spec) -> Result<(), OnnxError> {
    let refuse = |reason: String| Err(OnnxError::SeparateAdapter(reason));
    if adapter.config.use_dora {
        return refuse("it is of DoRA, which scales the rows of the base".into());
    }
    if let Some(module) = adapter.whole.keys().next() {
        return refuse(format!("it takes the place of `{module}`"));
    }
    for (module, pair) in &adapter.modules {
        let Some(linear) = spec.all_linears().find(|linear| linear.module == *module) else {
            return refuse(format!("`{module}` is no linear layer of the decoder"));
        };
        if (pair.in_features, pair.out_features) != (linear.in_features, linear.out_features) {
            return refuse(format!(
                "`{module}` is made for {} inputs and {} outputs, the layer has {} and {}",
                pair.in_features, pair.out_features, linear.in_features, linear.out_features
            ));
        }
    }
    Ok(())
}

/// Writes the file of an adapter into `dir`.
///
/// # Errors
/// It would be larger than the format allows, or cannot be written.
pub(super) fn write(parameters: &[AdapterParameter], dir: &Path) -> olive_core::Result<()> {
    let too_large = || OnnxError::SeparateAdapter("it is larger than 2 GiB".into());
    write_synced(
        &dir.join(adapter_file::FILE),
        &adapter_file::encode(parameters, Versions::FIRST).ok_or_else(too_large)?,
    )
}
