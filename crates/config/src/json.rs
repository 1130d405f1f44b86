//! Strict JSON into the tree: no comments, no trailing commas, no duplicate keys.

use crate::findings::Findings;
use crate::node::{Node, NodeEntry, NodeValue};
use crate::place::At;
use crate::place::join;
use crate::unique_keys::push_unique;
use jsonc_parser::ast;
use jsonc_parser::errors::{ParseError, ParseErrorKind};
use jsonc_parser::{CollectOptions, ParseOptions};

/// Parses a whole file. Syntax errors and duplicate keys go to `findings`; the former give no tree.
pub(crate) fn parse(text: &str, findings: &mut Findings) -> Option<Node> {
    match parse_strict(text) {
        Ok(Some(value)) => Some(JsonTree::new(text).node(&value, "", findings)),
        Ok(None) => {
            findings.error(Some((1, 1)), "", "the file is empty", None);
            None
        }
        Err(error) => {
            let at = Some((error.line_display(), error.column_display()));
            let word = text.get(error.range().start..).unwrap_or_default();
            let word: String = word.chars().take_while(|letter| letter.is_alphanumeric()).take(20).collect();
            let (reason, hint) = explain(&error, &word);
            findings.error(at, "", format!("not valid JSON: {reason}"), hint);
            None
        }
    }
}

/// One value from the command line; `None` if it is not JSON.
pub(crate) fn parse_value(text: &str) -> Option<Node> {
    let value = parse_strict(text).ok()??;
    let mut findings = Findings::default();
    let node = JsonTree::new(text).node(&value, "", &mut findings);
    findings.errors.is_empty().then(|| node.without_places())
}

fn parse_strict(text: &str) -> Result<Option<ast::Value<'_>>, ParseError> {
    let strict = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    Ok(jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &strict)?.value)
}

/// What is wrong, and what to do about it. `word`: what stands there, if it is a word.
fn explain(error: &ParseError, word: &str) -> (String, Option<String>) {
    let reason = match error.kind() {
        ParseErrorKind::CommentsNotAllowed => "comments are not allowed",
        ParseErrorKind::TrailingCommasNotAllowed => "a comma stands before the closing bracket",
        ParseErrorKind::ExpectedComma => "a comma is missing",
        ParseErrorKind::SingleQuotedStringsNotAllowed => "texts need double quotes",
        ParseErrorKind::MultipleRootJsonValues => "there is more text after the end of the value",
        ParseErrorKind::UnterminatedObject => "an object is opened here and never closed",
        ParseErrorKind::UnterminatedArray => "a list is opened here and never closed",
        ParseErrorKind::ExpectedColonAfterObjectKey => "a colon is missing after the key",
        ParseErrorKind::ExpectedObjectValue => "the value after the colon is missing",
        ParseErrorKind::ExpectedStringObjectProperty => "keys need double quotes",
        ParseErrorKind::UnexpectedToken | ParseErrorKind::UnexpectedWord if !word.is_empty() => {
            let hint = match word.to_lowercase().as_str() {
                "true" | "false" | "null" | "none" => "JSON has true, false and null, in lower case",
                _ => "texts need double quotes",
            };
            return (format!("`{word}` means nothing here"), Some(hint.into()));
        }
        kind => {
            let text = kind.to_string();
            let mut letters = text.chars();
            let lower = letters.next().map(|first| first.to_lowercase().chain(letters).collect());
            return (lower.unwrap_or_default(), None);
        }
    };
    (reason.into(), None)
}

/// Knows where lines begin.
struct JsonTree<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> JsonTree<'a> {
    fn new(text: &'a str) -> JsonTree<'a> {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        JsonTree { text, line_starts: std::iter::once(0).chain(newlines).collect() }
    }

    fn at(&self, offset: usize) -> At {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts[line - 1];
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        Some((line, column))
    }

    fn node(&self, value: &ast::Value<'_>, path: &str, findings: &mut Findings) -> Node {
        let (start, value) = match value {
            ast::Value::NullKeyword(null) => (null.range.start, NodeValue::Null),
            ast::Value::BooleanLit(boolean) => (boolean.range.start, NodeValue::Bool(boolean.value)),
            ast::Value::StringLit(text) => (text.range.start, NodeValue::Text(text.value.to_string())),
            ast::Value::NumberLit(number) => {
                let value = self::number(number.value).unwrap_or_else(|reason| {
                    findings.error(self.at(number.range.start), path, reason, None);
                    NodeValue::Null
                });
                (number.range.start, value)
            }
            ast::Value::Array(array) => {
                let items = array.elements.iter().enumerate();
                let items = items.map(|(index, item)| self.node(item, &format!("{path}[{index}]"), findings));
                (array.range.start, NodeValue::List(items.collect()))
            }
            ast::Value::Object(object) => {
                let mut entries = Vec::with_capacity(object.properties.len());
                for property in &object.properties {
                    let key = property.name.as_str().to_owned();
                    let node = self.node(&property.value, &join(path, &key), findings);
                    let entry = NodeEntry { key, at: self.at(property.range.start), node };
                    push_unique(&mut entries, entry, path, findings);
                }
                (object.range.start, NodeValue::Object(entries))
            }
        };
        Node { value, at: self.at(start) }
    }
}

/// A number in JSON's notation.
fn number(text: &str) -> Result<NodeValue, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit() {
        return Err(format!("not valid JSON: the number {text} begins with a zero"));
    }
    if let Ok(value) = text.parse::<i128>() {
        return Ok(NodeValue::Int(value));
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(NodeValue::Float(value)),
        Ok(_) => Err(format!("the number {text} is too large")),
        Err(_) => Err(format!("not valid JSON: {text} is not a number")),
    }
}
