//! The only place that knows model families. A dense family is an entry of [`FAMILIES`]: its names, its defaults, and how
//! it differs from Llama.

use super::config_reader::ConfigReader;
use super::family::{Family, SpecialTokenIds, Windows};
use super::gguf_family::{
    GgufFamily, GgufFiles, GgufMetadata, GgufName, GgufShape, PreTokenizerNames, QueryScale, ReadWindows,
    UnstatedWindow, WINDOW_PATTERN, WordCut,
};
use super::rope::{Rope, RopeScaling};
use super::spec::{Layer, NormLayout, QkNorm, RopeUse, Spec};
use super::{Activation, ArchError};
use serde_json::{Map, Value, json};

/// An entry of the table.
pub(crate) struct Known {
    pub(crate) family: Family,
    /// Changes what [`ConfigReader::standard`] read.
    pub(crate) differences: fn(&ConfigReader<'_>, &mut Spec) -> Result<(), ArchError>,
}

/// What most families have; entries state where they differ.
const STANDARD: Family = Family {
    architecture: "",
    model_type: "",
    rope_theta: 10_000.0,
    partial_rotary_factor: 1.0,
    tied: false,
    windows: Windows::None,
    tokens: SpecialTokenIds { bos: None, eos: None, pad: None },
    genai_type: "decoder",
    lora_targets: &["q_proj", "v_proj"],
    gguf: GGUF,
};

/// The same of GGUF files.
const GGUF: GgufFamily = GgufFamily {
    names: &[],
    unstated_window: None,
    implied_qkv_bias: false,
    states_window: false,
    states_layer_types: false,
    reorders_qk: false,
    states_attention_factor: false,
    windows: ReadWindows::Unknown,
    query_scale: QueryScale::OfHead { but: None },
    states_original_context: false,
    unrotated_period: None,
    has_biases: false,
    names_mlp_norm_by_attention: false,
    sentence_piece_class: "LlamaTokenizer",
    swallows_space: |_| false,
    config: |_, _, _| Ok(()),
};

/// Layers of the largest models of families, which files do not tell apart otherwise.
const GEMMA2_LARGEST: usize = 46;
const GEMMA3_LARGEST: usize = 62;
const EXAONE4_LARGEST: usize = 64;

const fn tokens(bos: Option<u32>, eos: Option<u32>, pad: Option<u32>) -> SpecialTokenIds {
    SpecialTokenIds { bos, eos, pad }
}

const fn files(name: &'static str) -> GgufName {
    GgufName { name, files: GgufFiles::All }
}

const fn windowed_files(name: &'static str) -> GgufName {
    GgufName { name, files: GgufFiles::WithWindow }
}

const fn windowless_files(name: &'static str) -> GgufName {
    GgufName { name, files: GgufFiles::WithoutWindow }
}

pub(crate) static FAMILIES: [Known; 19] = [
    Known {
        family: Family {
            architecture: "LlamaForCausalLM",
            model_type: "llama",
            tokens: tokens(Some(1), Some(2), None),
            genai_type: "llama",
            gguf: GgufFamily {
                names: &[windowless_files("llama")],
                reorders_qk: true,
                has_biases: true,
                ..GGUF
            },
            ..STANDARD
        },
        differences: |_, _| Ok(()),
    },
    Known {
        family: Family {
            architecture: "MistralForCausalLM",
            model_type: "mistral",
            windows: Windows::All,
            tokens: tokens(Some(1), Some(2), None),
            genai_type: "mistral",
            gguf: GgufFamily {
                names: &[files("mistral3"), windowed_files("llama")],
                reorders_qk: true,
                has_biases: true,
                ..GGUF
            },
            ..STANDARD
        },
        differences: |_, _| Ok(()),
    },
    Known {
        family: Family {
            architecture: "MinistralForCausalLM",
            model_type: "ministral",
            windows: Windows::All,
            tokens: tokens(Some(1), Some(2), None),
            ..STANDARD
        },
        differences: |_, _| Ok(()),
    },
    Known {
        family: Family {
            architecture: "Phi3ForCausalLM",
            model_type: "phi3",
            windows: Windows::All,
            tokens: tokens(Some(1), Some(32_000), Some(32_000)),
            genai_type: "phi3",
            lora_targets: &["qkv_proj"],
            gguf: GgufFamily {
                names: &[files("phi3")],
                windows: ReadWindows::Stated,
                states_original_context: true,
                swallows_space: phi3_swallows_space,
                ..GGUF
            },
            ..STANDARD
        },
        differences: |_, spec| {
            spec.attention.packed_qkv = true;
            spec.mlp.packed_gate_up = true;
            Ok(())
        },
    },
    Known {
        family: Family {
            architecture: "Qwen2ForCausalLM",
            model_type: "qwen2",
            windows: Windows::OptIn,
            genai_type: "qwen2",
            gguf: GgufFamily { names: &[files("qwen2")], implied_qkv_bias: true, ..GGUF },
            ..STANDARD
        },
        differences: |_, spec| {
            spec.attention.qkv_bias = true;
            Ok(())
        },
    },
    Known {
        family: Family {
            architecture: "Qwen3ForCausalLM",
            model_type: "qwen3",
            windows: Windows::OptIn,
            genai_type: "qwen3",
            gguf: GgufFamily { names: &[files("qwen3")], ..GGUF },
            ..STANDARD
        },
        differences: |_, spec| {
            spec.attention.qk_norm = Some(QkNorm::PerHead);
            Ok(())
        },
    },
    Known {
        family: Family {
            architecture: "GemmaForCausalLM",
            model_type: "gemma",
            tied: true,
            tokens: tokens(Some(2), Some(1), Some(0)),
            genai_type: "gemma",
            gguf: GgufFamily {
                names: &[files("gemma")],
                sentence_piece_class: "GemmaTokenizer",
                config: gemma_config,
                ..GGUF
            },
            ..STANDARD
        },
        differences: |_, spec| {
            gemma(spec);
            Ok(())
        },
    },
    Known {
        family: Family {
            architecture: "Gemma2ForCausalLM",
            model_type: "gemma2",
            tied: true,
            windows: Windows::EveryOther,
            tokens: tokens(Some(2), Some(1), Some(0)),
            genai_type: "gemma2",
            gguf: GgufFamily {
                names: &[files("gemma2")],
                windows: ReadWindows::Known,
                query_scale: QueryScale::OfHead { but: Some(GEMMA2_LARGEST) },
                sentence_piece_class: "GemmaTokenizer",
                config: |file, shape, config| gemma2_config(file, shape, GEMMA2_LARGEST, config),
                ..GGUF
            },
            ..STANDARD
        },
        differences: gemma2,
    },
    Known {
        family: Family {
            architecture: "Gemma3ForCausalLM",
            model_type: "gemma3_text",
            rope_theta: 1_000_000.0,
            tied: true,
            windows: Windows::AllBut { every: 6 },
            tokens: tokens(Some(2), Some(1), Some(0)),
            genai_type: "gemma3_text",
            gguf: GgufFamily {
                names: &[files("gemma3")],
                windows: ReadWindows::Named,
                query_scale: QueryScale::InNorm { but: Some(GEMMA3_LARGEST) },
                sentence_piece_class: "GemmaTokenizer",
                config: gemma3_config,
                ..GGUF
            },
            ..STANDARD
        },
        differences: |reader, spec| {
            gemma2(reader, spec)?;
            spec.attention.qk_norm = Some(QkNorm::PerHead);
            let theta = reader.optional_positive("rope_local_base_freq")?.unwrap_or(10_000.0);
            let (scaling, rotary_dim) = (RopeScaling::Default, spec.attention.head_dim);
            reader.local_rope(spec, Rope { theta, scaling, rotary_dim, interleaved: false })
        },
    },
    Known {
        family: Family {
            architecture: "GlmForCausalLM",
            model_type: "glm",
            partial_rotary_factor: 0.5,
            gguf: GgufFamily { names: &[files("chatglm")], ..GGUF },
            ..STANDARD
        },
        differences: glm,
    },
    Known {
        family: Family {
            architecture: "Glm4ForCausalLM",
            model_type: "glm4",
            partial_rotary_factor: 0.5,
            gguf: GgufFamily { names: &[files("glm4")], ..GGUF },
            ..STANDARD
        },
        differences: |reader, spec| {
            glm(reader, spec)?;
            spec.norm_layout = NormLayout::PreAndPostGlm;
            Ok(())
        },
    },
    Known {
        family: Family {
            architecture: "GraniteForCausalLM",
            model_type: "granite",
            tokens: tokens(Some(1), Some(2), None),
            genai_type: "granite",
            gguf: GgufFamily {
                names: &[files("granite")],
                reorders_qk: true,
                query_scale: QueryScale::Stated,
                config: granite_config,
                ..GGUF
            },
            ..STANDARD
        },
        differences: |reader, spec| {
            spec.attention.scale = reader.number("attention_multiplier")?;
            spec.embedding_multiplier = Some(reader.number("embedding_multiplier")?);
            spec.residual_multiplier = Some(reader.number("residual_multiplier")?);
            spec.logit_multiplier = Some(1.0 / reader.positive("logits_scaling")?);
            Ok(())
        },
    },
    Known {
        family: Family {
            architecture: "SmolLM3ForCausalLM",
            model_type: "smollm3",
            rope_theta: 2_000_000.0,
            tokens: tokens(Some(128_000), Some(128_001), Some(128_004)),
            genai_type: "smollm3",
            gguf: GgufFamily {
                names: &[files("smollm3")],
                reorders_qk: true,
                unrotated_period: Some(4),
                // The file does not tell: every fourth layer does not rotate.
                config: |_, _, config| {
                    config.insert("no_rope_layer_interval".into(), json!(4));
                    Ok(())
                },
                ..GGUF
            },
            ..STANDARD
        },
        differences: |reader, spec| no_rope_layers(reader, &mut spec.layers),
    },
    Known {
        family: Family {
            architecture: "Olmo2ForCausalLM",
            model_type: "olmo2",
            tokens: tokens(None, Some(50_279), Some(1)),
            gguf: GgufFamily {
                names: &[windowless_files("olmo2")],
                windows: ReadWindows::AllButEveryFourth { layers: None },
                states_attention_factor: true,
                ..GGUF
            },
            ..STANDARD
        },
        differences: |_, spec| {
            olmo2(spec);
            Ok(())
        },
    },
    Known {
        family: Family {
            architecture: "Olmo3ForCausalLM",
            model_type: "olmo3",
            rope_theta: 500_000.0,
            windows: Windows::AllBut { every: 4 },
            tokens: tokens(None, Some(50_279), Some(1)),
            gguf: GgufFamily {
                names: &[windowed_files("olmo2")],
                windows: ReadWindows::AllButEveryFourth { layers: None },
                states_layer_types: true,
                states_attention_factor: true,
                ..GGUF
            },
            ..STANDARD
        },
        differences: |reader, spec| {
            olmo2(spec);
            // transformers 4 scales the rotation of the full layers only.
            let unnested = Rope { scaling: RopeScaling::Default, ..spec.rope.clone() };
            reader.local_rope(spec, unnested)
        },
    },
    Known {
        family: Family {
            architecture: "Ernie4_5ForCausalLM",
            model_type: "ernie4_5",
            rope_theta: 500_000.0,
            tied: true,
            tokens: tokens(Some(1), Some(2), Some(0)),
            genai_type: "ernie4_5",
            gguf: GgufFamily {
                names: &[files("ernie4_5")],
                config: |file, _, config| {
                    config.insert("use_bias".into(), json!(file.has_qkv_bias()));
                    Ok(())
                },
                ..GGUF
            },
            ..STANDARD
        },
        differences: |reader, spec| {
            let bias = reader.flag("use_bias")?;
            (spec.attention.qkv_bias, spec.attention.o_bias, spec.mlp.bias) = (bias, bias, bias);
            spec.rope.interleaved = true;
            Ok(())
        },
    },
    Known {
        family: Family {
            architecture: "Exaone4ForCausalLM",
            model_type: "exaone4",
            windows: Windows::AllBut { every: 4 },
            tokens: tokens(Some(0), Some(2), None),
            gguf: GgufFamily {
                names: &[files("exaone4")],
                // The first files of the 32B model.
                unstated_window: Some(UnstatedWindow { layers: EXAONE4_LARGEST, window: 4096 }),
                windows: ReadWindows::AllButEveryFourth { layers: Some(EXAONE4_LARGEST) },
                states_window: true,
                states_layer_types: true,
                ..GGUF
            },
            ..STANDARD
        },
        differences: |reader, spec| {
            spec.attention.qk_norm = Some(QkNorm::PerHead);
            spec.norm_layout = NormLayout::Post;
            // In a model with windows, the layers without one do not rotate.
            if reader.optional_size("sliding_window")?.is_some() {
                for layer in spec.layers.iter_mut().filter(|layer| layer.window.is_none()) {
                    layer.rope = RopeUse::None;
                }
            }
            Ok(())
        },
    },
    Known {
        family: Family {
            architecture: "HeliumForCausalLM",
            model_type: "helium",
            rope_theta: 100_000.0,
            tokens: tokens(Some(1), Some(2), Some(3)),
            ..STANDARD
        },
        differences: |_, spec| {
            spec.attention.o_bias = false;
            spec.rope.interleaved = true;
            Ok(())
        },
    },
    Known {
        family: Family {
            architecture: "SeedOssForCausalLM",
            model_type: "seed_oss",
            tokens: tokens(Some(0), Some(2), Some(1)),
            gguf: GgufFamily {
                names: &[files("seed_oss")],
                names_mlp_norm_by_attention: true,
                config: |file, _, config| {
                    let bias = file.has_tensor("blk.0.attn_output.bias");
                    config.insert("attention_out_bias".into(), json!(bias));
                    Ok(())
                },
                ..GGUF
            },
            ..STANDARD
        },
        differences: |reader, spec| {
            spec.attention.qkv_bias = reader.flag_or("attention_bias", true)?;
            spec.attention.o_bias = reader.flag("attention_out_bias")?;
            Ok(())
        },
    },
];

/// Architectures that [`Spec::from_config`] understands.
pub const SUPPORTED: &[&str] = &{
    let mut names = [""; FAMILIES.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = FAMILIES[i].family.architecture;
        i += 1;
    }
    names
};

/// The family of a configuration's `model_type`.
pub fn of_model_type(model_type: &str) -> Option<&'static Family> {
    families().find(|family| family.model_type == model_type)
}

