//! What the models of a run answer to the same prompts.

use crate::stages::Stage;
use maud::{Markup, html};

/// Letters of a text that are shown before it is unfolded.
const SHOWN: usize = 240;

/// The answers to one prompt.
struct Prompt<'a> {
    prompt: &'a str,
    expected: &'a str,
    /// By the names of the models.
    answers: Vec<(&'a str, &'a str)>,
}

/// A table for each prompt: the answer of the data, then that of each model that was asked.
pub(crate) fn answers(stages: &[Stage]) -> Markup {
    let prompts = prompts(stages);
    html! {
        @if !prompts.is_empty() {
            section {
                h2 { "Answers" }
                @for Prompt { prompt, expected, answers } in &prompts {
                    div.prompt {
                        div.said dir="auto" { (folded(prompt)) }
                        table {
                            tbody {
                                tr { th { "expected" } td.said dir="auto" { (folded(expected)) } }
                                @for (name, answer) in answers {
                                    tr { th { (name) } td.said dir="auto" { (folded(answer)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn prompts<'a>(stages: &'a [Stage]) -> Vec<Prompt<'a>> {
    let mut prompts: Vec<Prompt> = Vec::new();
    for stage in stages {
        for answer in stage.evaluation.iter().flat_map(|evaluation| &evaluation.detail.answers) {
            let said = (stage.name.as_str(), answer.answer.as_str());
            let same =
                |known: &&mut Prompt| (known.prompt, known.expected) == (&answer.prompt, &answer.expected);
            match prompts.iter_mut().find(same) {
                Some(prompt) => prompt.answers.push(said),
                None => prompts.push(Prompt {
                    prompt: &answer.prompt,
                    expected: &answer.expected,
                    answers: vec![said],
                }),
            }
        }
    }
    prompts
}

/// A text, of which the beginning is shown if it is long.
fn folded(text: &str) -> Markup {
    let text = text.trim();
    if text.is_empty() {
        return html! { em { "nothing" } };
    }
    match text.char_indices().nth(SHOWN) {
        None => html! { (text) },
        Some((end, _)) => html! { details { summary { (&text[..end]) "…" } (text) } },
    }
}

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn long_texts_are_folded_and_all_are_text() {
        assert_eq!(folded(" <b>short</b>\n").into_string(), "&lt;b&gt;short&lt;/b&gt;");
        let long = folded(&"ä".repeat(300)).into_string();
        assert!(long.starts_with("<details><summary>ä") && long.contains("ä…</summary>"), "{long}");
        assert_eq!(long.matches('ä').count(), 240 + 300);
    }
}
