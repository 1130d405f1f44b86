//! A decoder as a graph: inputs and outputs, and the residual stream from layer to layer. The files beside this one add
//! the parts: `embedding`, `norms`, `attention`, `rope_caches`, `feed_forward`, `head`.

use super::OnnxError;
use super::adapter_file::AdapterParameter;
use super::data_file::{DataPlan, Matrix, TensorRows};
use super::graph::{Dim, GraphBuilder, attr_int, onnx_type};
use super::options::BuildOptions;
use super::proto::data_type;
use super::separate_adapter;
use super::weights::Weights;
use olive_arch::{NormLayout, Spec};
use olive_core::Result;
use olive_kernels::quant::FloatType;
use olive_model::{Adapter, WeightSource};
use std::collections::BTreeSet;

/// Builds the graph and plans the weights of one model.
pub(crate) struct DecoderGraph<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) options: &'a BuildOptions,
    pub(crate) source: &'a dyn WeightSource,
    /// An adapter that stays apart from the model.
    pub(crate) adapter: Option<&'a Adapter>,
    /// Its matrices.
    pub(crate) parameters: Vec<AdapterParameter>,
    pub(crate) graph: GraphBuilder,
    pub(crate) data: DataPlan,
    /// MatMul nodes so far, by the name they have before quantisation.
    pub(crate) matmuls: Vec<String>,
    /// Names of the cos/sin tables that exist already.
    pub(crate) rope_caches: BTreeSet<&'static str>,
    /// The nodes that shift positions into the tables of long sequences exist already.
    pub(crate) long_positions: bool,
}

/// The residual stream between layers.
pub(super) struct Stream {
    pub(super) residual: String,
    /// What the last branch added, before a norm node has summed it up.
    pub(super) branch: Option<String>,
}

#[derive(Clone, Copy)]
enum Branch {
    Attention,
    Mlp,
}

/// Looks the embeddings of the tokens up.
pub(super) const GATHER: &str = "/model/embed_tokens/Gather";
const MASK: &str = "/model/attn_mask_reformat/attn_mask_subgraph";

