//! The branches of an adapter beside the model: its matrices are inputs of the graph, and lie in a file of their own that
//! ONNX Runtime puts in their place.

use super::adapter_file::AdapterParameter;
use super::data_file::TensorRows;
use super::decoder_graph::DecoderGraph;
use super::graph::{Dim, onnx_type};
use super::initializer_names::initializer_name;

impl DecoderGraph<'_> {
    /// Adds what the adapter says to the product of `input` with these rows of the base; without an active adapter,
    /// nothing.
    pub(crate) fn with_adapter(
        &mut self,
        base: &str,
        input: &str,
        product: String,
        parts: &[TensorRows],
    ) -> String {
        let [TensorRows { tensor, start, count }] = parts else { return product };
        let module = tensor.trim_end_matches(".weight");
        let Some(pair) = self.adapter.and_then(|adapter| adapter.modules.get(module)) else { return product };
        let (rank, cols) = (pair.rank, pair.in_features);
        let transposed = |matrix: &[f32], rows: usize, cols: usize, factor: f32| -> Vec<f32> {
            (0..cols).flat_map(|c| (0..rows).map(move |r| matrix[r * cols + c] * factor)).collect()
        };
        let down = transposed(&pair.a, rank, cols, 1.0); // [in, rank]
        let rows = &pair.b[start * rank..(start + count) * rank];
        let up = transposed(rows, *count, rank, pair.scale as f32); // [rank, out]
        let low = self.low_rank(&format!("{base}/lora_A"), input, &down, [cols, rank], 1);
        let high = self.low_rank(&format!("{base}/lora_B"), &low, &up, [rank, *count], 0);
        self.graph.op("Add", &format!("{base}/lora/Add"), &[&product, &high], vec![])
    }

    /// One of the two products. `rank_axis`: the dimension that is zero without an adapter.
    fn low_rank(
        &mut self,
        base: &str,
        input: &str,
        values: &[f32],
        dims: [usize; 2],
        rank_axis: usize,
    ) -> String {
        let node = format!("{base}/MatMul");
        let name = format!("{}.weight", initializer_name(&node));
        let float = self.options.float;
        let mut shape = dims.map(Dim::Fixed);
        shape[rank_axis] = Dim::Any;
        self.graph.optional_input(&name, onnx_type(float), &shape);
        let bytes = float.to_bytes(values);
        self.parameters.push(AdapterParameter {
            name: name.clone(),
            dims: dims.to_vec(),
            data_type: onnx_type(float),
            bytes,
        });
        self.graph.op("MatMul", &node, &[input, &name], vec![])
    }
}
