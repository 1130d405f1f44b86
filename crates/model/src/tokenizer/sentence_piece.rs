//! `tokenizer.model` of SentencePiece, as a tokenizer that cuts texts as SentencePiece does.

use super::Found;
use super::parts::{Ends, Parts};
use super::pieces::{Pieces, SPACE, kind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use serde_json::{Value, json};

/// The file, as far as it matters here: `sentencepiece_model.proto`.
#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<Normalizer>,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(float, tag = "2")]
    score: f32,
    #[prost(uint32, optional, tag = "3")]
    kind: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct Trainer {
    #[prost(uint32, optional, tag = "3")]
    model_type: Option<u32>,
    #[prost(bool, tag = "24")]
    treat_whitespace_as_suffix: bool,
    #[prost(bool, tag = "35")]
    byte_fallback: bool,
    #[prost(int32, tag = "40")]
    unk_id: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Normalizer {
    #[prost(bytes = "vec", tag = "2")]
    precompiled_charsmap: Vec<u8>,
    #[prost(bool, optional, tag = "3")]
    add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    remove_extra_whitespaces: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    escape_whitespaces: Option<bool>,
}

/// Values of `model_type`; without one it is the first.
mod model_type {
    pub(super) const UNIGRAM: u32 = 1;
    pub(super) const BPE: u32 = 2;
}

/// The file as a `tokenizer.json`.
///
/// # Errors
/// No such file, or a kind of model that has no counterpart.
pub(super) fn read(content: &[u8], config: &Value) -> Found<Value> {
    let file = ModelProto::decode(content).unwrap_or_default();
    if file.pieces.is_empty() {
        return Err("tokenizer.model is damaged, or no model of SentencePiece".into());
    }
    let pieces = Pieces {
        tokens: file.pieces.iter().map(|piece| piece.text.as_str()).collect(),
        kinds: file
            .pieces
            .iter()
            .map(|piece| piece.kind.map_or(kind::NORMAL, |kind| kind as usize))
            .collect(),
    };
    let (trainer, normalizer) = (file.trainer.unwrap_or_default(), file.normalizer.unwrap_or_default());
    if trainer.treat_whitespace_as_suffix {
        return Err("tokenizer.model puts spaces at the ends of words, which is not supported".into());
    }
    let scores: Vec<f32> = file.pieces.iter().map(|piece| piece.score).collect();
    let whole = pieces.of_kind(kind::USER_DEFINED);
    let parts = Parts {
        model: model(&pieces, &scores, &trainer, !whole.is_empty())?,
        pre_tokenizer: pre_tokenizer(&normalizer, prefixes(config), whole),
        decoder: decoder(&normalizer, trainer.byte_fallback),
        normalizer: normalizing(&normalizer, prefixes(config)),
    };
    // Pieces of the user are part of the text, and not found before it is normalised.
    let added: Vec<Value> =
        pieces.added(|_| false).into_iter().filter(|token| token["special"] == true).collect();
    Ok(parts.assemble(&added, &Ends::default()))
}

/// Which texts get a space in front.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefixes {
    /// What follows a special token, too.
    Every,
    First,
}

fn prefixes(config: &Value) -> Prefixes {
    if config["legacy"] == Value::Bool(false) { Prefixes::First } else { Prefixes::Every }
}

fn model(pieces: &Pieces<'_>, scores: &[f32], trainer: &Trainer, has_whole: bool) -> Found<Value> {
    let unknown = usize::try_from(trainer.unk_id).ok().filter(|id| *id < pieces.tokens.len());
    match trainer.model_type.unwrap_or(model_type::UNIGRAM) {
        model_type::UNIGRAM => {
            let vocabulary: Vec<_> = pieces.tokens.iter().zip(scores).collect();
            Ok(json!({
                "type": "Unigram", "unk_id": unknown, "vocab": vocabulary, "byte_fallback": trainer.byte_fallback,
            }))
        }
        model_type::BPE => {
            let mut model = pieces.byte_pair_model(scores, unknown.map(|id| pieces.tokens[id]));
            model["byte_fallback"] = trainer.byte_fallback.into();
            model["ignore_merges"] = has_whole.into();
            Ok(model)
        }
        other => {
            Err(format!("tokenizer.model is of the type {other}; supported are unigram (1) and BPE (2)"))
        }
    }
}

/// What SentencePiece does to a text first, in its order.
fn normalizing(spec: &Normalizer, prefixes: Prefixes) -> Value {
    let replace =
        |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
    let mut steps = Vec::new();
    if !spec.precompiled_charsmap.is_empty() {
        let map = STANDARD.encode(&spec.precompiled_charsmap);
        steps.push(json!({"type": "Precompiled", "precompiled_charsmap": map}));
    }
    if spec.remove_extra_whitespaces.unwrap_or(true) {
        // Spaces only: line ends stay.
        steps.push(replace(json!({"Regex": r"\A +| +\z"}), ""));
        steps.push(replace(json!({"Regex": " {2,}"}), " "));
    }
    if spec.escape_whitespaces.unwrap_or(true) {
        steps.push(replace(json!({"String": " "}), SPACE));
    }
    if spec.add_dummy_prefix.unwrap_or(true) && prefixes == Prefixes::Every {
        // A text that begins with a space gets a second one, which `Metaspace` would leave out.
        steps.push(replace(json!({"Regex": format!(r"\A{SPACE}")}), &SPACE.repeat(2)));
    }
    json!({"type": "Sequence", "normalizers": steps})
}

/// Puts the space in front, and cuts out what is a token wherever it stands.
fn pre_tokenizer(spec: &Normalizer, prefixes: Prefixes, mut whole: Vec<&str>) -> Value {
    let mut steps = Vec::new();
    if spec.add_dummy_prefix.unwrap_or(true) {
        let scheme = if prefixes == Prefixes::Every { "always" } else { "first" };
        steps.push(json!({
            "type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": false,
        }));
    }
    if !whole.is_empty() {
        whole.sort_by_key(|piece| std::cmp::Reverse(piece.len()));
        let pattern = whole.iter().map(|piece| regex::escape(piece)).collect::<Vec<_>>().join("|");
        steps.push(json!({
            "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false,
        }));
    }
    if steps.is_empty() { Value::Null } else { json!({"type": "Sequence", "pretokenizers": steps}) }
}

fn decoder(spec: &Normalizer, byte_fallback: bool) -> Value {
    let mut steps = vec![json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "})];
    if byte_fallback {
        steps.push(json!({"type": "ByteFallback"}));
    }
    steps.push(json!({"type": "Fuse"}));
    if spec.add_dummy_prefix.unwrap_or(true) {
        steps.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    json!({"type": "Sequence", "decoders": steps})
}