/// Values of `general.architecture` in GGUF files that can be read.
pub fn gguf_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for GgufName { name, .. } in families().flat_map(|family| family.gguf.names) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    names
}

/// The family of a GGUF file by its `general.architecture`, and the window of its attention: `window`, or what the family
/// takes for granted in models of so many `layers`.
pub fn of_gguf(name: &str, layers: usize, window: Option<usize>) -> Option<(&'static Family, Option<usize>)> {
    let named = || {
        families()
            .flat_map(|family| family.gguf.names.iter().map(move |known| (family, known)))
            .filter(move |(_, known)| known.name == name)
    };
    let unstated = |family: &Family| family.gguf.unstated_window.filter(|unstated| unstated.layers == layers);
    let window = window.or_else(|| named().find_map(|(family, _)| Some(unstated(family)?.window)));
    let (family, _) = named().find(|(_, known)| known.files.include(window.is_some()))?;
    Some((family, window))
}

/// The length from which on onnxruntime-genai rotates sequences with other factors, by the `model.type` of a
/// genai_config.json beside which no config.json tells.
pub fn genai_rope_switch(genai_type: &str) -> Option<usize> {
    match genai_type {
        "phi3" | "phimoe" => Some(4096),
        "phi3small" => Some(8192),
        _ => None,
    }
}

