//! `olive convert-adapters` and `olive extract-adapters`.

use super::arguments::{HuggingFaceModelArgs, one_of, word};
use super::unsupported::{Refused, UnsupportedOptions};
use crate::cli::answering::Notes;
use crate::cli::{Globals, environment, output};
use clap::Args;
use olive_core::{Result, shown};
use olive_kernels::quant::FloatType;
use olive_model::resolve;
use olive_verbs::convert::{Int4Options, Options, convert, extract};
use olive_verbs::{InputKind, OF_MODELS, TorchType, Unsupported, VerbError, WeightsFormat, ZeroPoint};

const FLOATS: &[TorchType] = &[TorchType::Float32, TorchType::Float16];

#[derive(Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct ConvertArgs {
    /// Folder of a PEFT adapter, what `olive finetune` wrote, or a hub id.
    #[arg(short = 'a', long, value_name = "FOLDER")]
    adapter_path: String,
    /// The file; the suffix of the format is added.
    #[arg(short = 'o', long, value_name = "FILE")]
    output_path: String,
    /// Format of the file.
    #[arg(long, default_value = "onnx_adapter", value_parser = word::<WeightsFormat>())]
    adapter_format: WeightsFormat,
    /// Type of float matrices, and of scales.
    #[arg(long, default_value = "float32", value_parser = super::arguments::word_of(FLOATS))]
    dtype: TorchType,
    /// Quantise the matrices to four bits.
    #[arg(long)]
    quantize_int4: bool,
    /// Weights per scale.
    #[arg(long, value_name = "N", default_value = "32", value_parser = one_of::<u16>(&["16", "32", "64", "128", "256"]))]
    int4_block_size: u16,
    /// Without zero points, or with them.
    #[arg(long, default_value = "symmetric", value_parser = word::<ZeroPoint>())]
    int4_quantization_mode: ZeroPoint,
    /// Accepted; nothing is logged.
    #[arg(long, hide = true, default_value = "3", value_parser = one_of::<u8>(&["0", "1", "2", "3", "4"]))]
    log_level: u8,
    /// Accepted; there is no telemetry.
    #[arg(long, hide = true)]
    disable_telemetry: bool,
}

impl ConvertArgs {
    pub(super) fn run(&self, globals: &Globals) -> Result<()> {
        let notes = Notes::new(globals);
        let adapter =
            resolve(&self.adapter_path, None, &environment::source_options(globals), &*notes.hub())?;
        let (block_size, zero_point) = (self.int4_block_size, self.int4_quantization_mode);
        let options = Options {
            output_path: self.output_path.clone(),
            format: self.adapter_format,
            float: if self.dtype == TorchType::Float16 { FloatType::F16 } else { FloatType::F32 },
            int4: self.quantize_int4.then_some(Int4Options { block_size, zero_point }),
        };
        let written = convert(&adapter, &options)?;
        output::result(&format!("output: {}", shown(&written)))
    }
}

#[derive(Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct ExtractArgs {
    #[command(flatten)]
    model: HuggingFaceModelArgs,
    /// Folder for the adapters.
    #[arg(short = 'o', long, value_name = "FOLDER", default_value = "adapters")]
    output_path: String,
    /// Format of their files.
    #[arg(short = 'f', long, value_parser = word::<WeightsFormat>())]
    format: WeightsFormat,
    /// Type of their matrices.
    #[arg(long, default_value = "float32", value_parser = super::arguments::word_of(FLOATS))]
    dtype: TorchType,
    /// Accepted; nothing is kept on the way.
    #[arg(long, hide = true)]
    cache_dir: Option<String>,
    /// Accepted; nothing is logged.
    #[arg(long, hide = true, default_value = "3", value_parser = one_of::<u8>(&["0", "1", "2", "3", "4"]))]
    log_level: u8,
    /// Accepted; there is no telemetry.
    #[arg(long, hide = true)]
    disable_telemetry: bool,
    #[command(flatten)]
    refused: Refused<OfExtract>,
}

struct OfExtract;

impl UnsupportedOptions for OfExtract {
    const OPTIONS: &'static [&'static [Unsupported]] = &[OF_MODELS];
}

impl ExtractArgs {
    pub(super) fn run(&self, globals: &Globals) -> Result<()> {
        self.refused.check()?;
        let input = self.model.find()?;
        input.require(&InputKind::HuggingFace, "extract-adapters", "a Hugging Face model")?;
        let notes = Notes::new(globals);
        let path =
            input.model_path().ok_or_else(|| VerbError::NothingToExtract { given: input.given.clone() })?;
        let model = resolve(path, None, &environment::source_options(globals), &*notes.hub())?;
        extract(&input.given, &model, self.format)
    }
}
