//! Chat templates: Jinja sources that come with tokenizers, rendered as Python's jinja2 would.

use crate::calendar;
use crate::conversation;
use crate::error::DataError;
use crate::jinja_environment::{NAME, NOW, add_clock, compiled};
use crate::jinja_limits;
pub use crate::jinja_marks::MarkedText;
use crate::jinja_marks::{self, Marks};
use crate::jinja_value::to_jinja;
use crate::special_tokens::SpecialTokens;
use crate::value::Value;
use chrono::NaiveDate;
use minijinja::value::merge_maps;
use minijinja::{Environment, ErrorKind, context};
use olive_core::Result;
use olive_model::ModelFolder;
use std::path::PathBuf;
use std::sync::Arc;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    pub content: String,
}

impl Message {
    fn to_jinja(&self) -> minijinja::Value {
        minijinja::Value::from_pairs([("role", self.role.as_str()), ("content", self.content.as_str())])
    }
}

/// Whether a rendered conversation ends where the assistant begins to speak: `add_generation_prompt` of templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationPrompt {
    Add,
    Omit,
}

/// What a template gets beside the messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside<'a> {
    /// Schemas of the tools that there are.
    pub tools: &'a [Value],
    /// Variables by name; the first of a name is taken.
    pub variables: &'a [(String, Value)],
}

/// A template, compiled, with the special tokens that it may insert.
#[derive(Debug)]
pub struct ChatTemplate {
    /// Where it stands, if that is a file.
    file: Option<PathBuf>,
    environment: Arc<Environment<'static>>,
    /// The same with signs where its `generation` marks are, if it has any.
    marking: Option<Arc<Environment<'static>>>,
    tokens: minijinja::Value,
    /// Whether it asks what day it is.
    pub asks_the_date: bool,
}

impl ChatTemplate {
    /// The template of a model folder: see [`ModelFolder::chat_template`].
    ///
    /// # Errors
    /// The template or one of the tokenizer's files is damaged.
    pub fn from_folder(model: &ModelFolder) -> Result<Option<ChatTemplate>> {
        let Some((file, source)) = model.chat_template()? else { return Ok(None) };
        Ok(Some(ChatTemplate::compile(Some(file), &source, &SpecialTokens::from_folder(model)?)?))
    }

    /// # Errors
    /// [`DataError::ChatTemplate`]: the source is not valid Jinja.
    pub fn new(source: &str, tokens: &SpecialTokens) -> std::result::Result<ChatTemplate, DataError> {
        ChatTemplate::compile(None, source, tokens)
    }

    fn compile(
        file: Option<PathBuf>,
        source: &str,
        tokens: &SpecialTokens,
    ) -> std::result::Result<ChatTemplate, DataError> {
        let fail = |e: minijinja::Error| DataError::ChatTemplate { file: file.clone(), reason: describe(&e) };
        let with = |marks| compiled(&jinja_marks::replaced(source, marks)).map(Arc::new).map_err(fail);
        Ok(ChatTemplate {
            environment: with(Marks::Silent)?,
            marking: jinja_marks::are_in(source).then(|| with(Marks::Signs)).transpose()?,
            tokens: minijinja::Value::from_pairs(tokens.named().iter().cloned()),
            asks_the_date: source.contains(NOW),
            file,
        })
    }

    /// The same template, for which today is this day.
    #[must_use]
    pub fn on(mut self, day: NaiveDate) -> ChatTemplate {
        for environment in [Some(&mut self.environment), self.marking.as_mut()].into_iter().flatten() {
            let mut other = Environment::clone(environment);
            add_clock(&mut other, move |format| calendar::strftime_on(format, day));
            *environment = Arc::new(other);
        }
        self.asks_the_date = false;
        self
    }

    /// Whether the template marks what the assistant says.
    pub fn has_marks(&self) -> bool {
        self.marking.is_some()
    }

