//! Attention: one packed projection and `GroupQueryAttention`, which rotates, caches and masks by itself.

use super::OnnxError;
use super::data_file::{Matrix, TensorRows};
use super::decoder_graph::DecoderGraph;
use super::graph::{MICROSOFT, attr_float, attr_int};
use super::matmul::ZeroBias;
use super::options::Provider;
use olive_arch::{LinearKind, QkNorm, RopeUse, Spec};
use olive_core::Result;

impl DecoderGraph<'_> {
    /// `input [batch, seq, hidden]` to the output of `o_proj`.
    pub(crate) fn attention(&mut self, layer: usize, input: &str) -> Result<String> {
        let spec = self.spec;
        let a = &spec.attention;
        let base = format!("/model/layers.{layer}/attn");
        let mut query = self.project(layer, input)?;
        let mut norm_weights = None;
        if let Some(norm) = a.qk_norm {
            if self.fuses_qkv(layer)? {
                let (q, kv) = (a.q_size() as i64, a.kv_size() as i64);
                let sizes = self.graph.ints(&[q, kv, kv]);
                let node = format!("{base}/qkv_proj/Split");
                let parts = [0, 1, 2].map(|i| format!("{node}/output_{i}"));
                let outputs = [parts[0].as_str(), &parts[1], &parts[2]];
                let axis = vec![attr_int("axis", -1)];
                self.graph.node("Split", "", &node, &[&query[0], &sizes], &outputs, axis);
                query = parts;
            }
            // Only these kernels normalise queries and keys themselves, as a part of the rotation.
            let rotates = spec.layers[layer].rope != RopeUse::None;
            let fused = rotates && matches!(self.options.provider, Provider::Cuda | Provider::WebGpu);
            if norm == QkNorm::PerHead && fused {
                norm_weights =
                    Some((self.qk_norm_weight(layer, "q_norm")?, self.qk_norm_weight(layer, "k_norm")?));
            } else {
                query[0] = self.qk_norm(layer, "q_norm", &query[0], a.q_size())?;
                query[1] = self.qk_norm(layer, "k_norm", &query[1], a.kv_size())?;
            }
        }
        if self.options.rotates_outside() && spec.layers[layer].rope != RopeUse::None {
            query[0] = self.rotate(layer, "q_rotary", &query[0], a.heads)?;
            query[1] = self.rotate(layer, "k_rotary", &query[1], a.kv_heads)?;
        }
        let attended = self.group_query_attention(layer, &query, norm_weights)?;
        let linear = spec.linears(layer).into_iter().find(|l| l.kind == LinearKind::O);
        let module = linear.expect("every layer has one").module;
        let (hidden, q_size) = (spec.hidden_size, a.q_size());
        let output = self.rows(&module, hidden, 0, hidden, q_size)?;
        self.linear_with_bias(&format!("{base}/o_proj"), &attended, output, ZeroBias::Keep)
    }

    /// Whether queries, keys and values are one product. Each has an adapter of its own, where it stays apart, and
    /// codes of its own kind, where the checkpoint has them so.
    fn fuses_qkv(&self, layer: usize) -> Result<bool> {
        let packed = self.qkv_matrix(layer)?;
        Ok(self.options.fuse_qkv && self.adapter.is_none() && self.is_stored_alike(&packed))
    }

    /// The packed projection and two empty names, or queries, keys and values.
    fn project(&mut self, layer: usize, input: &str) -> Result<[String; 3]> {
        let base = format!("/model/layers.{layer}/attn");
        let packed = self.qkv_matrix(layer)?;
        if self.fuses_qkv(layer)? {
            let qkv =
                self.linear_with_bias(&format!("{base}/qkv_proj"), input, packed, ZeroBias::LeaveOut)?;
            return Ok([qkv, String::new(), String::new()]);
        }
        let a = &self.spec.attention;
        let sizes = [a.q_size(), a.kv_size(), a.kv_size()];
        let parts = match packed.parts.as_slice() {
            [whole] => {
                let mut start = 0;
                sizes.map(|count| {
                    start += count;
                    TensorRows { tensor: whole.tensor.clone(), start: start - count, count }
                })
            }
            [q, k, v] => [q.clone(), k.clone(), v.clone()],
            _ => unreachable!("a checkpoint has them in one matrix or in three"),
        };
        let cols = packed.cols;
        let mut projected = [const { String::new() }; 3];
        for ((slot, part), name) in projected.iter_mut().zip(parts).zip(["q_proj", "k_proj", "v_proj"]) {
            let matrix = Matrix { parts: vec![part], cols };
            *slot = self.linear_with_bias(&format!("{base}/{name}"), input, matrix, ZeroBias::LeaveOut)?;
        }
        Ok(projected)
    }

    /// The rotation as a node of its own; `input [batch, seq, heads · head_dim]`.
    fn rotate(&mut self, layer: usize, which: &str, input: &str, heads: usize) -> Result<String> {
        let use_of = self.spec.layers[layer].rope;
        let (cos, sin) = self.rope_caches(use_of)?;
        let rope = self.spec.rope_of(use_of);
        // Zeros: all of a head is rotated, and its size follows from the tables.
        let partial = rope.rotary_dim != self.spec.attention.head_dim;
        let (heads, width) = if partial { (heads, rope.rotary_dim) } else { (0, 0) };
        let positions = self.rotary_positions(use_of);
        let node = format!("/model/layers.{layer}/attn/{which}/RotaryEmbedding");
        let output = format!("{node}/output_0");
        let attributes = vec![
            attr_int("interleaved", i64::from(rope.interleaved)),
            attr_int("num_heads", heads as i64),
            attr_int("rotary_embedding_dim", width as i64),
        ];
        let inputs = [input, &positions, &cos, &sin];
        self.graph.node("RotaryEmbedding", MICROSOFT, &node, &inputs, &[&output], attributes);
        Ok(output)
    }

    /// Rows `[q; k; v]`, whether the checkpoint has them in one matrix or in three.
    fn qkv_matrix(&self, layer: usize) -> Result<Matrix> {
        let mut parts = Vec::with_capacity(3);
        for linear in self.spec.linears(layer) {
            if !matches!(linear.kind, LinearKind::Qkv | LinearKind::Q | LinearKind::K | LinearKind::V) {
                continue;
            }
            let tensor = linear.weight_name();
            self.source.expect_shape(&tensor, &[linear.out_features, linear.in_features])?;
            parts.push(TensorRows { tensor, start: 0, count: linear.out_features });
        }
        Ok(Matrix { parts, cols: self.spec.hidden_size })
    }

    fn qk_norm_weight(&mut self, layer: usize, which: &str) -> Result<String> {
        let a = &self.spec.attention;
        let size = match (a.qk_norm, which) {
            (Some(QkNorm::Full), "q_norm") => a.q_size(),
            (Some(QkNorm::Full), _) => a.kv_size(),
            (Some(QkNorm::PerHead) | None, _) => a.head_dim,
        };
        let name = format!("model.layers.{layer}.attn.{which}.layernorm.weight");
        let tensor = Spec::layer_norm_name(layer, &format!("self_attn.{which}"));
        self.norm_vector(&name, &tensor, size, self.float())?;
        Ok(name)
    }

    /// The norm as nodes of its own; `input [batch, seq, width]`.
    fn qk_norm(&mut self, layer: usize, which: &str, input: &str, width: usize) -> Result<String> {
        let base = format!("/model/layers.{layer}/attn/{which}");
        let per_head = self.spec.attention.qk_norm == Some(QkNorm::PerHead);
        let mut value = input.to_owned();
        if per_head {
            let shape = self.graph.ints(&[0, -1, self.spec.attention.head_dim as i64]);
            // [batch, seq · heads, head_dim]
            value = self.graph.op("Reshape", &format!("{base}/Reshape_1"), &[&value, &shape], vec![]);
        }
        let weight = self.qk_norm_weight(layer, which)?;
        let attributes = self.norm_attributes();
        let node = format!("{base}/SimplifiedLayerNormalization");
        value = self.graph.op("SimplifiedLayerNormalization", &node, &[&value, &weight], attributes);
        if per_head {
            let shape = self.graph.ints(&[0, -1, width as i64]);
            value = self.graph.op("Reshape", &format!("{base}/Reshape_2"), &[&value, &shape], vec![]);
        }
        Ok(value)
    }

    /// `query` is the packed projection and two empty names, or query, key and value.
    fn group_query_attention(
        &mut self,
        layer: usize,
        query: &[String; 3],
        norm_weights: Option<(String, String)>,
    ) -> Result<String> {
        let a = &self.spec.attention;
        let facts = self.spec.layers[layer];
        let rotates = facts.rope != RopeUse::None && !self.options.rotates_outside();
        let (cos, sin) = if rotates { self.rope_caches(facts.rope)? } else { (String::new(), String::new()) };
        let past = ["key", "value"].map(|kind| format!("past_key_values.{layer}.{kind}"));
        let present = ["key", "value"].map(|kind| format!("present.{layer}.{kind}"));
        let mut inputs = vec![
            query[0].as_str(),
            &query[1],
            &query[2],
            &past[0],
            &past[1],
            Self::SEQLENS_K,
            Self::TOTAL_LENGTH_INT32,
            &cos,
            &sin,
            "", // position_ids
            "", // attention_bias
            "", // head_sink
        ];
        let window = facts.window.map_or(-1, |window| window as i64);
        let mut attributes = vec![
            attr_int("num_heads", a.heads as i64),
            attr_int("kv_num_heads", a.kv_heads as i64),
            attr_float("scale", a.scale),
            attr_int("local_window_size", window),
            attr_float("softcap", a.softcap.unwrap_or(0.0)),
            attr_int("do_rotary", i64::from(rotates)),
            attr_int("rotary_interleaved", i64::from(self.spec.rope_of(facts.rope).interleaved)),
        ];
        if facts.window.is_some() && self.options.windowed_kv_cache {
            attributes.push(attr_int("sliding_window_cache", 1));
        }
        if let Some((q, k)) = &norm_weights {
            inputs.extend(["", "", q.as_str(), k.as_str()]); // scales of a quantised cache, then the norms
            attributes.push(attr_float("qk_norm_epsilon", self.spec.norm_eps));
        }
        let node = format!("/model/layers.{layer}/attn/GroupQueryAttention");
        let output = format!("{node}/output_0");
        self.graph.node(
            "GroupQueryAttention",
            MICROSOFT,
            &node,
            &inputs,
            &[&output, &present[0], &present[1]],
            attributes,
        );
        Ok(output)
    }

    /// # Errors
    /// A rotary width that the fused rotation of the kernel refuses.
    pub(crate) fn check_rotary_width(&self, half: usize) -> Result<()> {
        // The kernel's own rule, checked here because a model that does not load helps nobody.
        if half.is_multiple_of(8) || self.options.rotates_outside() {
            return Ok(());
        }
        Err(OnnxError::Unsupported(format!(
            "it rotates {} of {} dimensions of a head, and the attention kernel needs a multiple of 16",
            2 * half,
            self.spec.attention.head_dim
        ))
        .into())
    }
}
