//! From a model folder to an ONNX folder.

use super::calibration::{self, Calibration, QuantisationReport};
use super::data_file::ChosenCodes;
use super::decoder_graph::DecoderGraph;
use super::genai_config::{self, GENAI_CONFIG, Interface};
use super::options::BuildOptions;
use super::proto::{ModelProto, OperatorSetId};
use super::separate_adapter;
use super::side_files::{self, GenaiTokens};
use super::synced_file::write_synced;
use super::weights::Weights;
use olive_arch::Spec;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use olive_model::ModelFolder;
use prost::Message;
use std::path::Path;

/// Writes `model.onnx`, `model.onnx.data` (or what the options call them), `genai_config.json` and what belongs to them
/// into `dir`. `weights` are those of the model that `folder` describes. With a calibration the codes of its int4
/// or int8 weights are chosen by its data, and `quantisation_report.json` says what quantisation costs.
///
/// # Errors
/// Whatever the model lacks or ONNX Runtime cannot run, a file that cannot be written, an interruption.
pub fn build(
    folder: &ModelFolder,
    weights: Weights,
    options: &BuildOptions,
    calibration: Option<Calibration>,
    dir: &Path,
    cancel: &CancelFlag,
    events: &dyn EventSink,
) -> Result<()> {
    let spec = folder.spec()?;
    let tokens = GenaiTokens::read(folder)?;
    let interface = Interface {
        filename: options.file_name().to_owned(),
        position_ids: options.rotates_outside(),
        share_buffer: true,
    };
    let genai_config = genai_config::text(folder, &spec, options, &tokens, &interface)?;
    let data_file = format!("{}.data", interface.filename);
    let source = weights.source;
    let (graph, mut data, parameters) = DecoderGraph::new(&spec, options, weights).build()?;
    cancel.check()?;
    let chosen = match calibration {
        None => ChosenCodes::new(),
        Some(calibration) => {
            let formats = data.block_formats();
            let shared = formats.contains_key(Spec::EMBEDDING) && !data.has_float(Spec::EMBEDDING);
            let (chosen, report) =
                calibration::choose(calibration, source, &formats, shared, cancel, events)?;
            let text = serde_json::to_string_pretty(&report).expect("plain data") + "\n";
            write_synced(&dir.join(QuantisationReport::NAME), text.as_bytes())?;
            chosen
        }
    };

    let model = ModelProto {
        ir_version: 10,
        producer_name: "olive".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph.finish("main_graph", data.layout(&data_file))),
        opset_import: vec![opset("", 22), opset("com.microsoft", 1)],
        ..ModelProto::default()
    };
    write_synced(&dir.join(&interface.filename), &model.encode_to_vec())?;
    drop(model);
    data.write(&dir.join(&data_file), source, &chosen, cancel, events)?;
    if weights.adapter.is_some() {
        separate_adapter::write(&parameters, dir)?;
    }
    write_synced(&dir.join(GENAI_CONFIG), genai_config.as_bytes())?;
    side_files::copy(folder, spec.context_length, dir)
}

fn opset(domain: &str, version: i64) -> OperatorSetId {
    OperatorSetId { domain: Some(domain.to_owned()), version }
}