    /// The text of a conversation.
    ///
    /// # Errors
    /// [`DataError::Render`]: the template refuses the messages, or cannot handle them.
    pub fn render(
        &self,
        messages: &[Message],
        prompt: GenerationPrompt,
    ) -> std::result::Result<String, DataError> {
        let given = messages.iter().map(|message| message.role.len() + message.content.len()).sum();
        self.render_jinja(messages.iter().map(Message::to_jinja).collect(), given, prompt)
    }

    /// Like [`ChatTemplate::render`], for messages with whatever keys a dataset has; those that are null are left out.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_value(
        &self,
        messages: &Value,
        prompt: GenerationPrompt,
    ) -> std::result::Result<String, DataError> {
        self.render_with(messages, Beside::default(), prompt)
    }

    /// Like [`ChatTemplate::render_value`], with tools and variables.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_with(
        &self,
        messages: &Value,
        beside: Beside<'_>,
        prompt: GenerationPrompt,
    ) -> std::result::Result<String, DataError> {
        let messages = conversation::prepared(messages);
        let given = messages.text_length() + beside.text_length();
        self.run(&self.environment, self.context(to_jinja(&messages), beside, prompt), given)
    }

    /// The text of a conversation, and what of it the template marks as said by the assistant. `None`: the template has no
    /// marks, or what stands between them cannot be told, as the messages hold the signs themselves.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_marked(
        &self,
        messages: &Value,
        beside: Beside<'_>,
    ) -> std::result::Result<Option<MarkedText>, DataError> {
        let Some(marking) = &self.marking else { return Ok(None) };
        let messages = conversation::prepared(messages);
        let given = messages.text_length() + beside.text_length();
        let context = self.context(to_jinja(&messages), beside, GenerationPrompt::Omit);
        Ok(jinja_marks::ranges(&self.run(marking, context, given)?))
    }

    fn render_jinja(
        &self,
        messages: minijinja::Value,
        given: usize,
        prompt: GenerationPrompt,
    ) -> std::result::Result<String, DataError> {
        self.run(&self.environment, self.context(messages, Beside::default(), prompt), given)
    }

    fn context(
        &self,
        messages: minijinja::Value,
        beside: Beside<'_>,
        prompt: GenerationPrompt,
    ) -> minijinja::Value {
        let tools = match beside.tools {
            [] => minijinja::Value::from(()),
            tools => tools.iter().map(to_jinja).collect(),
        };
        let documents = minijinja::Value::from(());
        let add_generation_prompt = prompt == GenerationPrompt::Add;
        // Of a name that is there twice the last one would be taken.
        let variables = beside.variables.iter().rev().map(|(name, value)| (name.as_str(), to_jinja(value)));
        let variables = minijinja::Value::from_pairs(variables);
        let own = context! { messages, add_generation_prompt, tools, documents };
        merge_maps([own, variables, self.tokens.clone()])
    }

    fn run(
        &self,
        environment: &Arc<Environment<'static>>,
        context: minijinja::Value,
        given: usize,
    ) -> std::result::Result<String, DataError> {
        let fail = |e: minijinja::Error| DataError::Render {
            file: self.file.clone(),
            location: None,
            reason: describe(&e),
        };
        jinja_limits::render(environment, NAME, context, given).map_err(fail)
    }
}

impl Beside<'_> {
    fn text_length(&self) -> usize {
        let tools: usize = self.tools.iter().map(Value::text_length).sum();
        tools + self.variables.iter().map(|(name, value)| name.len() + value.text_length()).sum::<usize>()
    }
}

/// More of a message is not read by anybody.
const MAX_REASON: usize = 1000;

fn describe(error: &minijinja::Error) -> String {
    let detail = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "it takes more steps, or makes more text, than a template may".into(),
        (kind, None) => kind.to_string(),
        (_, Some(detail)) => detail.chars().take(MAX_REASON).collect(),
    };
    match (error.kind(), error.line()) {
        // What `raise_exception` was told speaks for itself.
        (ErrorKind::InvalidOperation, _) | (_, None) => detail,
        (_, Some(line)) => format!("{detail} (line {line} of the template)"),
    }
}
