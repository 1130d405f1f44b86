//! The pass `MatMulNBitsToQDQ`.

use super::graph_pass::{EXTERNAL_DATA, change, graph_of, output, writes};
use super::pass::{Pass, RunContext};
use crate::cache::KeyHasher;
use olive_config::option::{Block, TEXTS};
use olive_config::{ConfiguredPass, PASS, PassDefinition, PassOptions, options};
use olive_core::Result;
use olive_core::event::Event;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_onnx::edit::{Outcome, QdqOptions, SignedCodes, matmul_nbits_to_qdq};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

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
        let mut shown = values.resolved("");
        shown.retain(|option| QDQ.iter().any(|own| own.name == option.name));
        Some((Arc::new(MatMulNBitsToQdqPass { options }), shown))
    },
};

#[derive(Debug, Clone)]
pub struct MatMulNBitsToQdqPass {
    options: MatMulNBitsToQdqOptions,
}

impl ConfiguredPass for MatMulNBitsToQdqPass {
    fn name(&self) -> &'static str {
        "MatMulNBitsToQDQ"
    }

    fn options(&self) -> &dyn PassOptions {
        &self.options
    }

    fn output(&self, input: ModelKind) -> Result<ModelKind, String> {
        output(input)
    }
}

impl Pass for MatMulNBitsToQdqPass {
    fn version(&self) -> u32 {
        1
    }

    fn key(&self, hasher: &mut KeyHasher) -> Result<()> {
        hasher.field("options", &self.options);
        Ok(())
    }

    fn check_input(&self, model: Option<&ModelHandle>) -> Result<()> {
        let graph = model.filter(|model| model.kind() == ModelKind::Onnx).map(|model| graph_of(model.dir()));
        graph.transpose().map(drop)
    }

    fn run(&self, input: &ModelHandle, dir: &Path, context: &RunContext) -> Result<ModelHandle> {
        let options = QdqOptions {
            use_transpose_op: self.options.use_transpose_op,
            signed: match (self.options.use_signed_int, self.options.use_int4) {
                (true, _) => SignedCodes::All,
                (false, true) => SignedCodes::FourBits,
                (false, false) => SignedCodes::No,
            },
            add_zero_point: self.options.add_zero_point,
            nodes_to_exclude: self.options.nodes_to_exclude.clone(),
        };
        change(input, dir, context, |file| {
            let message = match matmul_nbits_to_qdq(file, &options)? {
                Outcome::Changed(what) => what,
                Outcome::Unchanged(why) => format!("nothing is changed: {why}"),
            };
            context.events.emit(Event::Info { message });
            Ok(())
        })
    }

    fn writes(&self, name: &str) -> bool {
        writes(name)
    }
}
