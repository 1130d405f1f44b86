//! One value of a file, checked against the kind that its option has.

use crate::names::nearest;
use crate::node::{Node, NodeValue, int_to_json};
use crate::option::{Bounds, Kind, Misfit, MisfitPlace};
use serde_json::Value as Json;

impl Kind {
    /// The value as JSON in its canonical form: numbers written as text are numbers, words have the table's spelling.
    ///
    /// # Errors
    /// What was expected instead, and found.
    pub(crate) fn read(&self, node: &Node) -> Result<Json, Misfit> {
        let misfit = |hint: Option<String>| Misfit {
            message: format!("expected {}, found {}", self.expected(), node.describe()),
            hint,
            place: MisfitPlace::Value,
        };
        let mismatch = || misfit(None);
        match self {
            Kind::Bool => boolean(node).map(Json::Bool).ok_or_else(mismatch),
            Kind::Int { min, max } => match integer(node) {
                Some(value) if value >= i128::from(*min) && value <= i128::from(*max) => {
                    Ok(int_to_json(value))
                }
                _ => Err(mismatch()),
            },
            Kind::IntChoice(choices) => match integer(node) {
                Some(value) if choices.iter().any(|choice| i128::from(*choice) == value) => {
                    Ok(int_to_json(value))
                }
                _ => Err(mismatch()),
            },
            Kind::Number(bounds) => number(node)
                .filter(|value| bounds.contain(*value))
                .and_then(serde_json::Number::from_f64)
                .map(Json::Number)
                .ok_or_else(mismatch),
            Kind::Text => text(node).map(Json::String).ok_or_else(mismatch),
            Kind::Choice(choices) => {
                choice(node, choices).map(|word| Json::String(word.to_owned())).ok_or_else(|| {
                    let words = choices.iter().flat_map(|choice| choice.split('|'));
                    let meant = node.as_text().and_then(|text| nearest(text, words));
                    misfit(meant.map(|word| format!("did you mean `{word}`?")))
                })
            }
            Kind::Texts => match &node.value {
                NodeValue::List(items) => {
                    let texts = items.iter().map(|item| text(item).map(Json::String));
                    texts.collect::<Option<Vec<Json>>>().map(Json::Array).ok_or_else(mismatch)
                }
                _ => text(node).map(|text| Json::Array(vec![Json::String(text)])).ok_or_else(mismatch),
            },
            Kind::Block(_) if node.as_object().is_none() => Err(mismatch()),
            Kind::Blocks(_) if !matches!(node.value, NodeValue::List(_)) => Err(mismatch()),
            Kind::Special(special) => (special.check)(node).map(|()| node.to_json()),
            Kind::Block(_) | Kind::Blocks(_) | Kind::Any => Ok(node.to_json()),
        }
    }

    /// Completes "expected …".
    pub(crate) fn expected(&self) -> String {
        match self {
            Kind::Bool => "true or false".into(),
            Kind::Int { min: i64::MIN, max: i64::MAX } => "a whole number".into(),
            Kind::Int { min, max: i64::MAX } => format!("a whole number, {min} or more"),
            Kind::Int { min, max } => format!("a whole number from {min} to {max}"),
            Kind::IntChoice(choices) => {
                format!("one of {}", choices.iter().map(i64::to_string).collect::<Vec<_>>().join(", "))
            }
            Kind::Number(bounds) => bounds.expected(),
            Kind::Text => "a text".into(),
            Kind::Choice(choices) => {
                let words = choices.iter().map(|choice| choice.split('|').next().unwrap_or(choice));
                format!("one of {}", words.collect::<Vec<_>>().join(", "))
            }
            Kind::Texts => "a list of texts".into(),
            Kind::Block(_) => "an object".into(),
            Kind::Blocks(_) => "a list of objects".into(),
            Kind::Special(_) | Kind::Any => "a value".into(),
        }
    }
}

impl Bounds {
    fn contain(&self, value: f64) -> bool {
        let above = if self.min_included { value >= self.min } else { value > self.min };
        let below = if self.max_included { value <= self.max } else { value < self.max };
        above && below && value.is_finite()
    }

    fn expected(&self) -> String {
        let open = if self.min_included { '[' } else { '(' };
        let close = if self.max_included { ']' } else { ')' };
        match (self.min.is_finite(), self.max.is_finite()) {
            (false, false) => "a number".into(),
            (true, false) if self.min_included => format!("a number, {} or more", self.min),
            (true, false) => format!("a number above {}", self.min),
            (false, true) => format!("a number up to {}", self.max),
            (true, true) => format!("a number in {open}{}, {}{close}", self.min, self.max),
        }
    }
}

fn text(node: &Node) -> Option<String> {
    match &node.value {
        NodeValue::Text(text) => Some(text.clone()),
        // `--set workflow_id=7` can only mean the text.
        NodeValue::Int(_) | NodeValue::Float(_) | NodeValue::Bool(_) if node.at.is_none() => {
            Some(node.to_json().to_string())
        }
        _ => None,
    }
}

/// The words that pydantic takes for booleans.
fn boolean(node: &Node) -> Option<bool> {
    match &node.value {
        NodeValue::Bool(value) => Some(*value),
        NodeValue::Int(value @ 0..=1) => Some(*value == 1),
        NodeValue::Text(text) => match text.trim().to_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
            "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn integer(node: &Node) -> Option<i128> {
    let whole = |value: f64| (value.fract() == 0.0 && value.abs() < 1e15).then_some(value as i128);
    match &node.value {
        NodeValue::Int(value) => Some(*value),
        NodeValue::Float(value) => whole(*value),
        NodeValue::Text(text) => {
            text.trim().parse().ok().or_else(|| text.trim().parse().ok().and_then(whole))
        }
        _ => None,
    }
}

/// A finite number.
pub fn number(node: &Node) -> Option<f64> {
    let value = match &node.value {
        NodeValue::Int(value) => *value as f64,
        NodeValue::Float(value) => *value,
        NodeValue::Text(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    value.is_finite().then_some(value)
}

fn choice(node: &Node, choices: &[&'static str]) -> Option<&'static str> {
    let wanted = match &node.value {
        NodeValue::Text(text) => text.trim().to_lowercase(),
        // `evaluation_strategy: no` is a boolean to YAML 1.1, and some write false.
        NodeValue::Bool(false) => "no".into(),
        _ => return None,
    };
    let choice = choices.iter().find(|choice| choice.split('|').any(|word| word.to_lowercase() == wanted))?;
    choice.split('|').next()
}
