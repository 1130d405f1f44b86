//! Linear layers: `MatMul`, or `MatMulNBits` when quantised, and their biases.

use super::data_file::{Matrix, QuantisedNames};
use super::decoder_graph::DecoderGraph;
use super::graph::{MICROSOFT, attr_int, onnx_type};
use super::initializer_names::initializer_name;
use olive_core::Result;
use olive_kernels::quant::{BlockFormat, DequantizeLinearFormat};

/// What becomes of a bias that is all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ZeroBias {
    Keep,
    LeaveOut,
}

impl DecoderGraph<'_> {
    /// How the weight of a MatMul node is quantised, if it is.
    pub(crate) fn quantised_as(&self, node: &str) -> Option<BlockFormat> {
        let quantisation = self.options.quantisation.as_ref()?;
        quantisation.format_of(node, self.spec.num_layers())
    }

    /// `output = input · matrixᵀ`.
    ///
    /// # Errors
    /// The checkpoint has codes for it that ONNX Runtime cannot work with.
    pub(crate) fn matmul(&mut self, node: &str, input: &str, output: &str, matrix: Matrix) -> Result<()> {
        self.matmuls.push(node.to_owned());
        if let Some(settings) = self.stored_settings(&matrix) {
            return self.stored_matmul(node, input, output, matrix, settings);
        }
        let weight = format!("{}.weight", initializer_name(node));
        let Some(format) = self.quantised_as(node) else {
            self.graph.node("MatMul", "", node, &[input, &weight], &[output], vec![]);
            self.data.transposed(&weight, matrix, self.options.float);
            return Ok(());
        };
        if self.options.quantisation.as_ref().is_some_and(|q| q.qdq) {
            self.dequantised_matmul(node, &weight, input, output, matrix, format);
            return Ok(());
        }
        let names = QuantisedNames::of(&weight, &format);
        let mut inputs = vec![input, names.codes.as_str(), names.scales.as_str()];
        inputs.extend(names.zero_points.as_deref());
        let mut attributes = vec![attr_int("K", matrix.cols as i64), attr_int("N", matrix.rows() as i64)];
        let level = self.options.quantisation.as_ref().map_or(0, |q| q.accuracy_level);
        if level > 0 {
            attributes.push(attr_int("accuracy_level", i64::from(level)));
        }
        attributes.push(attr_int("bits", i64::from(format.bits)));
        attributes.push(attr_int("block_size", format.block_size as i64));
        let name = format!("{node}_Q{}", format.bits);
        self.graph.node("MatMulNBits", MICROSOFT, &name, &inputs, &[output], attributes);
        self.data.weight(&names, matrix, Box::new(format));
        Ok(())
    }

    /// The weight goes through a `DequantizeLinear`, whose layout is that of ONNX's MatMul, `[cols, rows]`.
    fn dequantised_matmul(
        &mut self,
        node: &str,
        weight: &str,
        input: &str,
        output: &str,
        matrix: Matrix,
        format: BlockFormat,
    ) {
        let (bits, block_size) = (format.bits, format.block_size);
        let format = DequantizeLinearFormat::new(format);
        let names = QuantisedNames::of(weight, &format);
        let mut inputs = vec![names.codes.as_str(), names.scales.as_str()];
        inputs.extend(names.zero_points.as_deref());
        let float = format!("{}_output", names.codes);
        let attributes = vec![attr_int("axis", 0), attr_int("block_size", block_size as i64)];
        let name = format!("{node}_DQ_Q{bits}");
        self.graph.node("DequantizeLinear", "", &name, &inputs, &[&float], attributes);
        let name = format!("{node}_matmul_Q{bits}");
        self.graph.node("MatMul", "", &name, &[input, &float], &[output], vec![]);
        self.data.weight(&names, matrix, Box::new(format));
    }

    /// A linear layer `base/MatMul`, with `base/Add` if the checkpoint has a bias.
    pub(crate) fn linear_with_bias(
        &mut self,
        base: &str,
        input: &str,
        matrix: Matrix,
        zero_bias: ZeroBias,
    ) -> Result<String> {
        let bias = self.bias(&matrix, zero_bias)?;
        let product = format!("{base}/MatMul/output_0");
        let parts = matrix.parts.clone();
        self.matmul(&format!("{base}/MatMul"), input, &product, matrix)?;
        let product = self.with_adapter(base, input, product, &parts);
        let Some(bias) = bias else { return Ok(product) };
        let node = format!("{base}/Add");
        let name = format!("{}.bias", initializer_name(&node));
        let float = self.options.float;
        self.data.bytes(&name, onnx_type(float), &[bias.len()], float.to_bytes(&bias));
        Ok(self.graph.op("Add", &node, &[&product, &name], vec![]))
    }

    /// The biases of a matrix's parts, one after the other; those that do not exist count as zero.
    fn bias(&self, matrix: &Matrix, zero_bias: ZeroBias) -> Result<Option<Vec<f32>>> {
        let mut bias = Vec::new();
        let mut found = false;
        for part in &matrix.parts {
            let module = part.tensor.trim_end_matches(".weight");
            let name = format!("{module}.bias");
            let end = bias.len() + part.count;
            let start = bias.len();
            bias.resize(end, 0.0);
            if let Some((_, shape)) = self.source.describe(&name) {
                let whole = self.source.describe(&part.tensor).map_or(shape, |(_, shape)| &shape[..1]);
                self.source.expect_shape(&name, whole)?;
                let rows = part.start..part.start + part.count;
                self.source.read_rows(&name, rows, &mut bias[start..])?;
                found = true;
            }
        }
        Ok(Some(bias).filter(|bias| found && (zero_bias == ZeroBias::Keep || bias.iter().any(|b| *b != 0.0))))
    }
}
