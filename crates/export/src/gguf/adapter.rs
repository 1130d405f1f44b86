//! LoRA adapters, as llama.cpp's converter of adapters writes them.

use super::file::{File, Written};
use super::matrices::{Change, Matrix};
use super::names;
use super::values::interleaved;
use crate::error::ExportError;
use olive_arch::Spec;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use olive_model::adapter::LoraPair;
use olive_model::{Adapter, ModelFolder};
use std::path::Path;

/// Writes an adapter of `base` into `path`, in f32.
///
/// # Errors
/// [`ExportError`]: what an adapter changes that no such file can hold.
pub fn export_adapter(
    base: &Path,
    adapter: &Path,
    name: &str,
    path: &Path,
    cancel: &CancelFlag,
    events: &dyn EventSink,
) -> Result<Written> {
    let folder = ModelFolder::open(base)?;
    let spec = folder.spec()?;
    let Some(architecture) = spec.family.gguf.written_name() else {
        return Err(ExportError::Family { architecture: spec.family.architecture }.into());
    };
    let adapter = Adapter::open(adapter)?;
    let matrices = matrices(&adapter, &spec)?;
    let mut file = File::default();
    file.text("general.architecture", architecture);
    file.text("general.type", "adapter");
    file.text("adapter.type", "lora");
    file.text("general.name", name);
    file.float("adapter.lora.alpha", alpha(&adapter));
    file.number("general.quantization_version", 2);
    let checkpoint = folder.checkpoint()?;
    file.write(path, &matrices, &checkpoint, cancel, events)
}

/// A reader scales by `alpha / rank` of the module.
fn alpha(adapter: &Adapter) -> f64 {
    let config = &adapter.config;
    if config.use_rslora { config.lora_alpha * (config.r as f64).sqrt() } else { config.lora_alpha }
}

fn matrices(adapter: &Adapter, spec: &Spec) -> Result<Vec<Matrix>, ExportError> {
    let refuse = |reason: String| Err(ExportError::Adapter { reason });
    if adapter.config.use_dora {
        return refuse("it is one of DoRA, which trains the length of rows, too".into());
    }
    if let Some(module) = adapter.whole.keys().next() {
        return refuse(format!("it has trained `{module}` whole"));
    }
    let alpha = alpha(adapter);
    let mut matrices = Vec::with_capacity(2 * adapter.modules.len());
    for (module, pair) in &adapter.modules {
        let weight = format!("{module}.weight");
        let Some(name) = names::in_file(&weight, spec) else {
            return refuse(format!("`{module}` is no module of such models"));
        };
        if spec.tied && weight == Spec::HEAD {
            return refuse("it adapts a head that is the embedding, too".into());
        }
        if weight == Spec::EMBEDDING {
            return refuse("it adapts the embedding".into());
        }
        let LoraPair { rank, in_features, out_features, .. } = *pair;
        let mut up = pair.b.clone();
        // What a pattern of ranks or alphas makes of the scale.
        let folded = pair.scale * rank as f64 / alpha;
        if (folded - 1.0).abs() > 1e-9 {
            up.iter_mut().for_each(|value| *value = (f64::from(*value) * folded) as f32);
        }
        let change = names::kind(module).map(|kind| Change::of_linear(kind, spec));
        if let Some(Change::Interleave { heads }) = change {
            up = interleaved(&up, out_features / heads, rank);
        }
        matrices.push(of_rows(format!("{name}.lora_a"), pair.a.clone(), rank, in_features));
        matrices.push(of_rows(format!("{name}.lora_b"), up, out_features, rank));
    }
    Ok(matrices)
}

fn of_rows(name: String, values: Vec<f32>, rows: usize, columns: usize) -> Matrix {
    Matrix { rows, columns, ..Matrix::of_values(&name, values) }
}
