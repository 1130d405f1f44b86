//! The tokenizer of a file: tokens by id with their kinds, merges or scores, and which of them mean something.

use super::file::File;
use crate::error::ExportError;
use olive_arch::Spec;
use olive_core::Result;
use olive_model::ModelFolder;
use olive_model::tokenizer::pre_tokenizer_name;
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;

/// Kinds of tokens, as SentencePiece numbers them.
mod kind {
    pub(super) const NORMAL: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const CONTROL: i32 = 3;
    pub(super) const USER_DEFINED: i32 = 4;
    pub(super) const UNUSED: i32 = 5;
    pub(super) const BYTE: i32 = 6;
}

/// A space in tokens of SentencePiece, and in those of byte-level ones.
const SPACE: &str = "\u{2581}";
const BYTE_SPACE: &str = "\u{120}";

/// The score of a token that no merge makes.
const UNMERGED: f32 = -1e6;

/// How texts become tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Model {
    /// Byte-level BPE, cut in the way of this name.
    ByteLevel { cut: &'static str },
    /// SentencePiece's BPE.
    SentencePiece,
}

pub(super) struct Tokenizer {
    model: Model,
    tokens: Vec<String>,
    kinds: Vec<i32>,
    /// Pairs that are merged, the first first.
    merges: Vec<[String; 2]>,
    /// Names of the keys, and the tokens.
    special: Vec<(&'static str, u32)>,
    flags: Vec<(&'static str, bool)>,
    template: Option<String>,
    /// Whether texts are given a space in front, where a reader asks.
    adds_space: Option<bool>,
}

impl Tokenizer {
    /// # Errors
    /// A tokenizer that is missing, or that no file can describe.
    pub fn read(folder: &ModelFolder, spec: &Spec) -> Result<Tokenizer> {
        let reader = Reader::open(folder)?;
        let model = reader.model()?;
        let adds_space = reader.adds_space(model, spec);
        let (tokens, kinds) = reader.tokens(spec.vocab_size, model)?;
        let ids: HashMap<&str, u32> =
            tokens.iter().zip(0..).map(|(token, id)| (token.as_str(), id)).collect();
        let special = reader.special(&ids, folder)?;
        let merges = reader.merges()?;
        let flags = reader.flags(&special, &tokens);
        let template = folder.chat_template()?.map(|(_, text)| text);
        Ok(Tokenizer { model, merges, special, flags, template, tokens, kinds, adds_space })
    }

    pub fn add(&self, file: &mut File) {
        let (model, cut) = match self.model {
            Model::ByteLevel { cut } => ("gpt2", cut),
            Model::SentencePiece => ("llama", "default"),
        };
        file.text("tokenizer.ggml.model", model);
        file.text("tokenizer.ggml.pre", cut);
        file.texts("tokenizer.ggml.tokens", self.tokens.iter().map(String::as_str));
        file.signed_list("tokenizer.ggml.token_type", &self.kinds);
        match self.model {
            Model::ByteLevel { .. } => {
                let part = |part: &String| part.replace(' ', BYTE_SPACE);
                let merges: Vec<String> = self
                    .merges
                    .iter()
                    .map(|[left, right]| format!("{} {}", part(left), part(right)))
                    .collect();
                file.texts("tokenizer.ggml.merges", merges.iter().map(String::as_str));
            }
            Model::SentencePiece => file.floats("tokenizer.ggml.scores", &self.scores()),
        }
        if let Some(adds_space) = self.adds_space {
            file.flag("tokenizer.ggml.add_space_prefix", adds_space);
        }
        for (name, id) in &self.special {
            file.number(&format!("tokenizer.ggml.{name}_token_id"), *id);
        }
        for (name, flag) in &self.flags {
            file.flag(&format!("tokenizer.ggml.{name}"), *flag);
        }
        if let Some(template) = &self.template {
            file.text("tokenizer.chat_template", template);
        }
    }

    /// SentencePiece merges the pair whose result has the highest score: that of the first merge.
    fn scores(&self) -> Vec<f32> {
        let mut first: HashMap<String, usize> = HashMap::new();
        for (place, [left, right]) in self.merges.iter().enumerate() {
            first.entry(format!("{left}{right}")).or_insert(place);
        }
        let score = |token: &String| first.get(token).map_or(UNMERGED, |place| 0.0 - *place as f32);
        self.tokens.iter().map(score).collect()
    }
}

struct Reader {
    path: PathBuf,
    /// `tokenizer.json`.
    json: Value,
    /// `tokenizer_config.json`.
    config: Value,
}

impl Reader {
    fn open(folder: &ModelFolder) -> Result<Reader> {
        let path = folder.dir.clone();
        let refuse = |reason: String, hint| ExportError::Tokenizer { path: path.clone(), reason, hint };
        let save = "a GGUF file has its tokenizer in it: put tokenizer.json beside config.json";
        let text = folder.tokenizer_json()?.ok_or_else(|| refuse("there is none".into(), save))?;
        let json = serde_json::from_slice(&text).map_err(|error| refuse(error.to_string(), save))?;
        Ok(Reader { json, config: folder.tokenizer_config()?, path })
    }

    fn refuse(&self, reason: String, hint: &'static str) -> ExportError {
        ExportError::Tokenizer { path: self.path.clone(), reason, hint }
    }

    fn model(&self) -> Result<Model, ExportError> {
        const KNOWN: &str =
            "files are for byte-level BPE, and for SentencePiece's with bytes to fall back on";
        let model = &self.json["model"];
        if model["type"] != "BPE" {
            return Err(self.refuse(format!("its model is {}", model["type"]), KNOWN));
        }
        if let Some(cut) = pre_tokenizer_name(&self.json) {
            return Ok(Model::ByteLevel { cut });
        }
        let is_of_bytes = self.json["pre_tokenizer"].to_string().contains("ByteLevel");
        if !is_of_bytes && model["byte_fallback"] == Value::Bool(true) {
            return Ok(Model::SentencePiece);
        }
        let cut = format!("no reader is known to cut texts as it does: {}", self.json["pre_tokenizer"]);
        Err(self.refuse(cut, KNOWN))
    }

    fn adds_space(&self, model: Model, spec: &Spec) -> Option<bool> {
        // Readers would add one to texts of a Gemma, whatever its tokenizer is.
        let is_gemma = spec.norm_plus_one;
        let prepends = || {
            let cutter = &self.json["pre_tokenizer"];
            self.json["normalizer"].to_string().contains("\"Prepend\"")
                || cutter["type"] == "Metaspace" && cutter["prepend_scheme"] != "never"
        };
        match model {
            Model::ByteLevel { .. } => is_gemma.then_some(false),
            Model::SentencePiece => Some(!is_gemma && prepends()),
        }
    }

    /// Texts and kinds by id, as many as the embedding has rows.
    fn tokens(&self, rows: usize, model: Model) -> Result<(Vec<String>, Vec<i32>), ExportError> {
        let mut tokens: Vec<Option<(String, i32)>> = vec![None; rows];
        let mut put = |id: usize, token: String, kind: i32| match tokens.get_mut(id) {
            Some(place) => {
                *place = Some((token, kind));
                Ok(())
            }
            None => {
                let reason = format!("its token {id} is beyond the {rows} rows of the embedding");
                Err(self.refuse(reason, "the embedding needs a row for every token"))
            }
        };
        let unknown = self.json["model"]["unk_token"].as_str();
        let of_bytes = |token: &str| token.len() == 6 && token.starts_with("<0x") && token.ends_with('>');
        for (token, id) in self.json["model"]["vocab"].as_object().into_iter().flatten() {
            let kind = match model {
                Model::SentencePiece if of_bytes(token) => kind::BYTE,
                Model::SentencePiece if unknown == Some(token) => kind::UNKNOWN,
                _ => kind::NORMAL,
            };
            put(as_index(id), token.clone(), kind)?;
        }
        for added in self.json["added_tokens"].as_array().into_iter().flatten() {
            let content = added["content"].as_str().unwrap_or_default();
            let is_unknown = matches!(model, Model::SentencePiece) && unknown == Some(content);
            let (text, kind) = match added["special"] == Value::Bool(true) || is_mark(content) {
                _ if is_unknown => (content.to_owned(), kind::UNKNOWN),
                true => (content.to_owned(), kind::CONTROL),
                false => (content.replace(SPACE, " "), kind::USER_DEFINED),
            };
            put(as_index(&added["id"]), text, kind)?;
        }
        let filler = |(id, token): (usize, Option<(String, i32)>)| {
            token.unwrap_or_else(|| (format!("[PAD{id}]"), kind::UNUSED))
        };
        Ok(tokens.into_iter().enumerate().map(filler).unzip())
    }

    fn merges(&self) -> Result<Vec<[String; 2]>, ExportError> {
        let merge = |merge: &Value| {
            let parts = match merge {
                Value::String(text) => text.split_once(' '),
                Value::Array(parts) => match parts.as_slice() {
                    [left, right] => left.as_str().zip(right.as_str()),
                    _ => None,
                },
                _ => None,
            };
            let (left, right) =
                parts.ok_or_else(|| self.refuse(format!("`{merge}` is no merge"), "its file is damaged"))?;
            Ok([left.to_owned(), right.to_owned()])
        };
        self.json["model"]["merges"].as_array().into_iter().flatten().map(merge).collect()
    }

    /// The tokens that mean something: those that the tokenizer names, or else the model.
    fn special(&self, ids: &HashMap<&str, u32>, folder: &ModelFolder) -> Result<Vec<(&'static str, u32)>> {
        let known = [
            ("bos", "bos", "bos"),
            ("eos", "eos", "eos"),
            ("unknown", "unk", "unk"),
            ("seperator", "sep", "sep"),
            ("padding", "pad", "pad"),
        ];
        let named = |name: &str| {
            let token = &self.config[format!("{name}_token")];
            let text = token.as_str().or_else(|| token["content"].as_str())?;
            ids.get(text).copied()
        };
        let of_model = |name: &str| {
            let id = &folder.config[format!("{name}_token_id")];
            let id = id.as_array().and_then(|ids| ids.first()).unwrap_or(id);
            id.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| (*id as usize) < ids.len())
        };
        let mut special: Vec<(&str, u32)> = known
            .into_iter()
            .filter_map(|(key, name, in_model)| Some((key, named(name).or_else(|| of_model(in_model))?)))
            .collect();
        let eos = special.iter().find(|(key, _)| *key == "eos").map(|(_, id)| *id);
        special.extend(self.end_of_turn(eos, ids, folder)?.map(|id| ("eot", id)));
        Ok(special)
    }

    /// A further token that ends answers, if the chat template writes it.
    fn end_of_turn(
        &self,
        eos: Option<u32>,
        ids: &HashMap<&str, u32>,
        folder: &ModelFolder,
    ) -> Result<Option<u32>> {
        let (Some(settings), Some((_, template))) = (folder.generation_config()?, folder.chat_template()?)
        else {
            return Ok(None);
        };
        let stops = settings["eos_token_id"].as_array().into_iter().flatten().filter_map(Value::as_u64);
        let text_of = |id: u64| ids.iter().find(|(_, known)| u64::from(**known) == id).map(|(text, _)| *text);
        let mut others = stops.filter(|id| eos.map(u64::from) != Some(*id));
        let found = others.find(|id| text_of(*id).is_some_and(|text| template.contains(text)));
        Ok(found.and_then(|id| u32::try_from(id).ok()))
    }

    /// Whether texts are put between special tokens.
    fn flags(&self, special: &[(&'static str, u32)], tokens: &[String]) -> Vec<(&'static str, bool)> {
        let text = |key: &str| {
            let (_, id) = special.iter().find(|(known, _)| *known == key)?;
            tokens.get(*id as usize)
        };
        let processor = &self.json["post_processor"];
        let all = processor["processors"].as_array().map_or(std::slice::from_ref(processor), Vec::as_slice);
        let Some(template) = all.iter().find(|one| one["type"] == "TemplateProcessing") else {
            let stated = |(key, name)| Some((key, self.config[name].as_bool()?));
            return [("add_bos_token", "add_bos_token"), ("add_eos_token", "add_eos_token")]
                .into_iter()
                .filter_map(stated)
                .collect();
        };
        let ends = template["single"].as_array().map_or(&[][..], Vec::as_slice);
        let is = |place: Option<&Value>, key: &str| {
            let id = place.and_then(|place| place["SpecialToken"]["id"].as_str());
            id.is_some() && id == text(key).map(String::as_str)
        };
        let begins = is(ends.first(), "bos");
        let mut flags = Vec::new();
        if text("bos").is_some() {
            flags.push(("add_bos_token", begins));
        }
        if is(ends.last(), "eos") {
            flags.push(("add_eos_token", true));
        }
        if begins {
            flags.push(("add_sep_token", false));
        }
        flags
    }
}

/// An id; one that is none is beyond every embedding.
fn as_index(id: &Value) -> usize {
    id.as_u64().and_then(|id| usize::try_from(id).ok()).unwrap_or(usize::MAX)
}

/// Texts that look as if nobody would say them.
fn is_mark(text: &str) -> bool {
    text.starts_with("<|") && text.ends_with("|>")
        || matches!(text, "<pad>" | "<mask>")
        || text.starts_with("<unused") && text.ends_with('>')
}
