//! From the last hidden states to logits.

use super::data_file::Matrix;
use super::decoder_graph::DecoderGraph;
use super::graph::attr_int;
use super::proto::data_type;
use olive_core::Result;
use olive_kernels::quant::FloatType;

impl DecoderGraph<'_> {
    pub(super) fn head(&mut self, hidden: &str) -> Result<()> {
        let matrix = self.head_matrix()?;
        let scale = self.spec.logit_multiplier;
        let cap = self.spec.final_softcap;
        let widen = self.options.float == FloatType::Bf16;
        let followed = scale.is_some() || cap.is_some() || widen;
        let own = "/lm_head/MatMul/output_0";
        let mut hidden = hidden.to_owned();
        if self.options.prune_lm_head {
            let (last, axis) = (self.graph.int(-1), self.graph.ints(&[1]));
            let axes = vec![attr_int("axis", 1)];
            let row = self.graph.op("Gather", "/lm_head/prune/Gather", &[&hidden, &last], axes); // [batch, hidden]
            hidden = self.graph.op("Unsqueeze", "/lm_head/prune/Unsqueeze", &[&row, &axis], vec![]);
        }
        let mut logits = if followed { own.to_owned() } else { "logits".to_owned() };
        if self.shares_stored_embedding() {
            self.head_on_stored_embedding(&hidden, &logits)?;
        } else {
            self.matmul("/lm_head/MatMul", &hidden, &logits, matrix)?;
        }
        // The last of these nodes names its output `logits`.
        let g = &mut self.graph;
        let float = self.options.float;
        if let Some(scale) = scale {
            let factor = g.float(scale, float);
            let output = if cap.is_some() || widen { "/lm_head/Mul/output_0" } else { "logits" };
            g.node("Mul", "", "/lm_head/Mul", &[&logits, &factor], &[output], vec![]);
            logits = output.to_owned();
        }
        if let Some(cap) = cap {
            let cap = g.float(cap, float);
            let scaled = g.op("Div", "/lm_head/softcap/Div", &[&logits, &cap], vec![]);
            let bounded = g.op("Tanh", "/lm_head/softcap/Tanh", &[&scaled], vec![]);
            let output = if widen { "/lm_head/softcap/Mul/output_0" } else { "logits" };
            g.node("Mul", "", "/lm_head/softcap/Mul", &[&bounded, &cap], &[output], vec![]);
            logits = output.to_owned();
        }
        if widen {
            let to = vec![attr_int("to", i64::from(data_type::FLOAT))];
            g.node("Cast", "", "/lm_head/Cast", &[&logits], &["logits"], to);
        }
        Ok(())
    }

    fn head_matrix(&self) -> Result<Matrix> {
        let name = self.spec.head_name();
        let (vocab, hidden) = (self.spec.vocab_size, self.spec.hidden_size);
        self.source.expect_shape(name, &[vocab, hidden])?;
        Ok(Matrix::whole(name, vocab, hidden))
    }
}
