//! Where the weights of a graph come from.

use olive_model::{Adapter, WeightSource};

/// The weights of a model.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    pub source: &'a dyn WeightSource,
    /// An adapter that `source` does not have in it: it goes into a file of its own, `adapter_weights.onnx_adapter`.
    pub adapter: Option<&'a Adapter>,
}
