//! What is trained, and how much is held out to watch it.

use crate::node::{Node, NodeValue};
use crate::option::{Kind, Misfit, MisfitPlace, Special, texts_schema};
use crate::statement::OptionValue;
use crate::value::number;
use crate::values::Setting;
use serde::Serialize;
use serde_json::json;

/// What `target_modules` can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    Names(Vec<String>),
    /// `"all-linear"`.
    AllLinear,
    /// A regular expression over whole module paths.
    Pattern(String),
}

/// How much to hold out for evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EvalSize {
    Count(usize),
    /// In (0, 1).
    Fraction(f64),
}

static TARGETS: Special = Special {
    value: "a list or a text",
    schema: || json!({"anyOf": [{"type": ["string", "null"]}, texts_schema()]}),
    check: |node| targets(node).map(drop),
};

impl OptionValue for Targets {
    const KIND: Kind = Kind::Special(&TARGETS);

    fn read(setting: &Setting) -> Option<Targets> {
        targets(&Node::from_json(&setting.json)).ok()
    }
}

/// A list of names, `all-linear`, one name, or a regular expression.
fn targets(node: &Node) -> Result<Targets, Misfit> {
    let wrong = |message: String, hint: Option<&str>| {
        Err(Misfit { message, hint: hint.map(str::to_owned), place: MisfitPlace::Key })
    };
    match &node.value {
        NodeValue::Text(text) if text == "all-linear" => Ok(Targets::AllLinear),
        NodeValue::Text(text) if text.is_empty() => wrong("the name of the layer is empty".into(), None),
        NodeValue::Text(text) if text.chars().all(|letter| letter.is_alphanumeric() || letter == '_') => {
            Ok(Targets::Names(vec![text.clone()]))
        }
        NodeValue::Text(text) => match regex::Regex::new(text) {
            Ok(_) => Ok(Targets::Pattern(text.clone())),
            Err(_) => wrong(
                format!("`{text}` is neither `all-linear` nor a regular expression"),
                Some("several layers are a list: [\"q_proj\", \"v_proj\"]"),
            ),
        },
        NodeValue::List(items) if items.is_empty() => {
            let hint = "leave it out for the architecture's default";
            wrong("the list of layers is empty".into(), Some(hint))
        }
        NodeValue::List(items) => match items.iter().map(Node::as_text).collect::<Option<Vec<_>>>() {
            Some(names) => Ok(Targets::Names(names.into_iter().map(str::to_owned).collect())),
            None => wrong("expected a list of layer names".into(), None),
        },
        _ => {
            wrong(format!("expected a list of layer names or `all-linear`, found {}", node.describe()), None)
        }
    }
}

static EVAL_SIZE: Special = Special {
    value: "a number above 0",
    schema: || json!({"type": ["number", "null"], "exclusiveMinimum": 0}),
    check: |node| eval_size(node).map(drop),
};

impl OptionValue for EvalSize {
    const KIND: Kind = Kind::Special(&EVAL_SIZE);

    fn read(setting: &Setting) -> Option<EvalSize> {
        eval_size(&Node::from_json(&setting.json)).ok()
    }
}

fn eval_size(node: &Node) -> Result<EvalSize, Misfit> {
    match number(node) {
        Some(share) if share > 0.0 && share < 1.0 => Ok(EvalSize::Fraction(share)),
        Some(count) if count >= 1.0 && count.fract() == 0.0 && count < 1e15 => {
            Ok(EvalSize::Count(count as usize))
        }
        _ => Err(Misfit {
            message: format!(
                "expected a count of 1 or more, or a share in (0, 1), found {}",
                node.describe()
            ),
            hint: Some("leave it out to hold nothing out".to_owned()),
            place: MisfitPlace::Key,
        }),
    }
}