fn families() -> impl Iterator<Item = &'static Family> {
    FAMILIES.iter().map(|known| &known.family)
}

fn gemma(spec: &mut Spec) {
    spec.norm_plus_one = true;
    spec.embedding_multiplier = Some((spec.hidden_size as f64).sqrt());
    // The first releases say `gelu` and mean this.
    if spec.mlp.activation == Activation::Gelu {
        spec.mlp.activation = Activation::GeluTanh;
    }
}

fn gemma2(reader: &ConfigReader<'_>, spec: &mut Spec) -> Result<(), ArchError> {
    gemma(spec);
    spec.norm_in_f32 = true;
    spec.norm_layout = NormLayout::PreAndPost;
    spec.attention.scale = 1.0 / reader.positive("query_pre_attn_scalar")?.sqrt();
    spec.attention.softcap = reader.optional_positive("attn_logit_softcapping")?;
    spec.final_softcap = reader.optional_positive("final_logit_softcapping")?;
    Ok(())
}

fn glm(reader: &ConfigReader<'_>, spec: &mut Spec) -> Result<(), ArchError> {
    spec.attention.qkv_bias = reader.flag_or("attention_bias", true)?;
    spec.attention.o_bias = false;
    spec.mlp.packed_gate_up = true;
    spec.rope.interleaved = true;
    Ok(())
}

