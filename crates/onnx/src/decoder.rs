//! A decoder as a graph: embedding, norms, feed-forward, head. Attention is in `attention`, the tables of the
//! rotary embedding in `rope_caches`.

use super::OnnxError;
use super::adapter;
use super::adapter_file::Parameter;
use super::build::Weights;
use super::data_file::{DataPlan, Matrix, QuantisedNames, Rows};
use super::graph::{Dim, GraphBuilder, MICROSOFT, attr_float, attr_int, attr_ints, attr_string, onnx_type};
use super::options::BuildOptions;
use super::proto::data_type;
use olive_arch::{Activation, NormLayout, Spec};
use olive_core::Result;
use olive_kernels::quant::{BlockFormat, FloatType, TableFormat};
use olive_model::{Adapter, WeightSource};
use std::collections::BTreeSet;

/// Builds the graph and plans the weights of one model.
pub(crate) struct Decoder<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) options: &'a BuildOptions,
    pub(crate) source: &'a dyn WeightSource,
    /// An adapter that stays apart from the model.
    pub(crate) adapter: Option<&'a Adapter>,
    /// Its matrices.
    pub(crate) parameters: Vec<Parameter>,
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
struct Stream {
    residual: String,
    /// What the last branch added, before a norm node has summed it up.
    branch: Option<String>,
}

#[derive(Clone, Copy)]
enum Branch {
    Attention,
    Mlp,
}

/// Looks the embeddings of the tokens up.
const GATHER: &str = "/model/embed_tokens/Gather";
const MASK: &str = "/model/attn_mask_reformat/attn_mask_subgraph";

