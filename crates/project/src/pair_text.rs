//! How a question and its answer become a text, as the model's chat template has it.

use crate::error::ProjectError;
use olive_core::Result;
use olive_data::{ChatTemplate, GenerationPrompt, Message};
use olive_model::ModelFolder;

/// Options of the pre-processing that make a text of a question and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairText {
    /// `text_template`.
    pub template: String,
    /// `response_template`: the answer begins after it.
    pub before_answer: String,
    /// `add_special_tokens`: the chat template brings its own.
    pub add_special_tokens: bool,
}

/// Stand for the columns where the model's template is rendered. Letters only, so that no template changes them.
const QUESTION: &str = "OliveQuestionColumn";
const ANSWER: &str = "OliveAnswerColumn";

/// The text of a conversation of one question and one answer, both columns. A model without a chat template gets marks in
/// plain words.
///
/// # Errors
/// A column whose name cannot stand in a template; a chat template that is damaged.
pub fn pair_text(model: &ModelFolder, question: &str, answer: &str) -> Result<PairText> {
    for column in [question, answer] {
        check_name(column)?;
    }
    let rendered = match ChatTemplate::from_folder(model)? {
        Some(template) => of_template(&template),
        None => None,
    };
    let PairText { template, before_answer, add_special_tokens } = rendered.unwrap_or_else(in_words);
    let template = template.replace('{', "{{").replace('}', "}}");
    let template =
        template.replace(QUESTION, &format!("{{{question}}}")).replace(ANSWER, &format!("{{{answer}}}"));
    Ok(PairText { template, before_answer, add_special_tokens })
}

/// Whether a column can stand between braces.
///
/// # Errors
/// [`ProjectError::ColumnName`].
pub(crate) fn check_name(column: &str) -> Result<(), ProjectError> {
    let means_something = |c: char| matches!(c, '{' | '}' | '[' | ']' | '.' | ':' | '!');
    match column.contains(means_something) || column.is_empty() {
        true => Err(ProjectError::ColumnName { column: column.to_owned() }),
        false => Ok(()),
    }
}

/// `None`: the template refuses such a conversation, or does not print it as it is.
fn of_template(template: &ChatTemplate) -> Option<PairText> {
    let message = |role: &str, content: &str| Message { role: role.into(), content: content.into() };
    let asked = [message("user", QUESTION)];
    let answered = [message("user", QUESTION), message("assistant", ANSWER)];
    let text = template.render(&answered, GenerationPrompt::Omit).ok()?;
    let is_once = |mark: &str| text.matches(mark).count() == 1;
    if !is_once(QUESTION) || !is_once(ANSWER) {
        return None;
    }
    let (_, after_question) = text.split_once(QUESTION)?;
    let (between, _) = after_question.split_once(ANSWER)?;
    // What the template adds where the assistant is to speak; where that is not told apart, all that stands between.
    let ending = || -> Option<String> {
        let without = template.render(&asked, GenerationPrompt::Omit).ok()?;
        let with = template.render(&asked, GenerationPrompt::Add).ok()?;
        let added = with.strip_prefix(&without)?;
        (!added.trim().is_empty() && between.ends_with(added)).then(|| added.to_owned())
    };
    let before_answer = ending().unwrap_or_else(|| between.to_owned());
    (!before_answer.trim().is_empty()).then_some(PairText {
        template: text,
        before_answer,
        add_special_tokens: false,
    })
}

/// For models that were not taught to talk.
fn in_words() -> PairText {
    PairText {
        template: format!("### Question:\n{QUESTION}\n\n### Answer:\n{ANSWER}"),
        before_answer: "### Answer:\n".into(),
        add_special_tokens: true,
    }
}
