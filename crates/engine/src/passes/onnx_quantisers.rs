//! The passes that quantise the weights of a float graph: `OnnxKQuantQuantization`, `OnnxBlockWiseRtnQuantization`,
//! `OnnxHqqQuantization`.

use super::graph_pass::{EXTERNAL_DATA, GraphEdit, GraphPass, tell};
use super::pass::{Pass, RunContext};
use olive_config::option::{Block, INT, Kind, TEXTS};
use olive_config::{Findings, PASS, PassDefinition, Values, options};
use olive_core::Result;
use olive_core::handle::ModelKind;
use olive_onnx::edit::{GraphFile, Method, WeightOptions, Width, quantise_weights};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::path::Path;

const BITS: Kind = Kind::IntChoice(&[4, 8]);
pub(super) const BLOCK_SIZES: Kind = Kind::IntChoice(&[16, 32, 64, 128, 256]);
pub(super) const LEVELS: Kind = Kind::IntChoice(&[0, 1, 2, 3, 4]);

options! {
    #[derive(Debug, Clone, Serialize)]
    pub struct OnnxKQuantOptions {
        KQUANT_OPTIONS {
            /// Bits of a weight.
            pub bits: u8 = BITS, default("4"), searchable();
            /// Elements that share a scale.
            pub block_size: usize = BLOCK_SIZES, default("32"), searchable();
            /// Type of the activations inside the product: 1 f32, 2 f16, 3 bf16, 4 int8; 0 leaves the kernel its choice.
            pub accuracy_level: u8 = LEVELS, default("0"), searchable();
            /// Nodes that stay float, by their exact names.
            pub nodes_to_exclude: Vec<String> = TEXTS, default("[]");
            /// Other widths for single nodes: `{"/lm_head/MatMul": {"bits": 8, "group_size": 32}}`.
            pub customized_weight_config: Map<String, Json>;
        }
    }
}

options! {
    #[derive(Debug, Clone, Serialize)]
    pub struct OnnxRtnOptions {
        RTN_OPTIONS {
            /// Bits of a weight.
            pub bits: u8 = BITS, default("4"), searchable();
            /// Elements that share a scale.
            pub block_size: usize = BLOCK_SIZES, default("128"), searchable();
            /// No zero points.
            pub is_symmetric: bool, default("true"), searchable();
            /// The axis of a block; here it always is that of the sums.
            - "axis" = INT, quiet();
            /// Type of the activations inside the product: 1 f32, 2 f16, 3 bf16, 4 int8; 0 leaves the kernel its choice.
            pub accuracy_level: u8 = LEVELS, default("0"), searchable();
            /// Nodes that stay float, by their exact names.
            pub nodes_to_exclude: Vec<String> = TEXTS, default("[]");
            /// Only these nodes, by their exact names; null: all.
            pub nodes_to_include: Option<Vec<String>> = TEXTS;
        }
    }
}

options! {
    #[derive(Debug, Clone, Serialize)]
    pub struct OnnxHqqOptions {
        HQQ_OPTIONS {
            /// Elements that share a scale.
            pub block_size: usize = BLOCK_SIZES, default("128"), searchable();
            /// The axis of a block; here it always is that of the sums.
            - "axis" = INT, quiet();
            /// Type of the activations inside the product: 1 f32, 2 f16, 3 bf16, 4 int8; 0 leaves the kernel its choice.
            pub accuracy_level: u8 = LEVELS, default("0"), searchable();
            /// Nodes that stay float, by their exact names.
            pub nodes_to_exclude: Vec<String> = TEXTS, default("[]");
            /// Only these nodes, by their exact names; null: all.
            pub nodes_to_include: Option<Vec<String>> = TEXTS;
        }
    }
}

/// What `customized_weight_config` says of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Custom {
    bits: Option<u8>,
    group_size: Option<usize>,
}

