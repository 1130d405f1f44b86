//! A decoder-only transformer as data. The trainer, the float generator and the ONNX builder all read this.

use super::Activation;
use super::family::Family;
use super::rope::Rope;

/// Everything that distinguishes one decoder from another. Built by [`Spec::from_config`] only.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// The family by its class, the first entry of `architectures`.
    pub family: &'static Family,
    /// `model_type` of the configuration, for example `phi3`.
    pub model_type: String,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    /// `max_position_embeddings`.
    pub context_length: usize,
    pub norm_eps: f64,
    /// Norm weights are stored as offsets from one (Gemma).
    pub norm_plus_one: bool,
    pub norm_layout: NormLayout,
    pub attention: Attention,
    pub mlp: Mlp,
    /// One entry per layer.
    pub layers: Vec<Layer>,
    /// Rotary embedding of layers with [`RopeUse::Global`].
    pub rope: Rope,
    /// Rotary embedding of layers with [`RopeUse::Local`] (Gemma-3, OLMo-3).
    pub rope_local: Option<Rope>,
    /// Factor on the embedding output.
    pub embedding_multiplier: Option<f64>,
    /// Factor on every branch before it is added to the residual stream.
    pub residual_multiplier: Option<f64>,
    /// Factor on the logits.
    pub logit_multiplier: Option<f64>,
    /// `cap · tanh(logits / cap)` on the logits.
    pub final_softcap: Option<f64>,
    /// The head uses the embedding matrix.
    pub tied: bool,
    /// Norms run in f32 whatever the storage type (Gemma): decides the casts in an exported graph.
    pub norm_in_f32: bool,
}

/// Where the norms of a layer sit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormLayout {
    /// `input_layernorm` before attention, `post_attention_layernorm` before the MLP (Llama).
    Pre,
    /// A norm before and after both branches (Gemma-2): `input_layernorm`, `post_attention_layernorm`,
    /// `pre_feedforward_layernorm`, `post_feedforward_layernorm`.
    PreAndPost,
    /// The same by the names of GLM-4: `input_layernorm`, `post_self_attn_layernorm`, `post_attention_layernorm`,
    /// `post_mlp_layernorm`.
    PreAndPostGlm,
    /// Only on branch outputs (OLMo-2): `post_attention_layernorm`, `post_feedforward_layernorm`.
    Post,
}

