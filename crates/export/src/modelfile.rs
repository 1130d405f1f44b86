//! What Ollama needs beside a GGUF file: how turns are written, where answers end, how they are drawn.
//!
//! Ollama has templates of its own kind (Go's `text/template`), so that a model's own cannot be taken over. Those of four ways to write a
//! conversation are known; a model whose template writes exactly one of them gets it.

use olive_core::Result;
use olive_data::{ChatTemplate, GenerationPrompt, Message, SpecialTokens};
use olive_model::ModelFolder;
use serde_json::Value;

/// How a conversation is written.
struct Dialogue {
    /// Around the name of the speaker.
    before_role: &'static str,
    after_role: &'static str,
    after_content: &'static str,
    /// What the template calls the assistant.
    assistant: &'static str,
    /// There are turns of the system.
    has_system: bool,
    /// Tokens that end an answer.
    stops: &'static [&'static str],
}

const DIALOGUES: [Dialogue; 4] = [
    // ChatML.
    Dialogue {
        before_role: "<|im_start|>",
        after_role: "\n",
        after_content: "<|im_end|>\n",
        assistant: "assistant",
        has_system: true,
        stops: &["<|im_end|>"],
    },
    // Llama 3.
    Dialogue {
        before_role: "<|start_header_id|>",
        after_role: "<|end_header_id|>\n\n",
        after_content: "<|eot_id|>",
        assistant: "assistant",
        has_system: true,
        stops: &["<|eot_id|>"],
    },
    // Phi-3.
    Dialogue {
        before_role: "<|",
        after_role: "|>\n",
        after_content: "<|end|>\n",
        assistant: "assistant",
        has_system: true,
        stops: &["<|end|>"],
    },
    // Gemma.
    Dialogue {
        before_role: "<start_of_turn>",
        after_role: "\n",
        after_content: "<end_of_turn>\n",
        assistant: "model",
        has_system: false,
        stops: &["<end_of_turn>"],
    },
];

/// Longest context that is asked for: Ollama holds the memory for it from the start.
const MOST_CONTEXT: usize = 8192;

/// Why there is no Modelfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoModelfile {
    #[error("the model has no chat template")]
    NoTemplate,
    #[error("its chat template is none of those that Ollama can be told of: ChatML, Llama 3, Phi-3, Gemma")]
    OtherTemplate,
    #[error("its chat template cannot be used: {0}")]
    Template(String),
}

/// The text of a `Modelfile` for the GGUF file of this name beside it, or why there is none.
///
/// # Errors
/// A file of the model that cannot be read.
pub fn modelfile(model: &ModelFolder, file: &str) -> Result<std::result::Result<String, NoModelfile>> {
    let template = match ChatTemplate::from_folder(model) {
        Ok(Some(template)) => template,
        Ok(None) => return Ok(Err(NoModelfile::NoTemplate)),
        Err(error) => return Ok(Err(NoModelfile::Template(error.to_string()))),
    };
    let bos = SpecialTokens::from_folder(model)?.bos.unwrap_or_default();
    let found = DIALOGUES.iter().find_map(|dialogue| Some((dialogue, dialogue.system_of(&template, &bos)?)));
    let Some((dialogue, system)) = found else { return Ok(Err(NoModelfile::OtherTemplate)) };
    let mut lines =
        vec![format!("FROM ./{file}"), format!("TEMPLATE \"\"\"{}\"\"\"", dialogue.go_template())];
    lines.extend(system.map(|system| format!("SYSTEM \"\"\"{system}\"\"\"")));
    lines.extend(dialogue.stops.iter().map(|stop| format!("PARAMETER stop \"{stop}\"")));
    let context = model.spec()?.context_length.min(MOST_CONTEXT);
    lines.push(format!("PARAMETER num_ctx {context}"));
    lines.extend(drawing(model)?);
    Ok(Ok(lines.join("\n") + "\n"))
}

/// How the model's own settings draw answers.
fn drawing(model: &ModelFolder) -> Result<Vec<String>> {
    let settings = model.generation_config()?.unwrap_or(Value::Null);
    if settings["do_sample"] != Value::Bool(true) {
        return Ok(vec!["PARAMETER temperature 0".into()]);
    }
    let known = [
        ("temperature", "temperature"),
        ("top_p", "top_p"),
        ("top_k", "top_k"),
        ("repetition_penalty", "repeat_penalty"),
    ];
    let line = |(key, name): (&str, &str)| {
        settings[key].is_number().then(|| format!("PARAMETER {name} {}", settings[key]))
    };
    Ok(known.into_iter().filter_map(line).collect())
}

impl Dialogue {
    fn turn(&self, role: &str, content: &str) -> String {
        format!("{}{content}{}", self.beginning(role), self.after_content)
    }

    fn beginning(&self, role: &str) -> String {
        format!("{}{role}{}", self.before_role, self.after_role)
    }

    /// What the system says where nobody says otherwise. `None`: conversations are not written so.
    fn system_of(&self, template: &ChatTemplate, bos: &str) -> Option<Option<String>> {
        const SAID: [&str; 3] = ["OliveQuestion", "OliveAnswer", "OliveFurther"];
        let message = |role: &str, content: &str| Message { role: role.into(), content: content.into() };
        let messages = [message("user", SAID[0]), message("assistant", SAID[1]), message("user", SAID[2])];
        let text = template.render(&messages, GenerationPrompt::Add).ok()?;
        let written = [
            self.turn("user", SAID[0]),
            self.turn(self.assistant, SAID[1]),
            self.turn("user", SAID[2]),
            self.beginning(self.assistant),
        ];
        let before = text.strip_suffix(&written.concat())?;
        // The token of the beginning may be the mark of a turn, too.
        let without_bos = before.strip_prefix(bos).filter(|_| !bos.is_empty());
        [Some(before), without_bos]
            .into_iter()
            .flatten()
            .find_map(|before| self.system_in(before.trim_start()))
    }

    /// The same of what stands before the first turn.
    fn system_in(&self, before: &str) -> Option<Option<String>> {
        if before.is_empty() {
            return Some(None);
        }
        let system = before.strip_prefix(&self.beginning("system"))?.strip_suffix(self.after_content)?;
        (self.has_system && !system.contains("\"\"\"")).then(|| Some(system.to_owned()))
    }

    /// The same for Ollama, which puts begin-of-text before it itself.
    fn go_template(&self) -> String {
        let role = match self.has_system {
            true => "{{ .Role }}".to_owned(),
            // What a system says becomes a turn of the user.
            false => format!(
                "{{{{ if eq .Role \"assistant\" }}}}{}{{{{ else }}}}user{{{{ end }}}}",
                self.assistant
            ),
        };
        format!(
            "{{{{ range .Messages }}}}{}{{{{ end }}}}{}",
            self.turn(&role, "{{ .Content }}"),
            self.beginning(self.assistant)
        )
    }
}
