//! The pass `OnnxMatMul4Quantizer` of files up to Olive 0.9: by its algorithm it is one of the passes of today.

use super::graph_pass::{EXTERNAL_DATA, GraphEdit, GraphPass, tell};
use super::onnx_quantisers::{BLOCK_SIZES, LEVELS, operators};
use super::pass::{Pass, RunContext};
use olive_config::option::{Block, Kind, TEXTS};
use olive_config::{Findings, PASS, PassDefinition, Values, choice, options};
use olive_core::Result;
use olive_core::event::Event;
use olive_core::handle::ModelKind;
use olive_onnx::edit::{GraphFile, Method, WeightOptions, Width, quantise_weights};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::path::Path;

options! {
    #[derive(Debug, Clone, Serialize)]
    pub struct OnnxMatMul4Options {
        MATMUL4 {
            /// Elements that share a scale.
            pub block_size: usize = BLOCK_SIZES, default("32"), searchable();
            /// No zero points.
            pub is_symmetric: bool, default("true"), searchable();
            /// Type of the activations inside the product: 1 f32, 2 f16, 3 bf16, 4 int8; null leaves the kernel its choice.
            pub accuracy_level: Option<u8> = LEVELS;
            /// Null and `DEFAULT` are the rounding of OnnxBlockWiseRtnQuantization, `HQQ` is OnnxHqqQuantization, `RTN` the
            /// rounding of Intel's compressor; `GPTQ` is refused.
            pub algorithm: Option<OldAlgorithm>, searchable();
            /// Options of the algorithm, which win: `block_size`, `is_symmetric`, `bits`, `accuracy_level`.
            pub weight_only_quant_configs: Map<String, Json>;
            /// Nodes that stay float, by their exact names.
            pub nodes_to_exclude: Vec<String> = TEXTS, default("[]");
            /// Only these nodes, by their exact names; null: all.
            pub nodes_to_include: Option<Vec<String>> = TEXTS;
            /// Operators whose matrices become codes: `MatMul`, and `Gather` where the algorithm is the default.
            pub op_types_to_quantize: Option<Vec<String>> = TEXTS;
            /// The axis of a block by operator; here it always is that of the sums.
            - "quant_axes" = Kind::Any, quiet();
        }
    }
}

/// `algorithm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OldAlgorithm {
    Default,
    Hqq,
    Rtn,
    Gptq,
}

choice!(OldAlgorithm: "DEFAULT", "HQQ", "RTN", "GPTQ");

static BLOCK: Block = Block {
    name: "OnnxMatMul4Quantizer",
    doc: "Quantises the weights of a float graph to 4 bits. Up to Olive 0.9; today it has a pass for each algorithm.",
    wrapper: Some("config"),
    outer: PASS,
    parts: &[MATMUL4, EXTERNAL_DATA],
    open: None,
};

pub static ONNX_MATMUL4: PassDefinition<dyn Pass> = PassDefinition {
    block: &BLOCK,
    page: "graph-passes.md",
    example: "\"quantise\": {\"type\": \"OnnxMatMul4Quantizer\", \"block_size\": 32}",
    gives: ModelKind::Onnx,
    read: |_, values, _, findings| {
        let options = OnnxMatMul4Options::read(&values)?;
        let edit = edit(&options, &values, findings)?;
        Some(GraphPass::read(BLOCK.name, MATMUL4, &values, options, edit))
    },
};

/// What the pass became.
#[derive(Debug)]
struct Became {
    weights: WeightOptions,
    name: &'static str,
}

/// What `weight_only_quant_configs` may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    block_size: Option<usize>,
    is_symmetric: Option<bool>,
    bits: Option<u8>,
    accuracy_level: Option<u8>,
    /// Always that of the sums.
    #[serde(rename = "axis")]
    _axis: Option<Json>,
    /// Of no counterpart, unless it is empty.
    #[serde(default)]
    ratios: Map<String, Json>,
}

/// `None`: it asks for what is not there, and that was said.
fn edit(options: &OnnxMatMul4Options, values: &Values, findings: &mut Findings) -> Option<Became> {
    let own: Own = match serde_json::from_value(Json::Object(options.weight_only_quant_configs.clone())) {
        Ok(own) if fits(&own) => own,
        _ => {
            let message = "these options of the algorithm have no counterpart";
            let hint = "`block_size`, `is_symmetric`, `bits` (4, or 8 where the algorithm rounds) and `accuracy_level` have one";
            values.refuse("weight_only_quant_configs", message, hint.into(), findings);
            return None;
        }
    };
    let symmetric = own.is_symmetric.unwrap_or(options.is_symmetric);
    let (method, name) = match options.algorithm {
        None | Some(OldAlgorithm::Default) => (Method::Rtn { symmetric }, "OnnxBlockWiseRtnQuantization"),
        Some(OldAlgorithm::Rtn) => {
            (Method::CompressorRtn { symmetric }, "the rounding of ModelBuilder's `rtn`")
        }
        Some(OldAlgorithm::Hqq) => (Method::Hqq, "OnnxHqqQuantization"),
        Some(OldAlgorithm::Gptq) => {
            let hint =
                "write {\"type\": \"Gptq\", \"bits\": 4, \"data_config\": …} before ModelBuilder instead";
            let message = "GPTQ is not done on graphs";
            values.refuse("algorithm", message, hint.into(), findings);
            return None;
        }
    };
    let operators = options.op_types_to_quantize.clone().unwrap_or_else(|| operators(&["MatMul"]));
    let possible: &[&str] =
        if matches!(method, Method::Rtn { .. }) { &["MatMul", "Gather"] } else { &["MatMul"] };
    if let Some(other) = operators.iter().find(|operator| !possible.contains(&operator.as_str())) {
        let message = format!("`{other}` cannot become codes with this algorithm");
        values.refuse(
            "op_types_to_quantize",
            message,
            format!("possible: {}", possible.join(", ")),
            findings,
        );
        return None;
    }
    let width =
        Width { bits: own.bits.unwrap_or(4), block_size: own.block_size.unwrap_or(options.block_size) };
    let weights = WeightOptions {
        method,
        operators,
        width,
        widths: BTreeMap::new(),
        accuracy_level: own.accuracy_level.or(options.accuracy_level).unwrap_or(0).into(),
        nodes_to_exclude: options.nodes_to_exclude.clone(),
        nodes_to_include: options.nodes_to_include.clone(),
    };
    if method == Method::Hqq && width.bits != 4 {
        values.refuse("weight_only_quant_configs", "HQQ has 4 bits", "leave `bits` out".into(), findings);
        return None;
    }
    Some(Became { weights, name })
}

fn fits(own: &Own) -> bool {
    own.ratios.is_empty()
        && own.bits.is_none_or(|bits| [4, 8].contains(&bits))
        && own.block_size.is_none_or(|size| size.is_power_of_two() && (16..=256).contains(&size))
        && own.accuracy_level.is_none_or(|level| level <= 4)
}

impl GraphEdit for Became {
    fn edit(&self, file: &mut GraphFile, _dir: &Path, context: &RunContext) -> Result<()> {
        let Width { bits, block_size } = self.weights.width;
        let message = format!(
            "OnnxMatMul4Quantizer is {} here, with {bits} bits and blocks of {block_size}",
            self.name
        );
        context.events.emit(Event::Info { message });
        tell(quantise_weights(file, &self.weights)?, context);
        Ok(())
    }
}
