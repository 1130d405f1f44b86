//! ONNX models that are changed: read, edited as a graph, written with their weights streamed from file to file.

mod embedding_int8;
mod extract_adapters;
mod float16;
mod graph_file;
mod half_scope;
mod half_values;
mod half_walk;
mod hqq;
mod lora_weights;
mod quantise_weights;
mod share_head;
mod tie_embeddings;
mod to_qdq;
mod value_types;

pub use embedding_int8::quantize_embedding_int8;
pub use extract_adapters::{ExtractOptions, Matrices, Missing, Rank, extract_adapters};
pub use float16::{BLOCKED, Choice, Float16Options, KeptTypes, adapter_to_float16, float_to_float16};
pub use graph_file::{GraphFile, Made};
pub use half_values::Bounds;
pub use quantise_weights::{Method, WeightOptions, Width, quantise_weights};
pub use share_head::share_embedding_head;
pub use tie_embeddings::tie_word_embeddings;
pub use to_qdq::{QdqOptions, SignedCodes, matmul_nbits_to_qdq};

/// What became of a graph: what was changed, or why nothing was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Changed(String),
    Unchanged(String),
}

impl Outcome {
    /// For people.
    pub fn message(&self) -> &str {
        match self {
            Outcome::Changed(message) | Outcome::Unchanged(message) => message,
        }
    }
}

fn unchanged(why: &str) -> olive_core::Result<Outcome> {
    Ok(Outcome::Unchanged(why.to_owned()))
}
