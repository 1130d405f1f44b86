//! Matrices, by the names of their weights, in the place of the tensors that they are stored as.

use super::ModelError;
use super::bitsandbytes;
use super::grouped::{Grouped, Parts};
use super::mapped_tensor::{MappedTensor, StoredMatrix};
use super::quantisation::{ModuleSettings, QuantisationSettings};
use super::scaled::Scaled;
use super::stated::{Statement, StoredFormat};
use super::stored_file::read_json;
use candle_core::DType;
use olive_core::Result;
use olive_kernels::quant::nf4::Code;
use olive_kernels::quant::packing::Packing;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

const CODES: &str = ".qweight";
const SCALES: &str = ".scales";
const ZEROS: &str = ".qzeros";
const GROUP_OF: &str = ".g_idx";
const WEIGHT: &str = ".weight";

/// A matrix that is stored as several tensors.
pub(crate) enum Coded {
    Groups(Arc<Grouped>),
    Other(Arc<dyn StoredMatrix>),
}

/// What becomes of the tensors of a folder.
#[derive(Default)]
pub(crate) struct Folded {
    /// By the names of their weights.
    pub(crate) matrices: BTreeMap<String, Coded>,
    /// The tensors that they are made of.
    pub(crate) used: BTreeSet<String>,
}

/// What the tensors of the folder `dir` make, by what its configuration says of them.
///
/// # Errors
/// A statement or tensors that contradict each other, or that cannot be read.
pub(crate) fn fold(dir: &Path, tensors: &BTreeMap<String, MappedTensor>) -> Result<Folded> {
    if !tensors.values().any(|tensor| holds_codes(tensor.dtype)) {
        return Ok(Folded::default());
    }
    let config = read_json(&dir.join("config.json"))?.unwrap_or_default();
    let Some(statement) = Statement::of(dir, &config)? else { return Ok(Folded::default()) };
    let Some(format) = statement.format(dir, &config)? else { return Ok(Folded::default()) };
    let mut folding = Folding { dir, tensors, folded: Folded::default() };
    match &format {
        StoredFormat::Olive(settings) => folding.olive(settings)?,
        StoredFormat::Gptq { settings, less, varied } => folding.gptq(*settings, *less, *varied)?,
        StoredFormat::Awq(settings) => folding.awq(*settings)?,
        StoredFormat::Bitsandbytes => folding.bitsandbytes()?,
        StoredFormat::Float8 { block } => folding.float8(*block)?,
    }
    let folded = folding.folded;
    let left =
        |(name, tensor): &(&String, &MappedTensor)| holds_codes(tensor.dtype) && !folded.used.contains(*name);
    match tensors.iter().find(left) {
        Some((name, tensor)) if !matches!(format, StoredFormat::Olive(_)) => {
            let found = safetensors::Dtype::from(tensor.dtype);
            Err(statement.refuse(dir, format!("tensor `{name}` is of type {found:?}")).into())
        }
        _ => Ok(folded),
    }
}

/// Whether a type is none of values, or of positions.
fn holds_codes(dtype: DType) -> bool {
    !matches!(dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64 | DType::I64)
}

struct Folding<'a> {
    dir: &'a Path,
    tensors: &'a BTreeMap<String, MappedTensor>,
    folded: Folded,
}