impl<'a> Decoder<'a> {
    pub(crate) fn new(spec: &'a Spec, options: &'a BuildOptions, weights: Weights<'a>) -> Decoder<'a> {
        Decoder {
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
    pub(crate) fn build(mut self) -> Result<(GraphBuilder, DataPlan, Vec<Parameter>)> {
        if let Some(adapter) = self.adapter {
            adapter::check(adapter, self.spec)?;
        }
        self.inputs_and_outputs();
        self.attention_mask();
        let embedding = self.embedding()?;
        let mut stream = Stream { residual: embedding, branch: None };
        for layer in 0..self.spec.num_layers() {
            self.layer(layer, &mut stream)?;
        }
        let layers = self.spec.num_layers();
        let hidden = match stream.branch.take() {
            None => self.plain_norm(layers, "final_norm", Spec::FINAL_NORM, &stream.residual, true)?,
            Some(branch) => {
                let (name, weight) = (
                    norm_name(layers, "final_norm"),
                    self.norm_weight(layers, "final_norm", Spec::FINAL_NORM)?,
                );
                self.skip_norm(&name, &stream.residual, &branch, &weight, None)
            }
        };
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
    fn wide_norms(&self) -> bool {
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

    fn embedding(&mut self) -> Result<String> {
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

    /// Sums residual and branch, if there is one, and normalises the sum.
    fn next_norm(&mut self, layer: usize, location: &str, stream: &mut Stream) -> Result<String> {
        let tensor = Spec::layer_norm_name(layer, &format!("{location}_layernorm"));
        let Some(branch) = stream.branch.take() else {
            return self.plain_norm(layer, location, &tensor, &stream.residual, true);
        };
        let weight = self.norm_weight(layer, location, &tensor)?;
        let name = norm_name(layer, location);
        let sum = format!("{name}/output_3");
        let hidden = self.skip_norm(&name, &stream.residual, &branch, &weight, Some(&sum));
        stream.residual = sum;
        Ok(hidden)
    }

    /// A norm on what a branch gives, before it is added.
    fn branch_norm(&mut self, layer: usize, location: &str, branch: &str) -> Result<String> {
        let tensor = Spec::layer_norm_name(layer, &format!("{location}_layernorm"));
        let mut branch = branch.to_owned();
        if self.wide_norms() {
            let name = format!("{}/LayerNorm/root_input/Cast", norm_name(layer, location));
            branch = self.cast(&name, &branch, data_type::FLOAT);
        }
        self.plain_norm(layer, location, &tensor, &branch, false)
    }

    /// `narrow`: the output goes into a branch and takes the storage type there.
    fn plain_norm(
        &mut self,
        layer: usize,
        location: &str,
        tensor: &str,
        input: &str,
        narrow: bool,
    ) -> Result<String> {
        let weight = self.norm_weight(layer, location, tensor)?;
        let name = norm_name(layer, location);
        let node = format!("{name}/LayerNorm");
        let output = self.norm_output(&name);
        let raw = self.before_cast(&node, &output, narrow);
        let attributes = self.norm_attributes();
        self.graph.node("SimplifiedLayerNormalization", "", &node, &[input, &weight], &[&raw], attributes);
        self.cast_norm_output(&node, &raw, &output);
        Ok(output)
    }

    fn skip_norm(
        &mut self,
        name: &str,
        residual: &str,
        branch: &str,
        weight: &str,
        sum: Option<&str>,
    ) -> String {
        let node = format!("{name}/SkipLayerNorm");
        let output = self.norm_output(name);
        let mut branch = branch.to_owned();
        if self.wide_norms() && self.spec.norm_layout == NormLayout::Pre {
            branch = self.cast(&format!("{node}/root_input/Cast"), &branch, data_type::FLOAT);
        }
        let raw = self.before_cast(&node, &output, true);
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
    fn before_cast(&self, node: &str, output: &str, narrow: bool) -> String {
        if narrow && self.wide_norms() { format!("{node}/output_0/Cast/output_0") } else { output.to_owned() }
    }

    fn cast_norm_output(&mut self, node: &str, raw: &str, output: &str) {
        if raw != output {
            let to = vec![attr_int("to", i64::from(onnx_type(self.options.float)))];
            self.graph.node("Cast", "", &format!("{node}/output_0/Cast"), &[raw], &[output], to);
        }
    }

    pub(crate) fn norm_attributes(&self) -> Vec<super::proto::AttributeProto> {
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

    fn feed_forward(&mut self, layer: usize, input: &str) -> Result<String> {
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
        let gate = self.linear_with_bias(&format!("{base}/gate_proj"), input, gate, false)?;
        let up = self.linear_with_bias(&format!("{base}/up_proj"), input, up, false)?;
        let active = self.activation(&format!("{base}/act_fn"), &gate);
        let product = self.graph.op("Mul", &format!("{base}/Mul"), &[&active, &up], vec![]);
        let down = self.rows(&format!("{module}.down_proj"), hidden, 0, hidden, inner)?;
        self.linear_with_bias(&format!("{base}/down_proj"), &product, down, false)
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

    fn head(&mut self, hidden: &str) -> Result<()> {
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
        self.matmul("/lm_head/MatMul", &hidden, &logits, matrix);
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

    pub(crate) fn head_matrix(&self) -> Result<Matrix> {
        let name = self.spec.head_name();
        let (vocab, hidden) = (self.spec.vocab_size, self.spec.hidden_size);
        self.source.expect_shape(name, &[vocab, hidden])?;
        Ok(whole(name, vocab, hidden))
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
        let shared =
            self.spec.tied && self.options.shared_embeddings != Some(false) && !self.options.exclude_lm_head;
        let quantisation = self.options.quantisation.as_ref().filter(|q| !q.excludes(GATHER));
        // The reference shares a quantised head in int4 models only; in int8 ones the embedding stays float.
        let shares_codes = quantisation.is_some_and(|q| q.format.bits == 4 && !q.qdq);
        let own_codes = quantisation.filter(|q| q.gather).map(|q| q.format);
        let gather = GATHER;
        match (head, own_codes) {
            (Some(format), _) if shared && shares_codes => {
                let names = super::matmul::quantised_names("lm_head.MatMul.weight", format);
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
                let matrix = whole(Spec::EMBEDDING, vocab, hidden);
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
        let name = |suffix: &str| format!("{}_{suffix}", Spec::EMBEDDING);
        let names = QuantisedNames {
            codes: name("Q4"),
            scales: name("scales"),
            zero_points: (!format.symmetric).then(|| name("zero_points")),
        };
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
        self.data.table(&names, whole(Spec::EMBEDDING, vocab, hidden), table);
        Ok(output)
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
        Ok(Matrix { parts: vec![Rows { tensor, start, count }], cols })
    }
}

fn norm_name(layer: usize, location: &str) -> String {
    format!("/model/layers.{layer}/{location}_layernorm")
}

fn whole(tensor: &str, rows: usize, cols: usize) -> Matrix {
    Matrix { parts: vec![Rows { tensor: tensor.to_owned(), start: 0, count: rows }], cols }
}
