//! The pass `MatMulNBitsToQDQ`.

use super::graph_pass::{EXTERNAL_DATA, GraphEdit, GraphPass, tell};
use super::pass::{Pass, RunContext};
use olive_config::option::{Block, TEXTS};
use olive_config::{PASS, PassDefinition, options};
use olive_core::Result;
use olive_core::handle::ModelKind;
use olive_onnx::edit::{GraphFile, QdqOptions, SignedCodes, matmul_nbits_to_qdq};
use serde::Serialize;
use std::path::Path;

options! {
    #[derive(Debug, Clone, Serialize)]
    pub struct MatMulNBitsToQdqOptions {
        QDQ {
            /// Keep the weights as they lie, and transpose them in the graph.
            pub use_transpose_op: bool, default("false");
            /// Signed 4-bit codes.
            pub use_int4: bool, default("false");
            /// Signed codes of any width.
            pub use_signed_int: bool, default("false");
            /// Write zero points also where all are zero.
            pub add_zero_point: bool, default("false");
            /// Nodes that stay, by their exact names.
            pub nodes_to_exclude: Vec<String> = TEXTS, default("[]");
        }
    }
}

static BLOCK: Block = Block {
    name: "MatMulNBitsToQDQ",
    doc: "Makes DequantizeLinear and MatMul of MatMulNBits, for runtimes without that operator.",
    wrapper: Some("config"),
    outer: PASS,
    parts: &[QDQ, EXTERNAL_DATA],
    open: None,
};

pub static MATMUL_NBITS_TO_QDQ: PassDefinition<dyn Pass> = PassDefinition {
    block: &BLOCK,
    page: "graph-passes.md",
    example: "\"qdq\": {\"type\": \"MatMulNBitsToQDQ\", \"use_int4\": true}",
    gives: ModelKind::Onnx,
    read: |_, values, _, _| {
        let options = MatMulNBitsToQdqOptions::read(&values)?;
        let edit = QdqOptions {
            use_transpose_op: options.use_transpose_op,
            signed: match (options.use_signed_int, options.use_int4) {
                (true, _) => SignedCodes::All,
                (false, true) => SignedCodes::FourBits,
                (false, false) => SignedCodes::No,
            },
            add_zero_point: options.add_zero_point,
            nodes_to_exclude: options.nodes_to_exclude.clone(),
        };
        Some(GraphPass::read(BLOCK.name, QDQ, &values, options, edit))
    },
};

impl GraphEdit for QdqOptions {
    fn edit(&self, file: &mut GraphFile, _dir: &Path, context: &RunContext) -> Result<()> {
        tell(matmul_nbits_to_qdq(file, self)?, context);
        Ok(())
    }
}
