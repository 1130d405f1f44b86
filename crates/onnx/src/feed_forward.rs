//! The feed-forward branch of a layer.

use super::decoder_graph::DecoderGraph;
use super::graph::attr_string;
use super::matmul::ZeroBias;
use olive_arch::Activation;
use olive_core::Result;

impl DecoderGraph<'_> {
    pub(super) fn feed_forward(&mut self, layer: usize, input: &str) -> Result<String> {
        let (hidden, inner) = (self.spec.hidden_size, self.spec.intermediate_size);
        let base = format!("/model/layers.{layer}/mlp");
        let module = format!("model.layers.{layer}.mlp");
        let (gate, up) = if self.spec.mlp.packed_gate_up {
            let packed = format!("{module}.gate_up_proj");
            (
                self.rows(&packed, 2 * inner, 0, inner, hidden)?,
                self.rows(&packed, 2 * inner, inner, inner, hidden)?,
            )
        } else {
            (
                self.rows(&format!("{module}.gate_proj"), inner, 0, inner, hidden)?,
                self.rows(&format!("{module}.up_proj"), inner, 0, inner, hidden)?,
            )
        };
        let gate = self.linear_with_bias(&format!("{base}/gate_proj"), input, gate, ZeroBias::LeaveOut)?;
        let up = self.linear_with_bias(&format!("{base}/up_proj"), input, up, ZeroBias::LeaveOut)?;
        let active = self.activation(&format!("{base}/act_fn"), &gate);
        let product = self.graph.op("Mul", &format!("{base}/Mul"), &[&active, &up], vec![]);
        let down = self.rows(&format!("{module}.down_proj"), hidden, 0, hidden, inner)?;
        self.linear_with_bias(&format!("{base}/down_proj"), &product, down, ZeroBias::LeaveOut)
    }

    fn activation(&mut self, base: &str, gate: &str) -> String {
        let g = &mut self.graph;
        let approximate = |kind| vec![attr_string("approximate", kind)];
        match self.spec.mlp.activation {
            Activation::Silu => {
                let sigmoid = g.op("Sigmoid", &format!("{base}/Sigmoid"), &[gate], vec![]);
                g.op("Mul", &format!("{base}/Mul"), &[gate, &sigmoid], vec![])
            }
            Activation::Gelu => g.op("Gelu", &format!("{base}/Gelu"), &[gate], approximate("none")),
            Activation::GeluTanh => g.op("Gelu", &format!("{base}/FastGelu"), &[gate], approximate("tanh")),
        }
    }
}