fn olmo2(spec: &mut Spec) {
    spec.attention.qk_norm = Some(QkNorm::Full);
    spec.norm_layout = NormLayout::Post;
}

/// SmolLM3: a 0 in `no_rope_layers` switches the rotation off in that layer.
fn no_rope_layers(reader: &ConfigReader<'_>, layers: &mut [Layer]) -> Result<(), ArchError> {
    let listed = reader.per_layer("no_rope_layers", layers.len(), "numbers", Value::as_u64)?;
    let interval = reader.optional_size("no_rope_layer_interval")?.unwrap_or(4);
    for (i, layer) in layers.iter_mut().enumerate() {
        let rotates = listed.as_ref().map_or(!(i + 1).is_multiple_of(interval), |flags| flags[i] != 0);
        if !rotates {
            layer.rope = RopeUse::None;
        }
    }
    Ok(())
}

/// Files do not say that Phi-3's special tokens swallow the space after them.
fn phi3_swallows_space(token: &str) -> bool {
    token == "</s>" || token.starts_with("<|") && token != "<|endoftext|>"
}

fn gemma_config(_: &dyn GgufMetadata, _: &GgufShape, config: &mut Map<String, Value>) -> Result<(), String> {
    config.insert("hidden_act".into(), json!("gelu_pytorch_tanh"));
    config.insert("hidden_activation".into(), json!("gelu_pytorch_tanh"));
    Ok(())
}

