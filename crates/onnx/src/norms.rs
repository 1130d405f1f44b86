//! RMS norms as nodes, with the sum before them where one node does both.

use super::decoder_graph::{DecoderGraph, Stream};
use super::graph::{MICROSOFT, attr_float, attr_int, onnx_type};
use super::options::Provider;
use super::proto::{AttributeProto, data_type};
use olive_arch::{NormLayout, Spec};
use olive_core::Result;
use olive_kernels::quant::FloatType;

/// On which side of a branch a norm stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NormPlace {
    /// What it gives takes the storage type.
    BeforeBranch,
    /// What it gives goes to the residual stream.
    AfterBranch,
}

impl DecoderGraph<'_> {
    /// Sums residual and branch, if there is one, and normalises the sum.
    pub(super) fn next_norm(&mut self, layer: usize, location: &str, stream: &mut Stream) -> Result<String> {
        let tensor = Spec::layer_norm_name(layer, &format!("{location}_layernorm"));
        let Some(branch) = stream.branch.take() else {
            return self.plain_norm(layer, location, &tensor, &stream.residual, NormPlace::BeforeBranch);
        };
        let weight = self.norm_weight(layer, location, &tensor)?;
        let sum = format!("{}/output_3", norm_name(layer, location));
        let hidden = self.skip_norm(layer, location, &stream.residual, &branch, &weight, Some(&sum));
        stream.residual = sum;
        Ok(hidden)
    }

    /// The norm after the last layer.
    pub(super) fn final_norm(&mut self, stream: Stream) -> Result<String> {
        let (layers, location) = (self.spec.num_layers(), "final_norm");
        let Stream { residual, branch } = stream;
        match branch {
            None => self.plain_norm(layers, location, Spec::FINAL_NORM, &residual, NormPlace::BeforeBranch),
            Some(branch) => {
                let weight = self.norm_weight(layers, location, Spec::FINAL_NORM)?;
                Ok(self.skip_norm(layers, location, &residual, &branch, &weight, None))
            }
        }
    }

    /// A norm on what a branch gives, before it is added.
    pub(super) fn branch_norm(&mut self, layer: usize, location: &str, branch: &str) -> Result<String> {
        let tensor = Spec::layer_norm_name(layer, &format!("{location}_layernorm"));
        let mut branch = branch.to_owned();
        if self.wide_norms() {
            let name = format!("{}/LayerNorm/root_input/Cast", norm_name(layer, location));
            branch = self.cast(&name, &branch, data_type::FLOAT);
        }
        self.plain_norm(layer, location, &tensor, &branch, NormPlace::AfterBranch)
    }

    fn plain_norm(
        &mut self,
        layer: usize,
        location: &str,
        tensor: &str,
        input: &str,
        place: NormPlace,
    ) -> Result<String> {
        let weight = self.norm_weight(layer, location, tensor)?;
        let name = norm_name(layer, location);
        let node = format!("{name}/LayerNorm");
        let output = self.norm_output(&name);
        let raw = self.before_cast(&node, &output, place);
        if self.options.provider == Provider::NvTensorRtRtx {
            self.norm_of_parts(&node, input, &weight, &raw);
        } else {
            let attributes = self.norm_attributes();
            let inputs = [input, &weight];
            self.graph.node("SimplifiedLayerNormalization", "", &node, &inputs, &[&raw], attributes);
        }
        self.cast_norm_output(&node, &raw, &output);
        Ok(output)
    }

    fn skip_norm(
        &mut self,
        layer: usize,
        location: &str,
        residual: &str,
        branch: &str,
        weight: &str,
        sum: Option<&str>,
    ) -> String {
        let name = norm_name(layer, location);
        let node = format!("{name}/SkipLayerNorm");
        let output = self.norm_output(&name);
        let mut branch = branch.to_owned();
        if self.wide_norms() && self.spec.norm_layout == NormLayout::Pre {
            branch = self.cast(&format!("{node}/root_input/Cast"), &branch, data_type::FLOAT);
        }
        let raw = self.before_cast(&node, &output, NormPlace::BeforeBranch);
        if self.options.provider == Provider::NvTensorRtRtx {
            let add = format!("{node}/Add");
            let own = format!("{add}/output_0");
            let sum = sum.unwrap_or(&own);
            self.graph.node("Add", "", &add, &[residual, &branch], &[sum], vec![]);
            self.norm_of_parts(&format!("{node}/skip_simplified_layer_norm"), sum, weight, &raw);
            self.cast_norm_output(&node, &raw, &output);
            return output;
        }
        let outputs: &[&str] = match sum {
            Some(sum) => &[&raw, "", "", sum],
            None => &[&raw],
        };
        self.graph.node(
            "SkipSimplifiedLayerNormalization",
            MICROSOFT,
            &node,
            &[residual, &branch, weight],
            outputs,
            vec![attr_float("epsilon", self.spec.norm_eps)],
        );
        self.cast_norm_output(&node, &raw, &output);
        output
    }

    /// A norm for runtimes without an operator for it, in f32 up to the weight.
    fn norm_of_parts(&mut self, base: &str, input: &str, weight: &str, output: &str) {
        let float = if self.spec.norm_in_f32 { FloatType::F32 } else { self.options.float };
        let epsilon = self.spec.norm_eps;
        let wide = self.cast(&format!("{base}/Cast"), input, data_type::FLOAT);
        let g = &mut self.graph;
        let (two, one) = (g.float_named("2", 2.0), g.float_named("1", 1.0));
        let axes = g.ints(&[-1]);
        let squares = g.op("Pow", &format!("{base}/Pow"), &[&wide, &two], vec![]);
        let keep = vec![attr_int("keepdims", 1)];
        let mean = g.op("ReduceMean", &format!("{base}/ReduceMean"), &[&squares, &axes], keep);
        let epsilon = g.float_named(&scientific(epsilon), epsilon);
        let sum = g.op("Add", &format!("{base}/Add"), &[&mean, &epsilon], vec![]);
        let root = g.op("Sqrt", &format!("{base}/Sqrt"), &[&sum], vec![]);
        let inverse = g.op("Div", &format!("{base}/Div"), &[&one, &root], vec![]);
        let scaled = g.op("Mul", &format!("{base}/Mul"), &[&inverse, &wide], vec![]);
        let narrow = self.cast(&format!("{base}/Cast_1"), &scaled, onnx_type(float));
        self.graph.node("Mul", "", &format!("{base}/Mul_1"), &[&narrow, weight], &[output], vec![]);
    }

    /// What a norm gives; the last one may be an output of the model.
    fn norm_output(&self, name: &str) -> String {
        let last = name == norm_name(self.spec.num_layers(), "final_norm");
        if last && self.options.gives_hidden_states() {
            "hidden_states".into()
        } else {
            format!("{name}/output_0")
        }
    }

    /// Name of a norm's own output: another one if a cast makes the final one of it.
    fn before_cast(&self, node: &str, output: &str, place: NormPlace) -> String {
        match place {
            NormPlace::BeforeBranch if self.wide_norms() => format!("{node}/output_0/Cast/output_0"),
            NormPlace::BeforeBranch | NormPlace::AfterBranch => output.to_owned(),
        }
    }

    fn cast_norm_output(&mut self, node: &str, raw: &str, output: &str) {
        if raw != output {
            let to = vec![attr_int("to", i64::from(onnx_type(self.options.float)))];
            self.graph.node("Cast", "", &format!("{node}/output_0/Cast"), &[raw], &[output], to);
        }
    }

    pub(crate) fn norm_attributes(&self) -> Vec<AttributeProto> {
        vec![attr_float("epsilon", self.spec.norm_eps), attr_int("axis", -1), attr_int("stash_type", 1)]
    }

    fn norm_weight(&mut self, layer: usize, location: &str, tensor: &str) -> Result<String> {
        let name = format!("model.layers.{layer}.{location}_layernorm.weight");
        let float = if self.spec.norm_in_f32 { FloatType::F32 } else { self.options.float };
        self.norm_vector(&name, tensor, self.spec.hidden_size, float)?;
        Ok(name)
    }

    /// Adds a norm weight as an initializer; Gemma's offset from one is added in f32.
    pub(crate) fn norm_vector(
        &mut self,
        name: &str,
        tensor: &str,
        size: usize,
        float: FloatType,
    ) -> Result<()> {
        let mut values = self.source.read(tensor, &[size])?;
        if self.spec.norm_plus_one {
            values.iter_mut().for_each(|w| *w += 1.0);
        }
        self.data.bytes(name, onnx_type(float), &[size], float.to_bytes(&values));
        Ok(())
    }
}

/// A small number as Python writes it, which names constants: `1e-05`.
fn scientific(value: f64) -> String {
    let text = format!("{value:e}");
    match text.split_once("e-") {
        Some((digits, power)) if value < 1e-4 => format!("{digits}e-{power:0>2}"),
        _ => format!("{value:?}"),
    }
}

fn norm_name(layer: usize, location: &str) -> String {
    format!("/model/layers.{layer}/{location}_layernorm")
}
