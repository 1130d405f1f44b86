//! RMS norms as nodes, with the sum before them where one node does both.

use super::decoder_graph::{DecoderGraph, Stream};
use super::graph::{MICROSOFT, attr_float, attr_int, onnx_type};
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
        let attributes = self.norm_attributes();
        self.graph.node("SimplifiedLayerNormalization", "", &node, &[input, &weight], &[&raw], attributes);
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

fn norm_name(layer: usize, location: &str) -> String {
    format!("/model/layers.{layer}/{location}_layernorm")
}
