//! What is trained, and how much is held out to watch it.

use crate::fields::Fields;
use crate::findings::Findings;
use crate::node::{Node, Value};
use crate::value::number;
use crate::values::Values;
use serde::Serialize;

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

impl EvalSize {
    /// `eval_dataset_size` of a pass.
    pub fn read(fields: &Fields<'_>, values: &Values, findings: &mut Findings) -> Option<EvalSize> {
        let found = fields.found("eval_dataset_size")?;
        match number(found.node) {
            Some(share) if share > 0.0 && share < 1.0 => Some(EvalSize::Fraction(share)),
            Some(count) if count >= 1.0 && count.fract() == 0.0 && count < 1e15 => {
                Some(EvalSize::Count(count as usize))
            }
            _ => {
                let message = format!(
                    "expected a count of 1 or more, or a share in (0, 1), found {}",
                    found.node.describe()
                );
                let hint = "leave it out to hold nothing out".to_owned();
                values.error("eval_dataset_size", message, Some(hint), findings);
                None
            }
        }
    }
}

impl Targets {
    /// `target_modules` of a pass: a list of names, `all-linear`, one name, or a regular expression.
    pub fn read(fields: &Fields<'_>, values: &Values, findings: &mut Findings) -> Option<Targets> {
        let found = fields.found("target_modules")?;
        let mut wrong = |message: String, hint: Option<String>| {
            values.error("target_modules", message, hint, findings);
            None
        };
        match &found.node.value {
            Value::Text(text) if text == "all-linear" => Some(Targets::AllLinear),
            Value::Text(text) if text.is_empty() => wrong("the name of the layer is empty".into(), None),
            Value::Text(text) if text.chars().all(|letter| letter.is_alphanumeric() || letter == '_') => {
                Some(Targets::Names(vec![text.clone()]))
            }
            Value::Text(text) => match regex::Regex::new(text) {
                Ok(_) => Some(Targets::Pattern(text.clone())),
                Err(_) => wrong(
                    format!("`{text}` is neither `all-linear` nor a regular expression"),
                    Some("several layers are a list: [\"q_proj\", \"v_proj\"]".into()),
                ),
            },
            Value::List(items) if items.is_empty() => wrong(
                "the list of layers is empty".into(),
                Some("leave it out for the architecture's default".into()),
            ),
            Value::List(items) => match items.iter().map(Node::as_text).collect::<Option<Vec<_>>>() {
                Some(names) => Some(Targets::Names(names.into_iter().map(str::to_owned).collect())),
                None => wrong("expected a list of layer names".into(), None),
            },
            _ => wrong(
                format!("expected a list of layer names or `all-linear`, found {}", found.node.describe()),
                None,
            ),
        }
    }
}
