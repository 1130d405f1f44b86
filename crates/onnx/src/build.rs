//! From a model folder to an ONNX folder.

use super::adapter;
use super::calibration::{self, Calibration, QuantisationReport};
use super::data_file::ChosenCodes;
use super::decoder::Decoder;
use super::genai_config::{self, Interface};
use super::options::BuildOptions;
use super::proto::{ModelProto, OperatorSetId};
use super::side_files::{self, SpecialTokens};
use olive_arch::Spec;
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use olive_core::{Result, error::IoContext};
use olive_model::{Adapter, ModelFolder, WeightSource};
use prost::Message;
use std::fs::File;
use std::io::Write;
use std::path::Path;

pub(crate) const GENAI_CONFIG: &str = "genai_config.json";

/// The weights of a model.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    pub source: &'a dyn WeightSource,
    /// An adapter that `source` does not have in it: it goes into a file of its own, `adapter_weights.onnx_adapter`.
    pub adapter: Option<&'a Adapter>,
}

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
    let tokens = SpecialTokens::read(folder)?;
    let interface = Interface {
        filename: options.file_name().to_owned(),
        position_ids: options.rotates_outside(),
        share_buffer: true,
    };
    let genai_config = genai_config::text(folder, &spec, options, &tokens, &interface)?;
    let data_file = format!("{}.data", interface.filename);
    let source = weights.source;
    let (graph, mut data, parameters) = Decoder::new(&spec, options, weights).build()?;
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
    };
    write_synced(&dir.join(&interface.filename), &model.encode_to_vec())?;
    drop(model);
    data.write(&dir.join(&data_file), source, &chosen, cancel, events)?;
    if weights.adapter.is_some() {
        adapter::write(&parameters, dir)?;
    }
    write_synced(&dir.join(GENAI_CONFIG), genai_config.as_bytes())?;
    side_files::copy(folder, spec.context_length, dir)
}

fn opset(domain: &str, version: i64) -> OperatorSetId {
    OperatorSetId { domain: Some(domain.to_owned()), version }
}

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(path).at("create", path)?;
    file.write_all(bytes).at("write", path)?;
    file.sync_all().at("sync", path)
}
