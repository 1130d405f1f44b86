//! A model of any form, ready to answer: tokenizer, chat template, defaults, and what computes the logits.

use super::loaded_model::{LoadedModel, ModelSequence};
use super::{ActiveAdapter, Library, OnnxSession};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::device::Device;
use olive_core::handle::ModelHandle;
use olive_data::chat_template::{Beside, ChatTemplate, GenerationPrompt, Message};
use olive_decoder::{
    GenerateError, Generation, LanguageModel, Limits, SamplingOptions, TextStream, generate, ignored_settings,
};
use olive_model::ModelFolder;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokenizers::Tokenizer;

/// Answers prompts with one model, in any number of sequences.
pub struct Generator {
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    model: Arc<LoadedModel>,
    stop: BTreeSet<u32>,
    defaults: Defaults,
}

/// What a model's files say about it.
struct Facts {
    stop: Vec<u32>,
    defaults: Defaults,
}

/// What the model's own configuration says about generation.
struct Defaults {
    sampling: SamplingOptions,
    /// See [`ignored_settings`].
    ignored: Vec<String>,
}

/// What to answer.
#[derive(Debug, Clone, Copy)]
pub enum Prompt<'a> {
    /// Text that is continued as it stands.
    Raw(&'a str),
    /// The same, with no special tokens but those that the text spells out.
    Marked(&'a str),
    /// A conversation that the model's chat template writes down; an answer of the assistant follows.
    Chat(&'a [Message]),
}

/// Where special tokens come from when a text is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpecialTokens {
    /// The tokenizer puts its own around the text, if it is set up so.
    #[default]
    Added,
    /// Only those that the text spells out.
    InText,
}

/// A finished answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub text: String,
    pub prompt_ids: Vec<u32>,
    pub generation: Generation,
}

impl Generator {
    /// Loads a model. `adapter` is for an ONNX model. A float model computes on `device`; `library` is asked for only
    /// when the form needs ONNX Runtime, which computes on the CPU.
    ///
    /// # Errors
    /// Missing or damaged files, an unsupported architecture, no ONNX Runtime.
    pub fn open(
        handle: &ModelHandle,
        adapter: &ActiveAdapter,
        device: &Device,
        library: &dyn Fn() -> Result<Library>,
    ) -> Result<Generator> {
        let model = LoadedModel::open(handle, adapter, None, device, library)?;
        Self::of(handle, Arc::new(model))
    }

    /// Gives `model`, which was loaded from `handle`, what it needs beside its weights.
    ///
    /// # Errors
    /// Missing or damaged files.
    pub fn of(handle: &ModelHandle, model: Arc<LoadedModel>) -> Result<Generator> {
        let folder = ModelFolder::of(handle)?;
        let Facts { stop, defaults } = match &*model {
            LoadedModel::Float(_) => Self::float(&folder)?,
            LoadedModel::Onnx(session) => Self::onnx(session),
        };
        let tokenizer = folder.tokenizer()?;
        let mut stop: BTreeSet<u32> = stop.into_iter().collect();
        // A chat model may end its turns with a token that its configuration forgets.
        let config = folder.tokenizer_config()?;
        let eos = config["eos_token"].as_str().or_else(|| config["eos_token"]["content"].as_str());
        stop.extend(eos.and_then(|token| tokenizer.token_to_id(token)));
        let template = ChatTemplate::from_folder(&folder)?;
        Ok(Generator { tokenizer, template, model, stop, defaults })
    }

    fn float(folder: &ModelFolder) -> Result<Facts> {
        let generation = folder.generation_config()?;
        // `generation_config.json` goes before `config.json`, as in transformers.
        let eos = generation.as_ref().map(|config| stop_ids(&config["eos_token_id"])).transpose()?;
        let stop = match eos.filter(|ids| !ids.is_empty()) {
            Some(ids) => ids,
            None => stop_ids(&folder.config["eos_token_id"])?,
        };
        let defaults = Defaults {
            sampling: SamplingOptions::from_generation_config(generation.as_ref())?,
            ignored: generation.as_ref().and_then(Value::as_object).map_or_else(Vec::new, ignored_settings),
        };
        Ok(Facts { stop, defaults })
    }

    fn onnx(session: &OnnxSession) -> Facts {
        let search = &session.config().search;
        let sampling = SamplingOptions::with_defaults(
            search.do_sample,
            search.temperature,
            search.top_k,
            search.top_p,
            search.repetition_penalty,
        );
        let mut settings = search.others.clone();
        settings.insert("do_sample".into(), search.do_sample.into());
        let defaults = Defaults { sampling, ignored: ignored_settings(&settings) };
        Facts { stop: session.config().model.eos_token_id.clone(), defaults }
    }