/// `largest`: the layers of the largest model. The file does not tell that it scales by hidden / heads, and the others
/// by the head's size.
fn gemma2_config(
    file: &dyn GgufMetadata,
    shape: &GgufShape,
    largest: usize,
    config: &mut Map<String, Value>,
) -> Result<(), String> {
    let scalar = if shape.layers == largest { shape.hidden / shape.heads } else { shape.head_dim };
    config.insert("hidden_activation".into(), json!("gelu_pytorch_tanh"));
    config.insert("query_pre_attn_scalar".into(), json!(scalar));
    for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
        if let Some(cap) = file.number(key)?.filter(|cap| *cap > 0.0) {
            config.insert(key.into(), json!(cap));
        }
    }
    Ok(())
}

fn gemma3_config(
    file: &dyn GgufMetadata,
    shape: &GgufShape,
    config: &mut Map<String, Value>,
) -> Result<(), String> {
    gemma2_config(file, shape, GEMMA3_LARGEST, config)?;
    let local = file.number("rope.freq_base_swa")?.unwrap_or(10_000.0);
    config.insert("rope_local_base_freq".into(), json!(local));
    if file.flags(WINDOW_PATTERN)?.is_some() {
        config.insert("layer_types".into(), file.layer_types(shape.layers, true)?);
    } else {
        config.insert("sliding_window_pattern".into(), json!(file.size(WINDOW_PATTERN)?.unwrap_or(6)));
    }
    Ok(())
}