macro_rules! quantiser {
    ($block:ident, $definition:ident, $name:literal, $doc:literal, $options:ident, $parts:ident, $weights:expr) => {
        static $block: Block = Block {
            name: $name,
            doc: $doc,
            wrapper: Some("config"),
            outer: PASS,
            parts: &[$parts, EXTERNAL_DATA],
            open: None,
        };

        pub static $definition: PassDefinition<dyn Pass> = PassDefinition {
            block: &$block,
            page: "graph-passes.md",
            example: concat!("\"quantise\": {\"type\": \"", $name, "\"}"),
            gives: ModelKind::Onnx,
            read: |_, values, _, findings| {
                let options = $options::read(&values)?;
                let weights = $weights(&options, &values, findings)?;
                Some(GraphPass::read($name, $parts, &values, options, weights))
            },
        };
    };
}

quantiser!(
    KQUANT_BLOCK,
    ONNX_KQUANT,
    "OnnxKQuantQuantization",
    "Quantises the weights of a float graph by weighted least squares.",
    OnnxKQuantOptions,
    KQUANT_OPTIONS,
    kquant
);
quantiser!(
    RTN_BLOCK,
    ONNX_RTN,
    "OnnxBlockWiseRtnQuantization",
    "Quantises the weights of a float graph, and its embedding, by rounding.",
    OnnxRtnOptions,
    RTN_OPTIONS,
    rtn
);
quantiser!(
    HQQ_BLOCK,
    ONNX_HQQ,
    "OnnxHqqQuantization",
    "Quantises the weights of a float graph to 4 bits, with zero points in float.",
    OnnxHqqOptions,
    HQQ_OPTIONS,
    hqq
);

fn kquant(options: &OnnxKQuantOptions, values: &Values, findings: &mut Findings) -> Option<WeightOptions> {
    let width = Width { bits: options.bits, block_size: options.block_size };
    let mut widths = BTreeMap::new();
    for (node, custom) in &options.customized_weight_config {
        let read = serde_json::from_value::<Custom>(custom.clone()).ok();
        let own = read.map(|own| Width {
            bits: own.bits.unwrap_or(width.bits),
            block_size: own.group_size.unwrap_or(width.block_size),
        });
        let possible = |own: &Width| {
            [4, 8].contains(&own.bits) && own.block_size.is_power_of_two() && own.block_size >= 16
        };
        match own.filter(possible) {
            Some(own) => drop(widths.insert(node.clone(), own)),
            None => {
                let message = format!("`{node}` has no width that there is");
                let hint =
                    "for example {\"bits\": 8, \"group_size\": 32}: 4 or 8 bits, a power of two from 16 on"
                        .to_owned();
                values.error("customized_weight_config", message, Some(hint), findings);
                return None;
            }
        }
    }
    let nodes_to_exclude = options.nodes_to_exclude.clone();
    let accuracy_level = i64::from(options.accuracy_level);
    Some(WeightOptions {
        method: Method::KQuant,
        operators: operators(&["MatMul"]),
        width,
        widths,
        accuracy_level,
        nodes_to_exclude,
        nodes_to_include: None,
    })
}

pub(super) fn operators(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn rtn(options: &OnnxRtnOptions, _: &Values, _: &mut Findings) -> Option<WeightOptions> {
    Some(WeightOptions {
        method: Method::Rtn { symmetric: options.is_symmetric },
        operators: operators(&["MatMul", "Gather"]),
        width: Width { bits: options.bits, block_size: options.block_size },
        widths: BTreeMap::new(),
        accuracy_level: i64::from(options.accuracy_level),
        nodes_to_exclude: options.nodes_to_exclude.clone(),
        nodes_to_include: options.nodes_to_include.clone(),
    })
}

fn hqq(options: &OnnxHqqOptions, _: &Values, _: &mut Findings) -> Option<WeightOptions> {
    Some(WeightOptions {
        method: Method::Hqq,
        operators: operators(&["MatMul"]),
        width: Width { bits: 4, block_size: options.block_size },
        widths: BTreeMap::new(),
        accuracy_level: i64::from(options.accuracy_level),
        nodes_to_exclude: options.nodes_to_exclude.clone(),
        nodes_to_include: options.nodes_to_include.clone(),
    })
}

impl GraphEdit for WeightOptions {
    fn edit(&self, file: &mut GraphFile, _dir: &Path, context: &RunContext) -> Result<()> {
        tell(quantise_weights(file, self)?, context);
        Ok(())
    }
}
