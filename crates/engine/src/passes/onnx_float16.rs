//! The pass `OnnxFloatToFloat16`.

use super::graph_pass::{EXTERNAL_DATA, GraphEdit, GraphPass, tell};
use super::pass::{Pass, RunContext};
use olive_config::option::{BOOL, Block, Bounds as Interval, Kind, Misfit, MisfitPlace, Special, TEXTS};
use olive_config::{Findings, OptionValue, PASS, PassDefinition, Setting, Values, options};
use olive_core::Result;
use olive_core::handle::ModelKind;
use olive_onnx::edit::{
    BLOCKED, Bounds, Choice, Float16Options, GraphFile, KeptTypes, adapter_to_float16, float_to_float16,
};
use serde::Serialize;
use serde_json::{Value as Json, json};
use std::path::Path;

/// From the smallest number that f16 has on.
const LEAST: Kind = Kind::Number(Interval { min: 5.96e-8, min_included: true, max: 1.0, max_included: true });
/// Up to the largest.
const MOST: Kind = Kind::Number(Interval { min: 1.0, min_included: true, max: 65504.0, max_included: true });

options! {
    #[derive(Debug, Clone, Serialize)]
    pub struct OnnxFloat16Options {
        FLOAT16 {
            /// Weights and constants that are nearer to zero become this, with their sign; zero stays.
            pub min_positive_val: f64 = LEAST, default("1e-7");
            /// Larger ones become this; infinity stays.
            pub max_finite_val: f64 = MOST, default("10000.0");
            /// Inputs and outputs of the graph that stay f32: all (true), none, or those of these names.
            pub keep_io_types: KeepIoTypes, default("false");
            /// How types are found out; here by what each node does.
            - "use_symbolic_shape_infer" = BOOL, quiet();
            /// Operators that stay f32; null: those that ONNX Runtime's converter leaves out, as `Range` and `TopK`.
            pub op_block_list: Option<Vec<String>> = TEXTS;
            /// Only these operators become f16.
            pub op_include_list: Option<Vec<String>> = TEXTS;
            /// Nodes that stay f32, by their exact names.
            pub node_block_list: Option<Vec<String>> = TEXTS;
            /// Only these nodes become f16, by their exact names.
            pub node_include_list: Option<Vec<String>> = TEXTS;
        }
    }
}

/// `keep_io_types`: all or none, or names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum KeepIoTypes {
    All(bool),
    Named(Vec<String>),
}

static KEEP: Special = Special {
    value: "true, false or a list of names",
    schema: || json!({"anyOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "string"}}]}),
    check: |node| match keep_io_types(&node.to_json()) {
        Some(_) => Ok(()),
        None => Err(Misfit {
            message: "expected true, false or a list of names".into(),
            hint: Some("for example [\"logits\"]".into()),
            place: MisfitPlace::Value,
        }),
    },
};

impl OptionValue for KeepIoTypes {
    const KIND: Kind = Kind::Special(&KEEP);

    fn read(setting: &Setting) -> Option<KeepIoTypes> {
        keep_io_types(&setting.json)
    }
}

fn keep_io_types(json: &Json) -> Option<KeepIoTypes> {
    match json {
        Json::Null => Some(KeepIoTypes::All(false)),
        Json::Bool(all) => Some(KeepIoTypes::All(*all)),
        Json::Array(names) => {
            let names = names.iter().map(|name| name.as_str().map(str::to_owned));
            names.collect::<Option<_>>().map(KeepIoTypes::Named)
        }
        _ => None,
    }
}

static BLOCK: Block = Block {
    name: "OnnxFloatToFloat16",
    doc: "Brings a float32 graph to half precision.",
    wrapper: Some("config"),
    outer: PASS,
    parts: &[FLOAT16, EXTERNAL_DATA],
    open: None,
};

pub static ONNX_FLOAT16: PassDefinition<dyn Pass> = PassDefinition {
    block: &BLOCK,
    page: "graph-passes.md",
    example: "\"half\": {\"type\": \"OnnxFloatToFloat16\", \"keep_io_types\": [\"logits\"]}",
    gives: ModelKind::Onnx,
    read: |_, values, _, findings| {
        let options = OnnxFloat16Options::read(&values)?;
        let edit = edit(&options, &values, findings)?;
        Some(GraphPass::read(BLOCK.name, FLOAT16, &values, options, edit))
    },
};

/// `None`: two options exclude each other, and that was said.
fn edit(options: &OnnxFloat16Options, values: &Values, findings: &mut Findings) -> Option<Float16Options> {
    let mut choice = |[blocked, included]: [&'static str; 2],
                      block: &Option<Vec<String>>,
                      include: &Option<Vec<String>>,
                      usual: &[&str]| {
        let include = include.as_ref().filter(|names| !names.is_empty());
        match (block, include) {
            (Some(_), Some(_)) => {
                let message = format!("`{included}` and `{blocked}` exclude each other");
                values.error(included, message, Some("leave out one of them".into()), findings);
                None
            }
            (Some(block), None) => Some(Choice::Blocked(block.clone())),
            (None, Some(include)) => Some(Choice::Included(include.clone())),
            (None, None) => Some(Choice::Blocked(usual.iter().map(ToString::to_string).collect())),
        }
    };
    let ops = choice(
        ["op_block_list", "op_include_list"],
        &options.op_block_list,
        &options.op_include_list,
        BLOCKED,
    )?;
    let nodes = choice(
        ["node_block_list", "node_include_list"],
        &options.node_block_list,
        &options.node_include_list,
        &[],
    )?;
    Some(Float16Options {
        bounds: Bounds { least: options.min_positive_val as f32, most: options.max_finite_val as f32 },
        kept: match &options.keep_io_types {
            KeepIoTypes::All(false) => KeptTypes::None,
            KeepIoTypes::All(true) => KeptTypes::All,
            KeepIoTypes::Named(names) => KeptTypes::Named(names.clone()),
        },
        ops,
        nodes,
    })
}

impl GraphEdit for Float16Options {
    fn edit(&self, file: &mut GraphFile, dir: &Path, context: &RunContext) -> Result<()> {
        tell(float_to_float16(file, self)?, context);
        adapter_to_float16(file, self.bounds, dir)
    }
}