impl Folding<'_> {
    fn refuse(&self, module: &str, reason: &str) -> ModelError {
        ModelError::Quantisation { path: self.dir.to_owned(), reason: format!("`{module}`: {reason}") }
    }

    /// Modules with codes of this type.
    fn modules(&self, dtype: DType) -> Vec<String> {
        let module = |(name, tensor): (&String, &MappedTensor)| {
            (tensor.dtype == dtype).then(|| name.strip_suffix(CODES).map(str::to_owned)).flatten()
        };
        self.tensors.iter().filter_map(module).collect()
    }

    fn take(&mut self, name: String) -> Option<MappedTensor> {
        let tensor = self.tensors.get(&name)?.clone();
        self.folded.used.insert(name);
        Some(tensor)
    }

    /// The tensors of a module.
    fn parts(&mut self, module: &str, packing: Packing) -> Result<Parts, ModelError> {
        let mut take = |suffix: &str| self.take(format!("{module}{suffix}"));
        let (codes, scales) = (take(CODES), take(SCALES));
        let (zeros, group_of) = (take(ZEROS), take(GROUP_OF));
        match (codes, scales) {
            (Some(codes), Some(scales)) => Ok(Parts { packing, codes, scales, zeros, group_of }),
            _ => {
                let reason = format!("`{module}{CODES}` has no `{module}{SCALES}` beside it");
                Err(ModelError::Quantisation { path: self.dir.to_owned(), reason })
            }
        }
    }

    fn groups(&mut self, module: &str, settings: ModuleSettings, parts: Parts) -> Result<(), ModelError> {
        let grouped = Grouped::new(settings, parts).map_err(|reason| self.refuse(module, &reason))?;
        self.put(module, format!("{module}{WEIGHT}"), Coded::Groups(Arc::new(grouped)))
    }

    fn put(&mut self, module: &str, name: String, coded: Coded) -> Result<(), ModelError> {
        let in_float = self.tensors.contains_key(&name) && !self.folded.used.contains(&name);
        if in_float || self.folded.matrices.insert(name, coded).is_some() {
            let reason = format!("`{module}` is there in float and quantised");
            return Err(ModelError::Quantisation { path: self.dir.to_owned(), reason });
        }
        Ok(())
    }

    fn olive(&mut self, settings: &QuantisationSettings) -> Result<(), ModelError> {
        for module in self.modules(DType::U8) {
            let parts = Parts { group_of: None, ..self.parts(&module, Packing::Rows)? };
            self.groups(&module, settings.of_module(&module), parts)?;
        }
        Ok(())
    }

    fn gptq(&mut self, stated: ModuleSettings, less: u8, varied: bool) -> Result<(), ModelError> {
        for module in self.modules(DType::I32) {
            let mut parts = self.parts(&module, Packing::Words { less })?;
            let mut settings = stated;
            if varied {
                settings = shown(stated, &parts).map_err(|reason| self.refuse(&module, &reason))?;
            }
            if settings.symmetric {
                let middle = (1u8 << (settings.bits - 1)) - less;
                let all = |zeros: &MappedTensor| all_equal(zeros.bytes(), repeated(middle, settings.bits));
                // Files of symmetric codes state the middle, and nobody need be told.
                match parts.zeros.take_if(|zeros| all(zeros)) {
                    Some(_) => {}
                    None => settings.symmetric = parts.zeros.is_none(),
                }
            }
            self.groups(&module, settings, parts)?;
        }
        Ok(())
    }

    fn awq(&mut self, settings: ModuleSettings) -> Result<(), ModelError> {
        for module in self.modules(DType::I32) {
            let parts = Parts { group_of: None, ..self.parts(&module, Packing::Interleaved)? };
            self.groups(&module, settings, parts)?;
        }
        Ok(())
    }

    fn bitsandbytes(&mut self) -> Result<(), ModelError> {
        let weight = |name: &String| {
            let (weight, code) = name.rsplit_once(bitsandbytes::STATE)?;
            let code = [Code::Nf4, Code::Fp4].into_iter().find(|known| known.name() == code)?;
            Some((weight.to_owned(), code))
        };
        for (name, code) in self.tensors.keys().filter_map(weight).collect::<Vec<_>>() {
            let part = |suffix: &str| self.tensors.get(&format!("{name}{suffix}")).cloned();
            let matrix = bitsandbytes::matrix(code, &part).map_err(|reason| self.refuse(&name, &reason))?;
            self.take(name.clone());
            self.take(format!("{name}{}{}", bitsandbytes::STATE, code.name()));
            for suffix in bitsandbytes::BESIDE {
                self.take(format!("{name}{suffix}"));
            }
            self.put(&name, name.clone(), Coded::Other(Arc::new(matrix)))?;
        }
        Ok(())
    }

    fn float8(&mut self, block: Option<[usize; 2]>) -> Result<(), ModelError> {
        let is_weight =
            |(name, tensor): &(&String, &MappedTensor)| Scaled::reads(tensor.dtype) && name.ends_with(WEIGHT);
        let names: Vec<String> =
            self.tensors.iter().filter(is_weight).map(|(name, _)| name.clone()).collect();
        for name in names {
            let numbers = self.take(name.clone());
            let scales =
                ["_scale_inv", "_scale"].into_iter().find_map(|end| self.take(format!("{name}{end}")));
            let (Some(numbers), Some(scales)) = (numbers, scales) else {
                return Err(self.refuse(&name, "it has no scales beside it"));
            };
            let matrix =
                Scaled::new(numbers, &scales, block).map_err(|reason| self.refuse(&name, &reason))?;
            self.put(&name, name.clone(), Coded::Other(Arc::new(matrix)))?;
        }
        Ok(())
    }
}

/// The settings that the shapes of GPTQ's tensors show.
fn shown(stated: ModuleSettings, parts: &Parts) -> Result<ModuleSettings, String> {
    let (&[words, _], &[groups, _]) = (parts.codes.shape.as_slice(), parts.scales.shape.as_slice()) else {
        return Err("codes or scales are no matrix".into());
    };
    let Some(&[cols]) = parts.group_of.as_ref().map(|tensor| tensor.shape.as_slice()) else {
        return Ok(stated);
    };
    let odd = || format!("{words} words and {groups} scales for {cols} columns");
    let bits = words.checked_mul(32).filter(|bits| cols > 0 && bits.is_multiple_of(cols)).ok_or_else(odd)?;
    let bits = u8::try_from(bits / cols).ok().filter(|bits| [2, 4, 8].contains(bits)).ok_or_else(odd)?;
    let size = Some(cols).filter(|cols| groups > 0 && cols.is_multiple_of(groups)).ok_or_else(odd)?;
    let group = Some(size / groups).filter(|_| groups > 1);
    Ok(ModuleSettings { bits, group, ..stated })
}

/// A byte full of one number.
fn repeated(number: u8, bits: u8) -> u8 {
    (0..8).step_by(usize::from(bits)).fold(0, |byte, shift| byte | number << shift)
}

fn all_equal(bytes: &[u8], byte: u8) -> bool {
    bytes.iter().all(|other| *other == byte)
}
