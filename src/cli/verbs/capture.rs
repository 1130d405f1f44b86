//! `olive capture-onnx-graph`.

use super::arguments::{AdaptedModelArgs, RunningArgs, SharedCacheArgs, one_of, truth, word_of};
use super::carry_out::carry_out;
use super::unsupported::{Refused, UnsupportedOptions};
use crate::cli::Globals;
use clap::{ArgAction, Args};
use olive_core::Result;
use olive_verbs::capture::{Options, PRECISIONS, UNSUPPORTED, draft};
use olive_verbs::{Device, OF_MODELS, Precision, Unsupported};

#[derive(Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct CaptureArgs {
    #[command(flatten)]
    model: AdaptedModelArgs,
    /// Folder for the result.
    #[arg(short = 'o', long, value_name = "FOLDER", default_value = "onnx-model")]
    output_path: String,
    /// The device that the model is for.
    #[arg(long, default_value = "cpu", value_parser = word_of(&[Device::Cpu, Device::Gpu]))]
    conversion_device: Device,
    /// Make the graph with ModelBuilder; PyTorch's exporters are not there.
    #[arg(long)]
    use_model_builder: bool,
    /// Type of the weights.
    #[arg(long, default_value = "fp16", value_parser = word_of(PRECISIONS))]
    precision: Precision,
    /// Weights per scale.
    #[arg(long, value_name = "N", value_parser = one_of::<u16>(&["16", "32", "64", "128", "256"]))]
    int4_block_size: Option<u16>,
    /// Type of activations in the kernel: 1 float32, 2 float16, 3 bfloat16, 4 int8.
    #[arg(long, value_name = "LEVEL", value_parser = one_of::<u8>(&["0", "1", "2", "3", "4"]))]
    int4_accuracy_level: Option<u8>,
    /// Take `inputs_embeds` instead of `input_ids`.
    #[arg(long, value_name = "BOOL", default_value = "false", value_parser = truth, action = ArgAction::Set)]
    exclude_embeds: bool,
    /// Give `hidden_states` instead of `logits`.
    #[arg(long, value_name = "BOOL", default_value = "false", value_parser = truth, action = ArgAction::Set)]
    exclude_lm_head: bool,
    /// Let the session capture CUDA graphs.
    #[arg(long, value_name = "BOOL", value_parser = truth, action = ArgAction::Set)]
    enable_cuda_graph: Option<bool>,
    /// Options of ModelBuilder: `int4_is_symmetric=true,int4_op_types_to_quantize=MatMul/Gather`.
    #[arg(long, value_name = "KEY=VALUE,…")]
    extra_mb_options: Option<String>,
    /// Accepted; the result is always one for onnxruntime-genai.
    #[arg(long, hide = true)]
    use_ort_genai: bool,
    #[command(flatten)]
    cache: SharedCacheArgs,
    #[command(flatten)]
    refused: Refused<OfCapture>,
    #[command(flatten)]
    running: RunningArgs,
}

struct OfCapture;

impl UnsupportedOptions for OfCapture {
    const OPTIONS: &'static [&'static [Unsupported]] = &[UNSUPPORTED, OF_MODELS];
}

impl CaptureArgs {
    pub(super) fn run(&self, globals: &Globals) -> Result<()> {
        self.refused.check()?;
        let input = self.model.find()?;
        let options = Options {
            output: self.running.output(&self.output_path, Some(&self.cache)),
            device: self.conversion_device,
            use_model_builder: self.use_model_builder,
            precision: self.precision,
            int4_block_size: self.int4_block_size,
            int4_accuracy_level: self.int4_accuracy_level,
            exclude_embeds: self.exclude_embeds,
            exclude_lm_head: self.exclude_lm_head,
            enable_cuda_graph: self.enable_cuda_graph,
            extra_mb_options: self.extra_mb_options.clone(),
        };
        carry_out(&draft(&options, &input)?, &options.output, &self.running, globals)
    }
}
