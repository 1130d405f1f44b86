//! From tokens to the first hidden states.

use super::OnnxError;
use super::data_file::{Matrix, QuantisedNames};
use super::decoder_graph::{DecoderGraph, GATHER};
use super::graph::{MICROSOFT, attr_int, attr_ints};
use super::proto::data_type;
use olive_arch::Spec;
use olive_core::Result;
use olive_kernels::quant::{BlockFormat, TableFormat};

impl DecoderGraph<'_> {
    pub(super) fn embedding(&mut self) -> Result<String> {
        let mut hidden = "inputs_embeds".to_owned(); // [batch, seq, hidden]
        if !self.options.exclude_embeds {
            hidden = self.embedding_lookup()?;
            if let Some(multiplier) = self.spec.embedding_multiplier {
                let factor = self.graph.float(multiplier, self.options.float);
                hidden = self.graph.op("Mul", "/model/embed_tokens/Mul", &[&hidden, &factor], vec![]);
            }
        }
        if self.wide_norms() {
            hidden = self.cast("/model/embed_tokens/Cast", &hidden, data_type::FLOAT);
        }
        Ok(hidden)
    }

    /// Looks the tokens up in the embedding matrix, or in the head's when the model shares them.
    fn embedding_lookup(&mut self) -> Result<String> {
        let (vocab, hidden) = (self.spec.vocab_size, self.spec.hidden_size);
        let base = "/model/embed_tokens";
        let head = self.quantised_as("/lm_head/MatMul");
        if self.options.shared_embeddings == Some(true) && !self.spec.tied {
            return Err(OnnxError::Option {
                option: "shared_embeddings",
                found: "true".into(),
                expected: "possible with a model that does not tie them",
            }
            .into());
        }
        if let Some(settings) = self.stored_embedding() {
            return self.stored_gather(settings);
        }
        // Beside quantised layers, what stayed in float was meant to.
        let shared = !self.stored_layers()
            && self.spec.tied
            && self.options.shared_embeddings != Some(false)
            && !self.options.exclude_lm_head;
        let quantisation = self.options.quantisation.as_ref().filter(|q| !q.excludes(GATHER));
        // The reference shares a quantised head in int4 models only; in int8 ones the embedding stays float.
        let shares_codes = quantisation.is_some_and(|q| q.format.bits == 4 && !q.qdq);
        // Without its head, the embedding of such a model has codes of its own.
        let lost_head = self.options.exclude_lm_head
            && self.spec.tied
            && self.options.shared_embeddings != Some(false)
            && !self.stored_layers()
            && shares_codes;
        let own_codes = quantisation.filter(|q| q.gather || lost_head).map(|q| q.format);
        let gather = GATHER;
        match (head, own_codes) {
            (Some(format), _) if shared && shares_codes => {
                let names = QuantisedNames::of("lm_head.MatMul.weight", &format);
                let blocks = format.blocks(hidden);
                let shape = self.graph.ints(&[vocab as i64, (blocks * format.block_bytes()) as i64]);
                let codes =
                    self.graph.op("Reshape", &format!("{base}/Reshape"), &[&names.codes, &shape], vec![]);
                let mut inputs = vec![codes.as_str(), "input_ids", names.scales.as_str()];
                inputs.extend(names.zero_points.as_deref());
                let node = format!("{base}/GatherBlockQuantized");
                let output = format!("{node}/output_0");
                let attributes = vec![
                    attr_int("bits", i64::from(format.bits)),
                    attr_int("block_size", format.block_size as i64),
                    attr_int("gather_axis", 0),
                    attr_int("quantize_axis", 1),
                ];
                self.graph.node("GatherBlockQuantized", MICROSOFT, &node, &inputs, &[&output], attributes);
                if blocks * format.block_size == hidden {
                    return Ok(output);
                }
                // Rows are padded to whole blocks; the padding is cut off again.
                let (from, to) = (self.graph.ints(&[0]), self.graph.ints(&[hidden as i64]));
                let axis = self.graph.ints(&[-1]);
                let slice = format!("{base}/Slice");
                Ok(self.graph.op("Slice", &slice, &[&output, &from, &to, &axis], vec![]))
            }
            (None, None) if shared => {
                let node = format!("{base}/Transpose");
                let perm = vec![attr_ints("perm", &[1, 0])];
                let matrix = self.graph.op("Transpose", &node, &["lm_head.MatMul.weight"], perm);
                Ok(self.graph.op("Gather", gather, &[&matrix, "input_ids"], vec![]))
            }
            (_, Some(format)) => self.quantised_gather(format),
            _ => {
                self.source.expect_shape(Spec::EMBEDDING, &[vocab, hidden])?;
                let matrix = Matrix::whole(Spec::EMBEDDING, vocab, hidden);
                self.data.plain("model.embed_tokens.weight", matrix, self.options.float);
                let inputs = ["model.embed_tokens.weight", "input_ids"];
                Ok(self.graph.op("Gather", gather, &inputs, vec![]))
            }
        }
    }

    /// The embedding matrix in 4 bits of its own.
    fn quantised_gather(&mut self, format: BlockFormat) -> Result<String> {
        let (vocab, hidden) = (self.spec.vocab_size, self.spec.hidden_size);
        self.source.expect_shape(Spec::EMBEDDING, &[vocab, hidden])?;
        if hidden % 2 == 1 {
            let why = format!(
                "its embeddings have {hidden} elements, and a row of 4-bit codes needs an even number"
            );
            return Err(OnnxError::Unsupported(why).into());
        }
        let table =
            TableFormat { block_size: format.block_size, symmetric: format.symmetric, float: format.float };
        let names = QuantisedNames::of(Spec::EMBEDDING, &table);
        let mut inputs = vec![names.codes.as_str(), "input_ids", names.scales.as_str()];
        inputs.extend(names.zero_points.as_deref());
        let output = format!("{GATHER}/output_0");
        let attributes = vec![
            attr_int("gather_axis", 0),
            attr_int("quantize_axis", 1),
            attr_int("block_size", format.block_size as i64),
        ];
        let node = format!("{GATHER}_Q4");
        self.graph.node("GatherBlockQuantized", MICROSOFT, &node, &inputs, &[&output], attributes);
        self.data.weight(&names, Matrix::whole(Spec::EMBEDDING, vocab, hidden), Box::new(table));
        Ok(output)
    }
}
