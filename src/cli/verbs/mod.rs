//! Olive's verbs: options of the command line, and what becomes of the configuration that `olive_verbs` makes of them.

mod adapters;
mod arguments;
mod auto_opt;
mod capture;
mod carry_out;
mod finetune;
mod generate_adapter;
mod optimize;
mod quantize;
mod run_pass;
mod target;
mod training;
mod unserved;
mod unsupported;

pub(crate) use unsupported::{Refused, UnsupportedOptions};

use super::Globals;
use clap::Subcommand;
use olive_core::Result;

#[derive(Subcommand)]
pub(crate) enum OliveVerb {
    /// Train a LoRA or QLoRA adapter on rows of text.
    Finetune(finetune::FinetuneArgs),
    /// Quantise the weights of a model.
    Quantize(quantize::QuantizeArgs),
    /// Make an ONNX model for a provider and a precision.
    Optimize(optimize::OptimizeArgs),
    /// Make an ONNX model (deprecated: `optimize`).
    AutoOpt(auto_opt::AutoOptArgs),
    /// Make an ONNX model with ModelBuilder.
    CaptureOnnxGraph(capture::CaptureArgs),
    /// Make the adapters in an ONNX model inputs of it.
    GenerateAdapter(generate_adapter::GenerateAdapterArgs),
    /// Write a PEFT adapter as a file for ONNX models.
    ConvertAdapters(adapters::ConvertArgs),
    /// Take LoRA adapters out of the weights of a model.
    ExtractAdapters(adapters::ExtractArgs),
    /// Run one pass, with its options as JSON.
    RunPass(run_pass::RunPassArgs),
    #[command(flatten)]
    Unserved(unserved::UnservedVerb),
}

pub(crate) fn run(verb: &OliveVerb, globals: &Globals) -> Result<()> {
    match verb {
        OliveVerb::Finetune(args) => args.run(globals),
        OliveVerb::Quantize(args) => args.run(globals),
        OliveVerb::Optimize(args) => args.run(globals),
        OliveVerb::AutoOpt(args) => args.run(globals),
        OliveVerb::CaptureOnnxGraph(args) => args.run(globals),
        OliveVerb::GenerateAdapter(args) => args.run(globals),
        OliveVerb::ConvertAdapters(args) => args.run(globals),
        OliveVerb::ExtractAdapters(args) => args.run(globals),
        OliveVerb::RunPass(args) => args.run(globals),
        OliveVerb::Unserved(verb) => verb.refuse(),
    }
}