impl NormLayout {
    /// What the checkpoint calls the norms of a layer, `_layernorm` left out: before attention, on its output, before
    /// the MLP, on its output.
    pub fn names(self) -> [Option<&'static str>; 4] {
        match self {
            NormLayout::Pre => [Some("input"), None, Some("post_attention"), None],
            NormLayout::PreAndPost => {
                ["input", "post_attention", "pre_feedforward", "post_feedforward"].map(Some)
            }
            NormLayout::PreAndPostGlm => ["input", "post_self_attn", "post_attention", "post_mlp"].map(Some),
            NormLayout::Post => [None, Some("post_attention"), None, Some("post_feedforward")],
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// The checkpoint has one `qkv_proj` of rows `[q; k; v]` instead of three matrices.
    pub packed_qkv: bool,
    pub qkv_bias: bool,
    pub o_bias: bool,
    pub qk_norm: Option<QkNorm>,
    /// Factor on `q · k`.
    pub scale: f64,
    /// `cap · tanh(scores / cap)` on the scores.
    pub softcap: Option<f64>,
}

impl Attention {
    pub fn q_size(&self) -> usize {
        self.heads * self.head_dim
    }

    pub fn kv_size(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

/// RMS norm on queries and keys before the rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkNorm {
    /// Over each head, weight `[head_dim]` (Qwen3, Gemma-3, EXAONE 4).
    PerHead,
    /// Over the whole projection, weight `[heads · head_dim]` (OLMo-2).
    Full,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Mlp {
    /// The checkpoint has one `gate_up_proj` of rows `[gate; up]` instead of two matrices.
    pub packed_gate_up: bool,
    pub activation: Activation,
    pub bias: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// A position attends to itself and the `window - 1` before it.
    pub window: Option<usize>,
    pub rope: RopeUse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeUse {
    None,
    Local,
    Global,
}

/// A linear layer of the decoder, as the checkpoint stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linear {
    pub kind: LinearKind,
    /// Module path, for example `model.layers.0.self_attn.qkv_proj`; the weight is `<module>.weight`, `[out, in]`.
    pub module: String,
    pub in_features: usize,
    pub out_features: usize,
    pub bias: bool,
}

impl Linear {
    /// Name of its weight.
    pub fn weight_name(&self) -> String {
        format!("{}.weight", self.module)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinearKind {
    Qkv,
    Q,
    K,
    V,
    O,
    GateUp,
    Gate,
    Up,
    Down,
}

impl LinearKind {
    pub const ALL: [LinearKind; 9] = [
        LinearKind::Qkv,
        LinearKind::Q,
        LinearKind::K,
        LinearKind::V,
        LinearKind::O,
        LinearKind::GateUp,
        LinearKind::Gate,
        LinearKind::Up,
        LinearKind::Down,
    ];

    /// Last part of the module path, the name PEFT's `target_modules` uses.
    pub fn name(self) -> &'static str {
        match self {
            LinearKind::Qkv => "qkv_proj",
            LinearKind::Q => "q_proj",
            LinearKind::K => "k_proj",
            LinearKind::V => "v_proj",
            LinearKind::O => "o_proj",
            LinearKind::GateUp => "gate_up_proj",
            LinearKind::Gate => "gate_proj",
            LinearKind::Up => "up_proj",
            LinearKind::Down => "down_proj",
        }
    }

    /// What GGUF files call it. Both halves of an MLP that lie in one matrix have the name of the second.
    pub fn gguf_name(self) -> &'static str {
        match self {
            LinearKind::Qkv => "attn_qkv",
            LinearKind::Q => "attn_q",
            LinearKind::K => "attn_k",
            LinearKind::V => "attn_v",
            LinearKind::O => "attn_output",
            LinearKind::GateUp | LinearKind::Up => "ffn_up",
            LinearKind::Gate => "ffn_gate",
            LinearKind::Down => "ffn_down",
        }
    }

    /// Where it lies in a layer: `self_attn.q_proj`.
    pub fn path(self) -> String {
        format!("{}.{}", self.parent(), self.name())
    }

    fn parent(self) -> &'static str {
        match self {
            LinearKind::Qkv | LinearKind::Q | LinearKind::K | LinearKind::V | LinearKind::O => "self_attn",
            LinearKind::GateUp | LinearKind::Gate | LinearKind::Up | LinearKind::Down => "mlp",
        }
    }
}

impl Spec {
    pub fn num_layers(&self) -> usize {
        self.layers.len()
    }

    /// The linear layers of decoder layer `layer`, in the order they are applied.
    pub fn linears(&self, layer: usize) -> Vec<Linear> {
        let a = &self.attention;
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let linear = |kind: LinearKind, in_features, out_features, bias| Linear {
            kind,
            module: format!("model.layers.{layer}.{}", kind.path()),
            in_features,
            out_features,
            bias,
        };
        let mut all = Vec::with_capacity(7);
        if a.packed_qkv {
            all.push(linear(LinearKind::Qkv, hidden, a.q_size() + 2 * a.kv_size(), a.qkv_bias));
        } else {
            all.push(linear(LinearKind::Q, hidden, a.q_size(), a.qkv_bias));
            all.push(linear(LinearKind::K, hidden, a.kv_size(), a.qkv_bias));
            all.push(linear(LinearKind::V, hidden, a.kv_size(), a.qkv_bias));
        }
        all.push(linear(LinearKind::O, a.q_size(), hidden, a.o_bias));
        if self.mlp.packed_gate_up {
            all.push(linear(LinearKind::GateUp, hidden, 2 * inner, self.mlp.bias));
        } else {
            all.push(linear(LinearKind::Gate, hidden, inner, self.mlp.bias));
            all.push(linear(LinearKind::Up, hidden, inner, self.mlp.bias));
        }
        all.push(linear(LinearKind::Down, inner, hidden, self.mlp.bias));
        all
    }

    /// All linear layers of all decoder layers.
    pub fn all_linears(&self) -> impl Iterator<Item = Linear> + '_ {
        (0..self.num_layers()).flat_map(|layer| self.linears(layer))
    }

    /// The rotary embedding that a layer uses.
    pub fn rope_of(&self, rope: RopeUse) -> &Rope {
        match (rope, &self.rope_local) {
            (RopeUse::Local, Some(local)) => local,
            (RopeUse::Local, None) | (RopeUse::Global | RopeUse::None, _) => &self.rope,
        }
    }

    /// Name of a norm weight in the checkpoint: `norm` is `input_layernorm`, `post_attention_layernorm`, …, or
    /// `self_attn.q_norm`.
    pub fn layer_norm_name(layer: usize, norm: &str) -> String {
        format!("model.layers.{layer}.{norm}.weight")
    }

    /// Name of the embedding matrix, `[vocab, hidden]`.
    pub const EMBEDDING: &'static str = "model.embed_tokens.weight";
    /// Name of the final norm weight, `[hidden]`.
    pub const FINAL_NORM: &'static str = "model.norm.weight";

    /// Name of a head of its own, `[vocab, hidden]`.
    pub const HEAD: &'static str = "lm_head.weight";
    /// Name of the head as a module, whether or not it has a weight of its own.
    pub const HEAD_MODULE: &'static str = "lm_head";

    /// Whether a change of this weight would change both embedding and head.
    pub fn shares(&self, weight: &str) -> bool {
        self.tied && [Self::EMBEDDING, Self::HEAD].contains(&weight)
    }

    /// Name of the matrix the head multiplies with, `[vocab, hidden]`.
    pub fn head_name(&self) -> &'static str {
        if self.tied { Self::EMBEDDING } else { Self::HEAD }
    }
}
