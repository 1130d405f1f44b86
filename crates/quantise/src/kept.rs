//! Codes of finished layers, in files, so that a model's need not be in memory and an interrupted run can go on.

use super::gptq::{LayerCodes, ModuleCodes};
use olive_core::{Result, error::IoContext};
use olive_kernels::quant::gptq::Chosen;
use olive_kernels::quant::{FloatType, Grid, Scheme};
use olive_model::Checkpoint;
use olive_model::PackedCodes;
use olive_model::safetensors_file::{Entry, Writer};
use std::path::Path;

const CODES: &str = ".codes";
const GRIDS: &str = ".grids";

/// Writes the codes of a layer; the file is there with all of them or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, codes: &LayerCodes) -> Result<()> {
    let partial = path.with_extension("partial");
    let mut entries = Vec::new();
    for module in &codes.modules {
        let (rows, groups) = (module.chosen.codes.len() / module.width, module.groups());
        entries.push(Entry {
            name: format!("{}{CODES}", module.module),
            dtype: "U8",
            shape: vec![rows, module.width],
            bytes: module.chosen.codes.len(),
        });
        entries.push(Entry {
            name: format!("{}{GRIDS}", module.module),
            dtype: "F32",
            shape: vec![rows, groups, 2],
            bytes: 8 * rows * groups,
        });
    }
    let mut writer = Writer::create(&partial, &entries)?;
    for module in &codes.modules {
        writer.write(&module.chosen.codes)?;
        let grids: Vec<f32> = module.chosen.grids.iter().flat_map(|grid| [grid.scale, grid.zero]).collect();
        writer.write(&FloatType::F32.to_bytes(&grids))?;
    }
    writer.finish()?;
    std::fs::rename(&partial, path).at("rename", &partial)
}

/// The codes of a layer that an earlier attempt has kept, if it did.
///
/// # Errors
/// The file cannot be read.
pub fn read(
    path: &Path,
    layer: Option<usize>,
    scheme: &dyn Fn(&str) -> Option<Scheme>,
) -> Result<Option<LayerCodes>> {
    if !path.is_file() {
        return Ok(None);
    }
    let file = Checkpoint::open_file(path)?;
    let mut modules = Vec::new();
    for codes in file.tensors() {
        let Some(module) = codes.name.strip_suffix(CODES) else { continue };
        let Some(scheme) = scheme(module) else { return Ok(None) };
        modules.push(module_of(&file, module, scheme)?);
    }
    Ok(Some(LayerCodes { layer, modules }))
}

/// The codes of one module of such a file, as a checkpoint has them.
///
/// # Errors
/// It is not there.
pub fn packed(path: &Path, module: &str, scheme: Scheme) -> Result<PackedCodes> {
    Ok(module_of(&Checkpoint::open_file(path)?, module, scheme)?.packed())
}

fn module_of(file: &Checkpoint, module: &str, scheme: Scheme) -> Result<ModuleCodes> {
    let codes = file.tensor(&format!("{module}{CODES}"))?;
    let grids = file.tensor(&format!("{module}{GRIDS}"))?.to_f32()?;
    let top = ((1u32 << scheme.bits) - 1) as f32;
    let grids = grids.as_chunks::<2>().0.iter().map(|[scale, zero]| Grid { scale: *scale, zero: *zero, top });
    let chosen = Chosen { codes: codes.bytes().to_vec(), grids: grids.collect() };
    let width = codes.shape.get(1).copied().unwrap_or(1).max(1);
    Ok(ModuleCodes { module: module.to_owned(), scheme, width, chosen })
}