impl<'a> DecoderGraph<'a> {
    pub(crate) fn new(spec: &'a Spec, options: &'a BuildOptions, weights: Weights<'a>) -> DecoderGraph<'a> {
        DecoderGraph {
            spec,
            options,
            source: weights.source,
            adapter: weights.adapter,
            parameters: Vec::new(),
            graph: GraphBuilder::default(),
            data: DataPlan::default(),
            matmuls: Vec::new(),
            rope_caches: BTreeSet::new(),
            long_positions: false,
        }
    }

    /// The whole graph, the plan of its weights, and the matrices of an adapter that stays apart.
    ///
    /// # Errors
    /// Weights that are missing or of another shape than the configuration says, something that ONNX Runtime's
    /// kernels cannot run, a node to exclude that does not exist, an adapter that cannot stay apart.
    pub(crate) fn build(mut self) -> Result<(GraphBuilder, DataPlan, Vec<AdapterParameter>)> {
        if let Some(adapter) = self.adapter {
            separate_adapter::check(adapter, self.spec)?;
        }
        self.inputs_and_outputs();
        self.attention_mask();
        let embedding = self.embedding()?;
        let mut stream = Stream { residual: embedding, branch: None };
        for layer in 0..self.spec.num_layers() {
            self.layer(layer, &mut stream)?;
        }
        let hidden = self.final_norm(stream)?;
        if !self.options.exclude_lm_head {
            self.head(&hidden)?;
        }
        self.check_excluded()?;
        Ok((self.graph, self.data, self.parameters))
    }

    fn check_excluded(&self) -> Result<()> {
        let excluded = self.options.quantisation.iter().flat_map(|q| &q.exclude);
        for name in excluded {
            if !self.matmuls.contains(name) && name != GATHER {
                let known = self.matmuls.iter().take(7).cloned().collect();
                return Err(OnnxError::UnknownNode { name: name.clone(), known }.into());
            }
        }
        Ok(())
    }

    pub(crate) fn float(&self) -> FloatType {
        self.options.float
    }

    /// Whether norms and the residual stream are f32 while the rest is not.
    pub(super) fn wide_norms(&self) -> bool {
        self.spec.norm_in_f32 && self.float() != FloatType::F32
    }

    fn inputs_and_outputs(&mut self) {
        use Dim::{Fixed, Symbol};
        let (batch, a) = (Symbol("batch_size"), &self.spec.attention);
        let graph = &mut self.graph;
        let float = onnx_type(self.options.float);
        let sequence = Symbol("sequence_length");
        let states = [batch, sequence, Fixed(self.spec.hidden_size)];
        if !self.options.exclude_embeds {
            graph.input("input_ids", data_type::INT64, &[batch, sequence]);
        }
        graph.input("attention_mask", data_type::INT64, &[batch, Symbol("total_sequence_length")]);
        if self.options.exclude_embeds {
            graph.input("inputs_embeds", float, &states);
        }
        if self.options.rotates_outside() {
            graph.input("position_ids", data_type::INT64, &[batch, sequence]);
        }
        if self.options.gives_hidden_states() {
            graph.output("hidden_states", float, &states);
        }
        // Logits of a bf16 model are widened, for samplers do not take bf16.
        let logits = if self.options.float == FloatType::Bf16 { data_type::FLOAT } else { float };
        if !self.options.exclude_lm_head {
            let positions = if self.options.prune_lm_head { Fixed(1) } else { sequence };
            graph.output("logits", logits, &[batch, positions, Fixed(self.spec.vocab_size)]);
        }
        for kind in ["key", "value"] {
            for (i, layer) in self.spec.layers.iter().enumerate() {
                let windowed = self.options.windowed_kv_cache && layer.window.is_some();
                let (past, total) = if windowed {
                    ("past_sliding_length", "total_sliding_length")
                } else {
                    ("past_sequence_length", "total_sequence_length")
                };
                let dims = |length| [batch, Fixed(a.kv_heads), Symbol(length), Symbol("kv_cache_dim")];
                graph.input(&format!("past_key_values.{i}.{kind}"), float, &dims(past));
                graph.output(&format!("present.{i}.{kind}"), float, &dims(total));
            }
        }
    }

    /// Lengths of the sequences, and of the whole batch, from the attention mask.
    fn attention_mask(&mut self) {
        let g = &mut self.graph;
        let one = g.ints(&[1]);
        let sum = g.op(
            "ReduceSum",
            &format!("{MASK}/ReduceSum"),
            &["attention_mask", &one],
            vec![attr_int("keepdims", 0)],
        );
        let last = g.op("Sub", &format!("{MASK}/Sub"), &[&sum, &one], vec![]);
        let to_int32 = || vec![attr_int("to", i64::from(data_type::INT32))];
        g.op("Cast", &format!("{MASK}/Sub/Cast"), &[&last], to_int32());
        let shape = g.op("Shape", &format!("{MASK}/Shape"), &["attention_mask"], vec![]);
        let index = g.int(1);
        let total = g.op("Gather", &format!("{MASK}/Gather"), &[&shape, &index], vec![attr_int("axis", 0)]);
        g.op("Cast", &format!("{MASK}/Gather/Cast"), &[&total], to_int32());
    }

    /// Index of the last position of every sequence, INT32 `[batch]`.
    pub(crate) const SEQLENS_K: &'static str =
        "/model/attn_mask_reformat/attn_mask_subgraph/Sub/Cast/output_0";
    /// Length of the longest sequence, INT64 scalar.
    pub(crate) const TOTAL_LENGTH: &'static str =
        "/model/attn_mask_reformat/attn_mask_subgraph/Gather/output_0";
    /// The same as INT32.
    pub(crate) const TOTAL_LENGTH_INT32: &'static str =
        "/model/attn_mask_reformat/attn_mask_subgraph/Gather/Cast/output_0";

    fn layer(&mut self, layer: usize, stream: &mut Stream) -> Result<()> {
        let [input, attention_output, mlp, mlp_output] = self.spec.norm_layout.names();
        let hidden = self.branch_input(layer, input, stream)?;
        let branch = self.attention(layer, &hidden)?;
        self.branch_output(layer, Branch::Attention, attention_output, branch, stream)?;
        let hidden = self.branch_input(layer, mlp, stream)?;
        let branch = self.feed_forward(layer, &hidden)?;
        self.branch_output(layer, Branch::Mlp, mlp_output, branch, stream)
    }

    /// What a branch reads: the stream, normalised where a norm stands before the branch.
    fn branch_input(&mut self, layer: usize, norm: Option<&str>, stream: &mut Stream) -> Result<String> {
        match norm {
            Some(norm) => self.next_norm(layer, norm, stream),
            None => Ok(stream.residual.clone()),
        }
    }

    /// Gives what a branch says to the stream. Where the next branch begins with a norm, that sums it up.
    fn branch_output(
        &mut self,
        layer: usize,
        which: Branch,
        norm: Option<&str>,
        branch: String,
        stream: &mut Stream,
    ) -> Result<()> {
        let branch = match norm {
            Some(norm) => self.branch_norm(layer, norm, &branch)?,
            None => branch,
        };
        let (index, add) = match which {
            Branch::Attention => (1, "attn_residual"),
            Branch::Mlp => (2, "mlp_residual"),
        };
        let branch = self.scale_branch(layer, index, branch);
        if self.spec.norm_layout == NormLayout::Post {
            let name = format!("/model/layers.{layer}/{add}/Add");
            stream.residual = self.graph.op("Add", &name, &[&stream.residual, &branch], vec![]);
        } else {
            stream.branch = Some(branch);
        }
        Ok(())
    }

    /// Granite scales what a branch adds to the residual stream.
    fn scale_branch(&mut self, layer: usize, index: usize, branch: String) -> String {
        let Some(multiplier) = self.spec.residual_multiplier else { return branch };
        let factor = self.graph.float(multiplier, self.options.float);
        let name = format!("/model/layers.{layer}/residual_mul/Mul_{index}");
        self.graph.op("Mul", &name, &[&branch, &factor], vec![])
    }

    pub(crate) fn cast(&mut self, name: &str, input: &str, to: i32) -> String {
        self.graph.op("Cast", name, &[input], vec![attr_int("to", i64::from(to))])
    }

    /// `count` rows from `start` on of a linear layer's weight, which has `total` rows in the checkpoint.
    pub(crate) fn rows(
        &self,
        module: &str,
        total: usize,
        start: usize,
        count: usize,
        cols: usize,
    ) -> Result<Matrix> {
        let tensor = format!("{module}.weight");
        self.source.expect_shape(&tensor, &[total, cols])?;
        Ok(Matrix { parts: vec![TensorRows { tensor, start, count }], cols })
    }
}
