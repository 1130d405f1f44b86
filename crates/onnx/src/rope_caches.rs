//! The cos and sin tables of the rotary embedding, shared by all layers that rotate alike.

use super::decoder_graph::DecoderGraph;
use super::graph::{Dim, GraphBuilder, attr_graph, attr_int, attr_tensor, onnx_type};
use super::proto::{GraphProto, TensorProto, data_type};
use olive_arch::{Rope, RopeScaling, RopeUse};
use olive_core::Result;

impl DecoderGraph<'_> {
    /// Names of the tables for a layer, made on first use.
    pub(crate) fn rope_caches(&mut self, rope: RopeUse) -> Result<(String, String)> {
        let spec = self.spec;
        let (rope, suffix) = match (rope, &spec.rope_local) {
            (RopeUse::Local, Some(local)) => (local, "_local"),
            (_, Some(_)) => (&spec.rope, "_global"),
            (_, None) => (&spec.rope, ""),
        };
        let names = (format!("cos_cache{suffix}"), format!("sin_cache{suffix}"));
        if !self.rope_caches.insert(suffix) {
            return Ok(names);
        }
        self.check_rotary_width(rope.rotary_dim / 2)?;
        let context = spec.context_length;
        match rope.scaling {
            RopeScaling::LongRope { original_context, .. }
                if original_context < context && self.options.joins_rope_tables() =>
            {
                let (mut cos, mut sin) = rope.tables(original_context, original_context);
                let (long_cos, long_sin) = rope.tables(context, context);
                cos.extend(long_cos);
                sin.extend(long_sin);
                self.table(&names.0, rope, &cos);
                self.table(&names.1, rope, &sin);
            }
            RopeScaling::LongRope { original_context, .. } if original_context < context => {
                self.long_rope(rope, original_context, &names);
            }
            _ => {
                let (cos, sin) = rope.tables(context, context);
                self.table(&names.0, rope, &cos);
                self.table(&names.1, rope, &sin);
            }
        }
        Ok(names)
    }

    fn table(&mut self, name: &str, rope: &Rope, values: &[f32]) {
        let (float, half) = (self.float(), rope.rotary_dim / 2);
        let dims = [values.len() / half, half];
        self.data.bytes(name, onnx_type(float), &dims, float.to_bytes(values));
    }

    /// Rows of the tables for every position, where nodes of their own rotate. With LongRoPE the tables for long
    /// sequences follow those for short ones, and a batch with a long sequence takes its rows from there.
    pub(crate) fn rotary_positions(&mut self, rope: RopeUse) -> String {
        let spec = self.spec;
        let rope = spec.rope_of(rope);
        let original = match rope.scaling {
            RopeScaling::LongRope { original_context, .. } if original_context < spec.context_length => {
                original_context
            }
            _ => return "position_ids".into(),
        };
        let base = "/model/pos_ids_reformat";
        let add = format!("{base}/Add_1");
        if self.long_positions {
            return format!("{add}/output_0");
        }
        self.long_positions = true;
        let g = &mut self.graph;
        let original = g.int(original as i64);
        let keep = vec![attr_int("keepdims", 0)];
        let last = g.op("ReduceMax", &format!("{base}/ReduceMax"), &["position_ids"], keep);
        let long = g.op("GreaterOrEqual", &format!("{base}/GreaterOrEqual"), &[&last, &original], vec![]);
        let to = vec![attr_int("to", i64::from(data_type::INT64))];
        let long = g.op("Cast", &format!("{base}/Cast"), &[&long], to);
        let shift = g.op("Mul", &format!("{base}/Mul"), &[&long, &original], vec![]);
        g.op("Add", &add, &[&shift, "position_ids"], vec![])
    }

    /// LongRoPE has two pairs of tables, and the length of the sequence decides: an `If` node with the tables as
    /// constants in its branches.
    fn long_rope(&mut self, rope: &Rope, original: usize, names: &(String, String)) {
        let base = "/model/rope_caches_subgraph";
        let threshold = self.graph.int(original as i64);
        let greater = format!("{base}/Greater");
        let is_long = self.graph.op("Greater", &greater, &[Self::TOTAL_LENGTH, &threshold], vec![]);
        let branches = vec![
            attr_graph("else_branch", self.tables_graph(rope, original, "small")),
            attr_graph("then_branch", self.tables_graph(rope, self.spec.context_length, "large")),
        ];
        self.graph.node("If", "", &format!("{base}/If"), &[&is_long], &[&names.0, &names.1], branches);
    }

    fn tables_graph(&self, rope: &Rope, length: usize, size: &str) -> GraphProto {
        let float = self.float();
        let half = rope.rotary_dim / 2;
        let (cos, sin) = rope.tables(length, length);
        let mut graph = GraphBuilder::default();
        for (name, table) in [("cos_cache", cos), ("sin_cache", sin)] {
            let output = format!("{name}_{size}");
            let tensor = TensorProto {
                dims: vec![length as i64, half as i64],
                data_type: onnx_type(float),
                raw_data: float.to_bytes(&table),
                ..TensorProto::default()
            };
            let node = format!("/{size}/{name}/Constant");
            graph.node("Constant", "", &node, &[], &[&output], vec![attr_tensor("value", tensor)]);
            graph.output(&output, onnx_type(float), &[Dim::Fixed(length), Dim::Fixed(half)]);
        }
        graph.finish(&format!("{size}_rope_caches_graph"), vec![])
    }
}
