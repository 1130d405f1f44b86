//! The pass `ExtractAdapters`.

use super::graph_pass::{EXTERNAL_DATA, GraphEdit, GraphPass, tell};
use super::pass::{Pass, RunContext};
use olive_config::option::{BOOL, Block, Kind};
use olive_config::{Findings, PASS, PassDefinition, Values, choice, options};
use olive_core::Result;
use olive_core::handle::ModelKind;
use olive_onnx::adapter_file;
use olive_onnx::edit::{ExtractOptions, GraphFile, Matrices, Missing, Rank, extract_adapters};
use olive_onnx::weights_file::WeightsFormat;
use serde::{Deserialize, Serialize};
use std::path::Path;

const FORMATS: Kind = Kind::Choice(&["onnx_adapter", "safetensors", "numpy", "pt"]);

options! {
    #[derive(Debug, Clone, Serialize)]
    pub struct ExtractAdaptersOptions {
        EXTRACT {
            /// What the adapter is of: `lora`.
            pub adapter_type: AdapterType, default("\"lora\"");
            /// Its matrices become inputs of the graph; else the graph reads them from the adapter's file.
            pub make_inputs: bool, default("true");
            /// Inputs take matrices of any rank, where those in the graph are of floats.
            pub dynamic_lora_r: bool, default("true");
            /// Inputs may be left out: then there is no adapter.
            pub optional_inputs: bool, default("true");
            /// Join the matrices of a layer (up to Olive 0.7).
            - "pack_inputs" = BOOL, ignored_unless("false", "every matrix is an input of its own");
            /// Format of the adapter's file, adapter_weights with the ending of it; `pt` is refused.
            pub save_format: Format = FORMATS, default("\"onnx_adapter\"") => format;
        }
    }
}

/// `adapter_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterType {
    Lora,
    Dora,
    Loha,
}

choice!(AdapterType: "lora", "dora", "loha");

/// `save_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Format(pub WeightsFormat);

fn format(setting: &olive_config::Setting) -> Option<Format> {
    serde_json::from_value(setting.json.clone()).ok().map(Format)
}

static BLOCK: Block = Block {
    name: "ExtractAdapters",
    doc: "Takes the matrices of LoRA adapters out of a graph into a file of their own.",
    wrapper: Some("config"),
    outer: PASS,
    parts: &[EXTRACT, EXTERNAL_DATA],
    open: None,
};

pub static EXTRACT_ADAPTERS: PassDefinition<dyn Pass> = PassDefinition {
    block: &BLOCK,
    page: "graph-passes.md",
    example: "\"extract\": {\"type\": \"ExtractAdapters\", \"save_format\": \"safetensors\"}",
    gives: ModelKind::Onnx,
    read: |_, values, _, findings| {
        let options = ExtractAdaptersOptions::read(&values)?;
        let edit = edit(&options, &values, findings)?;
        Some(GraphPass::read(BLOCK.name, EXTRACT, &values, options, edit))
    },
};

/// `None`: it asks for what is not there, and that was said.
fn edit(
    options: &ExtractAdaptersOptions,
    values: &Values,
    findings: &mut Findings,
) -> Option<ExtractOptions> {
    if options.adapter_type != AdapterType::Lora {
        let word = values.text("adapter_type").unwrap_or_default();
        let message = format!("adapters of `{word}` do not stay apart from a graph");
        values.refuse("adapter_type", message, "`lora` is the one that can".into(), findings);
        return None;
    }
    if options.save_format.0 == WeightsFormat::Pickle {
        let message = "`pt` is a pickle, which runs code where it is read";
        values.refuse("save_format", message, "`onnx_adapter`, `safetensors` or `numpy`".into(), findings);
        return None;
    }
    let matrices = match options.make_inputs {
        false => Matrices::External,
        true => Matrices::Inputs {
            rank: if options.dynamic_lora_r { Rank::Any } else { Rank::Fixed },
            missing: if options.optional_inputs { Missing::None } else { Missing::Refused },
        },
    };
    Some(ExtractOptions { format: options.save_format.0, matrices })
}

impl GraphEdit for ExtractOptions {
    fn edit(&self, file: &mut GraphFile, dir: &Path, context: &RunContext) -> Result<()> {
        tell(extract_adapters(file, *self, dir)?, context);
        Ok(())
    }

    fn replaces(&self, companion: &str) -> bool {
        companion == adapter_file::FILE
    }

    fn wants_adapter_apart(&self) -> bool {
        true
    }
}