    /// An empty sequence, for one conversation.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new_sequence(&self) -> Result<ModelSequence> {
        self.model.new_sequence()
    }

    /// What computes the logits.
    pub fn model(&self) -> &LoadedModel {
        &self.model
    }

    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Tokens that end an answer.
    pub fn stop_tokens(&self) -> &BTreeSet<u32> {
        &self.stop
    }

    /// What the model's own configuration says about sampling.
    pub fn defaults(&self) -> SamplingOptions {
        self.defaults.sampling
    }

    /// Settings of the model's own configuration that would change its answers elsewhere and do not here, as `key: value`.
    pub fn ignored_settings(&self) -> &[String] {
        &self.defaults.ignored
    }

    /// Whether the model comes with a chat template; without one, only [`Prompt::Raw`] makes sense.
    pub fn has_chat_template(&self) -> bool {
        self.template.is_some()
    }

    /// The tokens of a prompt. A chat template writes special tokens itself, so none are added to its text.
    ///
    /// # Errors
    /// The template refuses the conversation, the tokenizer fails, or gives a token that the model does not have.
    pub fn encode(&self, prompt: Prompt<'_>) -> Result<Vec<u32>> {
        let (text, special) = match prompt {
            Prompt::Raw(text) => (text.to_owned(), SpecialTokens::Added),
            Prompt::Marked(text) => (text.to_owned(), SpecialTokens::InText),
            Prompt::Chat(messages) => match &self.template {
                Some(template) => (template.render(messages, GenerationPrompt::Add)?, SpecialTokens::InText),
                None => (plain(messages), SpecialTokens::Added),
            },
        };
        self.tokens(text, special)
    }

    /// The tokens of a conversation whose messages have whatever keys the model's chat template looks at; `None` if the model
    /// has no template.
    ///
    /// # Errors
    /// As [`Generator::encode`].
    pub fn encode_conversation(
        &self,
        messages: &olive_data::Value,
        beside: Beside<'_>,
    ) -> Result<Option<Vec<u32>>> {
        let Some(template) = &self.template else { return Ok(None) };
        let text = template.render_with(messages, beside, GenerationPrompt::Add)?;
        self.tokens(text, SpecialTokens::InText).map(Some)
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// The tokenizer fails, or gives a token that the model does not have.
    pub fn tokens(&self, text: String, special: SpecialTokens) -> Result<Vec<u32>> {
        let encoding = self
            .tokenizer
            .encode(text, special == SpecialTokens::Added)
            .map_err(|e| GenerateError::Tokenizer(e.to_string()))?;
        let (ids, vocabulary) = (encoding.get_ids(), self.model.vocabulary());
        if let Some(place) = ids.iter().position(|&id| id as usize >= vocabulary) {
            let token = encoding.get_tokens()[place].clone();
            return Err(GenerateError::BeyondVocabulary { token, id: ids[place], vocabulary }.into());
        }
        Ok(ids.to_vec())
    }

    /// Most tokens that the model can look at.
    pub fn context_length(&self) -> usize {
        self.model.context_length()
    }

    /// Computes a prompt and then exactly `new_tokens` tokens in a sequence, the most probable ones, reusing nothing and
    /// stopping at nothing: for measuring.
    ///
    /// # Errors
    /// A prompt that is empty or too long, or a failed computation.
    pub fn run_through(
        &self,
        sequence: &mut ModelSequence,
        prompt: &[u32],
        new_tokens: usize,
        cancel: &CancelFlag,
    ) -> Result<Generation> {
        self.model.truncate(sequence, 0)?;
        let limits = Limits {
            max_new_tokens: new_tokens,
            context_length: self.context_length(),
            stop: BTreeSet::new(),
        };
        let greedy = SamplingOptions::GREEDY;
        generate(&*self.model, sequence, prompt, &greedy, limits, cancel, &mut |_| Ok(()))
    }

    /// Answers in a sequence, giving the text to `on_text` piece by piece. What the prompt has in common with what the
    /// sequence holds is not computed again, where the model can go back.
    ///
    /// # Errors
    /// A prompt that is empty or too long, a failed computation, or an error of `on_text`.
    pub fn answer(
        &self,
        sequence: &mut ModelSequence,
        prompt: Prompt<'_>,
        options: &SamplingOptions,
        max_new_tokens: usize,
        cancel: &CancelFlag,
        on_text: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<Answer> {
        let prompt_ids = self.encode(prompt)?;
        let limits =
            Limits { max_new_tokens, context_length: self.context_length(), stop: self.stop.clone() };
        let mut stream = match prompt {
            Prompt::Raw(_) | Prompt::Marked(_) => TextStream::after(&self.tokenizer, &prompt_ids),
            Prompt::Chat(_) => TextStream::new(&self.tokenizer),
        };
        let mut text = String::new();
        let mut give = |piece: String| {
            text.push_str(&piece);
            if piece.is_empty() { Ok(()) } else { on_text(&piece) }
        };
        let mut on_token = |token| give(stream.push(token)?);
        let generation =
            generate(&*self.model, sequence, &prompt_ids, options, limits, cancel, &mut on_token)?;
        give(stream.finish()?)?;
        Ok(Answer { text, prompt_ids, generation })
    }
}

/// `eos_token_id`: a number or a list of numbers; null and negative numbers stand for none.
fn stop_ids(value: &Value) -> Result<Vec<u32>, GenerateError> {
    let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let mut ids = Vec::with_capacity(list.len());
    for id in list.iter().filter(|id| !id.is_null()) {
        match id.as_u64() {
            Some(id) => ids.extend(u32::try_from(id)),
            None if id.is_i64() => {}
            None => {
                let (key, value) = ("eos_token_id", value.to_string());
                return Err(GenerateError::Setting {
                    key,
                    value,
                    wanted: "the id of a token, or a list of ids",
                });
            }
        }
    }
    Ok(ids)
}

/// A conversation without a template: what was said, in paragraphs.
fn plain(messages: &[Message]) -> String {
    messages.iter().map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n\n")
}