fn granite_config(
    file: &dyn GgufMetadata,
    _: &GgufShape,
    config: &mut Map<String, Value>,
) -> Result<(), String> {
    for (key, of_file) in [
        ("attention_multiplier", "attention.scale"),
        ("embedding_multiplier", "embedding_scale"),
        ("residual_multiplier", "residual_scale"),
        ("logits_scaling", "logit_scale"),
    ] {
        config.insert(key.into(), json!(file.needed_number(of_file)?));
    }
    Ok(())
}

/// The pre-tokenizers of GGUF files, which name them and do not describe them.
pub const PRE_TOKENIZERS: &[PreTokenizerNames] = &[
    PreTokenizerNames::plain(&["gpt-2", "gpt2", "default", "exaone4", "olmo", "phi-2", "mpt"], WordCut::Gpt2),
    PreTokenizerNames::plain(
        &["smollm", "starcoder", "refact", "command-r", "codeshell"],
        WordCut::DigitsThenGpt2,
    ),
    PreTokenizerNames {
        ignore_merges: true,
        add_bos: Some(true),
        ..PreTokenizerNames::plain(&["llama-bpe", "llama3", "llama-v3"], WordCut::Letters { digits: "{1,3}" })
    },
    PreTokenizerNames::plain(&["smaug-bpe", "dbrx"], WordCut::Letters { digits: "{1,3}" }),
    PreTokenizerNames {
        add_bos: None,
        ..PreTokenizerNames::plain(&["glm4", "chatglm-bpe"], WordCut::Letters { digits: "{1,3}" })
    },
    PreTokenizerNames::plain(&["seed-coder"], WordCut::LettersApartFromLineEnds),
    PreTokenizerNames {
        compose: true,
        ..PreTokenizerNames::plain(&["qwen2", "deepseek-r1-qwen"], WordCut::Letters { digits: "" })
    },
    PreTokenizerNames::plain(&["gpt-4o"], WordCut::Cased { contractions: true, digits: "{1,3}" }),
    PreTokenizerNames {
        ignore_merges: true,
        add_bos: Some(true),
        ..PreTokenizerNames::plain(&["tekken"], WordCut::Cased { contractions: false, digits: "" })
    },
];

/// Classes of tokenizers whose files are a vocabulary and its merges, and the name of their pre-tokenizer.
pub const VOCABULARY_CLASSES: &[(&str, &str)] =
    &[("GPT2Tokenizer", "gpt-2"), ("CodeGenTokenizer", "gpt-2"), ("Qwen2Tokenizer", "qwen2")];

/// SentencePiece tokenizers of GGUF files that cannot be read, and whose they are.
pub const UNREADABLE_PRE_TOKENIZERS: &[(&str, &str)] = &[("chatglm-spm", "ChatGLM 3")];

/// Turns of a chat end with one of these, which GGUF files do not always name as an end.
pub const TURN_ENDS: &[&str] = &[
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<end_of_turn>",
    "<|end_of_role|>",
    "<|observation|>",
    "[|endofturn|]",
];

/// Begin and end of tool calls and of reasoning: keys of genai_config.json, and the tokens that families have for them.
pub const MARKERS: &[(&str, &[&str])] = &[
    ("bot_token_id", &["<tool_call>", "<|tool_call|>"]),
    ("eot_token_id", &["</tool_call>", "<|/tool_call|>"]),
    ("bor_token_id", &["<think>"]),
    ("eor_token_id", &["</think>"]),
];
