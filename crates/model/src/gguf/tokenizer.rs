//! The tokenizer of a GGUF file as `tokenizer.json` and `tokenizer_config.json`.

use super::Found;
use super::file::Gguf;
use crate::tokenizer::parts::{Ends, Parts};
use crate::tokenizer::pieces::{Pieces, SPACE, kind, split_merge};
use crate::tokenizer::pre_tokenizer::pre_tokenizer;
use olive_arch::families::UNREADABLE_PRE_TOKENIZERS;
use olive_arch::{Family, GgufFamily};
use serde_json::{Value, json};

/// The two files of a tokenizer.
pub(super) struct Files {
    pub(super) tokenizer: Value,
    pub(super) config: Value,
}

/// # Errors
/// A kind of tokenizer that is not known, or lists that are missing or do not fit each other.
pub(super) fn files(gguf: &Gguf, family: &Family, context_length: usize) -> Found<Files> {
    let reader = TokenizerReader::new(gguf)?;
    let model = gguf.text("tokenizer.ggml.model")?.ok_or("it has no tokenizer")?;
    let (tokenizer, class, add_bos) = match model {
        "gpt2" => reader.byte_level()?,
        "llama" => reader.sentence_piece(&family.gguf)?,
        other => {
            return Err(format!("its tokenizer `{other}` is not supported; supported are gpt2 and llama"));
        }
    };
    let mut config = json!({
        "tokenizer_class": class,
        "add_bos_token": add_bos,
        "add_eos_token": reader.flag("add_eos_token")?.unwrap_or(false),
        "clean_up_tokenization_spaces": false,
        "model_max_length": context_length,
    });
    for (name, key) in
        [("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("pad_token", "padding")]
    {
        if let Some((token, _)) = reader.special(key)? {
            config[name] = json!(token);
        }
    }
    // A file may carry the original as it was.
    let original = gguf.text("tokenizer.huggingface.json")?.and_then(|text| serde_json::from_str(text).ok());
    Ok(Files { tokenizer: original.unwrap_or(tokenizer), config })
}

struct TokenizerReader<'a> {
    gguf: &'a Gguf,
    pieces: Pieces<'a>,
}

impl<'a> TokenizerReader<'a> {
    fn new(gguf: &'a Gguf) -> Found<TokenizerReader<'a>> {
        let tokens = gguf.texts("tokenizer.ggml.tokens")?.ok_or("it has no tokens")?;
        let kinds =
            gguf.sizes("tokenizer.ggml.token_type")?.unwrap_or_else(|| vec![kind::NORMAL; tokens.len()]);
        if kinds.len() != tokens.len() {
            return Err(format!("it has {} tokens, but {} token types", tokens.len(), kinds.len()));
        }
        Ok(TokenizerReader { gguf, pieces: Pieces { tokens, kinds } })
    }

    fn flag(&self, name: &str) -> Found<Option<bool>> {
        self.gguf.flag(&format!("tokenizer.ggml.{name}"))
    }

    /// Text and id of a token with a meaning: `bos`, `eos`, …
    fn special(&self, name: &str) -> Found<Option<(&'a str, usize)>> {
        let id = self.gguf.id(&format!("tokenizer.ggml.{name}_token_id"))?;
        Ok(id.and_then(|id| Some((*self.pieces.tokens.get(id)?, id))))
    }

    /// Byte-level BPE (GPT-2 and later): merges are listed.
    fn byte_level(&self) -> Found<(Value, &'static str, bool)> {
        let pre = pre_tokenizer(self.gguf.text("tokenizer.ggml.pre")?)?;
        let merges = self.gguf.texts("tokenizer.ggml.merges")?.ok_or("it has no merges")?;
        let merges = merges
            .into_iter()
            // A part may begin with a space only in theory; the separator is the first one after that.
            .map(|merge| split_merge(merge).ok_or_else(|| format!("`{merge}` is not a merge")))
            .collect::<Found<Vec<_>>>()?;
        let stated = self.flag("add_bos_token")?;
        let add_bos = pre.add_bos.is_some_and(|default| stated.unwrap_or(default));
        let parts = Parts::byte_level(pre, self.pieces.vocabulary(), &merges);
        let tokenizer = parts.assemble(&self.pieces.added(|_| false), &self.ends(add_bos)?);
        Ok((tokenizer, "PreTrainedTokenizerFast", add_bos))
    }

    /// SentencePiece BPE: merges follow from the scores.
    fn sentence_piece(&self, family: &GgufFamily) -> Found<(Value, &'static str, bool)> {
        let pre = self.gguf.text("tokenizer.ggml.pre")?;
        if let Some((name, whose)) = UNREADABLE_PRE_TOKENIZERS.iter().find(|(name, _)| pre == Some(name)) {
            return Err(format!("its tokenizer `{name}` ({whose}) is not supported"));
        }
        let scores = self.gguf.numbers("tokenizer.ggml.scores")?.ok_or("it has no token scores")?;
        if scores.len() != self.pieces.tokens.len() {
            return Err(format!("it has {} tokens, but {} scores", self.pieces.tokens.len(), scores.len()));
        }
        let prefix = self.flag("add_space_prefix")?.unwrap_or(true);
        let add_bos = self.flag("add_bos_token")?.unwrap_or(true);
        let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
        let normalizer = if prefix {
            json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, replace]})
        } else {
            replace
        };
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if prefix {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let unknown = self.special("unknown")?.map(|(token, _)| token);
        let model = self.pieces.byte_pair_model(&scores, unknown);
        let decoder = json!({"type": "Sequence", "decoders": decoders});
        let parts = Parts { normalizer, pre_tokenizer: Value::Null, decoder, model };
        let tokenizer = parts.assemble(&self.pieces.added(family.swallows_space), &self.ends(add_bos)?);
        Ok((tokenizer, family.sentence_piece_class, add_bos))
    }

    /// What is put around texts.
    fn ends(&self, add_bos: bool) -> Found<Ends<'a>> {
        let add_eos = self.flag("add_eos_token")?.unwrap_or(false);
        let special = |name: &str, added: bool| Ok::<_, String>(self.special(name)?.filter(|_| added));
        Ok(Ends { bos: special("bos", add_bos)?, eos: special("eos", add_eos)? })
    }
}
