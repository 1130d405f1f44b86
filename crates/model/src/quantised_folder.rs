//! Writing a checkpoint some of whose matrices have become codes. Streamed: memory holds the codes of one matrix.

use super::quantisation::{ModuleSettings, QuantisationSettings};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::safetensors_file::{Entry, ModelFiles, Writer};
use crate::stored_file::{read_json, write_json};
use crate::{Grouped, ModelError, ModelFolder};
use candle_core::DType;
use olive_arch::Spec;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use olive_kernels::quant::FloatType;
use std::path::Path;

/// A matrix that becomes codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCodes {
    pub module: String,
    /// The tensor that it is now, `[rows, cols]`: of the head of a tied model the embedding's.
    pub tensor: String,
    pub settings: ModuleSettings,
}

/// Codes as the file has them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PackedCodes {
    /// `[rows, ceil(cols · bits / 8)]`.
    pub codes: Vec<u8>,
    /// `[rows, groups]`, as the type of the checkpoint can hold them.
    pub scales: Vec<f32>,
    /// `[rows, ceil(groups · bits / 8)]`; empty when symmetric.
    pub zeros: Vec<u8>,
}

/// The folder of a model that is written anew.
pub struct QuantisedFolder<'a> {
    pub source: &'a ModelFolder,
    pub checkpoint: &'a Checkpoint,
    /// What becomes codes here.
    pub new: &'a [NewCodes],
    /// What `config.json` is to say.
    pub settings: &'a QuantisationSettings,
    /// The head was the embedding, which is quantised here, and stays float: it gets a matrix of its own.
    pub split_head: bool,
}

/// A tensor of the new checkpoint.
enum Part<'a> {
    /// As it is.
    Kept(&'a Tensor),
    /// The same under another name.
    Copied(&'a str, &'a Tensor),
    Codes(&'a NewCodes, [usize; 2], FloatType),
}

impl QuantisedFolder<'_> {
    /// Writes weights and `config.json` into `dir`, which has the other files already. `codes` gives those of each of the new matrices.
    ///
    /// # Errors
    /// A tensor that is not there or cannot be read, what `codes` says, a file that cannot be written, an interruption.
    pub fn write(
        &self,
        dir: &Path,
        codes: &mut dyn FnMut(&NewCodes) -> Result<PackedCodes>,
        cancel: &CancelFlag,
        events: &dyn EventSink,
    ) -> Result<()> {
        let with_entries = |part| Ok((Part::entries(&part)?, part));
        let parts = self.parts()?.into_iter().map(with_entries).collect::<Result<Vec<_>>>()?;
        let files = ModelFiles { dir, phase: "write weights", cancel, events };
        files.write(&parts, &mut |part, writer| part.write(writer, codes))?;
        self.write_config(dir)
    }

    /// What the file will hold, in order.
    fn parts(&self) -> Result<Vec<Part<'_>>> {
        let mut parts = Vec::new();
        for new in self.new {
            let tensor = self.checkpoint.tensor(&new.tensor)?;
            let (&[rows, cols], Some(float)) = (tensor.shape.as_slice(), FloatType::of(tensor.dtype)) else {
                let found = tensor.dtype.as_str().into();
                return Err(ModelError::Dtype { name: tensor.name.clone(), found }.into());
            };
            parts.push(Part::Codes(new, [rows, cols], float));
        }
        if self.split_head {
            parts.push(Part::Copied(Spec::HEAD, self.checkpoint.tensor(Spec::EMBEDDING)?));
        }
        // One matrix is written for both, and a float copy of the embedding would be taken for another head.
        let dropped = |tensor: &Tensor| self.settings.tied && tensor.name == Spec::HEAD;
        let replaced =
            |tensor: &Tensor| self.new.iter().any(|new| format!("{}.weight", new.module) == tensor.name);
        parts.extend(
            self.checkpoint.tensors().filter(|tensor| !replaced(tensor) && !dropped(tensor)).map(Part::Kept),
        );
        Ok(parts)
    }

    fn write_config(&self, dir: &Path) -> Result<()> {
        let path = dir.join("config.json");
        let mut config = read_json(&path)?.unwrap_or_else(|| self.source.config.clone());
        config[QuantisationSettings::KEY] = self.settings.to_json();
        if self.settings.lm_head || self.settings.embeds {
            config["tie_word_embeddings"] = false.into();
        }
        write_json(&path, &config)
    }
}

impl Part<'_> {
    fn entries(&self) -> Result<Vec<Entry>> {
        match self {
            Part::Kept(tensor) => match tensor.neighbour_groups() {
                Some(groups) => {
                    let module = tensor.name.strip_suffix(".weight").unwrap_or(&tensor.name);
                    code_entries(module, groups.settings, groups.shape(), groups.scheme().float)
                }
                None => Ok(vec![Entry::new(&tensor.name, tensor.dtype, &tensor.shape)?]),
            },
            Part::Copied(name, tensor) => Ok(vec![Entry {
                name: (*name).to_owned(),
                ..Entry::new(&tensor.name, tensor.dtype, &tensor.shape)?
            }]),
            Part::Codes(new, shape, float) => code_entries(&new.module, new.settings, *shape, *float),
        }
    }

    fn write(
        &self,
        writer: &mut Writer,
        codes: &mut dyn FnMut(&NewCodes) -> Result<PackedCodes>,
    ) -> Result<()> {
        match self {
            Part::Kept(tensor) => {
                match tensor.neighbour_groups() {
                    Some(groups) => write_groups(groups, writer)?,
                    None => tensor.finite_pieces().try_for_each(|piece| writer.write(&piece?))?,
                }
                tensor.release();
            }
            Part::Copied(_, tensor) => tensor.finite_pieces().try_for_each(|piece| writer.write(&piece?))?,
            Part::Codes(new, _, float) => {
                let packed = codes(new)?;
                writer.write(&packed.codes)?;
                writer.write(&float.to_bytes(&packed.scales))?;
                writer.write(&packed.zeros)?;
            }
        }
        Ok(())
    }
}

/// The tensors of a matrix that is codes.
fn code_entries(
    module: &str,
    settings: ModuleSettings,
    [rows, cols]: [usize; 2],
    float: FloatType,
) -> Result<Vec<Entry>> {
    let (bits, group) = (usize::from(settings.bits), settings.group.unwrap_or(cols).max(1));
    let groups = cols / group;
    let entry =
        |suffix: &str, dtype, width: usize| Entry::new(&format!("{module}.{suffix}"), dtype, &[rows, width]);
    let mut entries = vec![
        entry("qweight", DType::U8, (cols * bits).div_ceil(8))?,
        entry("scales", float.dtype(), groups)?,
    ];
    if !settings.symmetric {
        entries.push(entry("qzeros", DType::U8, (groups * bits).div_ceil(8))?);
    }
    Ok(entries)
}

/// Writes codes that the checkpoint has, however it has them; memory holds some of their rows.
fn write_groups(groups: &Grouped, writer: &mut Writer) -> Result<()> {
    const AT_ONCE: usize = 64;
    let [rows, _] = groups.shape();
    let panels = || (0..rows).step_by(AT_ONCE).map(|start| start..(start + AT_ONCE).min(rows));
    panels().try_for_each(|rows| writer.write(&groups.code_bytes(rows)))?;
    let float = groups.scheme().float;
    panels().try_for_each(|rows| writer.write(&float.to_bytes(&groups.read_scales(rows)?)))?;
    if groups.settings.symmetric {
        return Ok(());
    }
    panels().try_for_each(|rows| writer.write(&groups.zero_bytes(rows).unwrap_or_default()))
}
