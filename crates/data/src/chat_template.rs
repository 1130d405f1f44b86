//! Chat templates: Jinja sources that come with tokenizers, rendered as Python's jinja2 would.

use crate::calendar;
use crate::conversation;
use crate::error::DataError;
use crate::jinja_limits;
use crate::jinja_namespace::Door;
use crate::jinja_tests;
use crate::jinja_value::{from_jinja, to_jinja};
use crate::python_text;
use crate::special_tokens::SpecialTokens;
use crate::value::Value;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, ErrorKind, State, context, escape_formatter};
use olive_core::Result;
use olive_model::ModelFolder;
use regex::Regex;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

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

/// A template, compiled, with the special tokens that it may insert.
#[derive(Debug)]
pub struct ChatTemplate {
    /// Where it stands, if that is a file.
    file: Option<PathBuf>,
    environment: Arc<Environment<'static>>,
    tokens: minijinja::Value,
}

const NAME: &str = "chat";

/// Marks what an assistant says, for training on answers only; it prints nothing.
static GENERATION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").expect("the pattern is constant")
});

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
        let source = GENERATION.replace_all(source, |c: &regex::Captures<'_>| {
            let tag = if c.get(2).is_some() { "endif" } else { "if true" };
            format!("{{%{} {tag} {}%}}", &c[1], &c[3])
        });
        let door = Door::new();
        let source = door.open(&source);
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(fail)?);
        jinja_limits::set(&mut environment);
        environment.set_formatter(|out, state, value| match value.kind() {
            ValueKind::Undefined | ValueKind::String => escape_formatter(out, state, value),
            _ => out.write_str(&python_text::str(&from_jinja(state, value)?)).map_err(minijinja::Error::from),
        });
        environment.add_function("raise_exception", |message: String| {
            Err::<String, _>(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |state: &State<'_, '_>, format: &str| {
            jinja_limits::charge(state, format.len().saturating_mul(calendar::LONGEST_CODE))?;
            Ok::<_, minijinja::Error>(calendar::strftime_now(format))
        });
        environment.add_filter("tojson", tojson);
        jinja_tests::add(&mut environment);
        door.add_to(&mut environment);
        let environment = jinja_limits::add_template(&environment, NAME, source).map_err(fail)?;
        let tokens = minijinja::Value::from_pairs(tokens.named().iter().cloned());
        Ok(ChatTemplate { file, environment: Arc::new(environment), tokens })
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
        let messages = conversation::prepared(messages);
        self.render_jinja(to_jinja(&messages), messages.text_length(), prompt)
    }

    fn render_jinja(
        &self,
        messages: minijinja::Value,
        given: usize,
        prompt: GenerationPrompt,
    ) -> std::result::Result<String, DataError> {
        let fail = |e: minijinja::Error| DataError::Render {
            file: self.file.clone(),
            location: None,
            reason: describe(&e),
        };
        let none = minijinja::Value::from(());
        let add_generation_prompt = prompt == GenerationPrompt::Add;
        let context = context! {
            messages, add_generation_prompt, tools => none.clone(), documents => none, ..self.tokens.clone()
        };
        jinja_limits::render(&self.environment, NAME, context, given).map_err(fail)
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

/// `json.dumps` with text as it is: jinja2's own filter escapes HTML, the one of chat templates does not.
fn tojson(
    state: &State<'_, '_>,
    value: &minijinja::Value,
    options: Kwargs,
) -> std::result::Result<String, minijinja::Error> {
    let mut layout = python_text::JsonLayout::new(options.get::<Option<usize>>("indent")?);
    if let Some(separators) = options.get::<Option<Vec<String>>>("separators")?
        && let [item, key] = &separators[..]
    {
        (layout.item_separator, layout.key_separator) = (item.clone(), key.clone());
    }
    layout.ensure_ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    layout.sort_keys = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    options.assert_all_used()?;
    let value = from_jinja(state, value)?;
    jinja_limits::charge(state, layout.space(&value))?;
    Ok(python_text::json_dumps(&value, &layout))
}
