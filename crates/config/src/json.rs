//! Strict JSON into the tree: no comments, no trailing commas, no duplicate keys.

use crate::findings::Findings;
use crate::node::{Node, NodeEntry, NodeValue};
use crate::place::At;
use crate::place::join;
use crate::unique_keys::UniqueEntries;
use jsonc_parser::ast;
use jsonc_parser::errors::{ParseError, ParseErrorKind};
use jsonc_parser::{CollectOptions, ParseOptions};
use olive_core::secrets::{HIDDEN, is_secret};

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
            let (before, after) = text.split_at_checked(error.range().start).unwrap_or_default();
            let word = after.chars().take_while(|letter| letter.is_alphanumeric()).take(20);
            let word = if follows_secret(before) { HIDDEN.to_owned() } else { word.collect() };
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

/// Whether the last thing before is the key of a secret.
fn follows_secret(before: &str) -> bool {
    let key = before.trim_end().strip_suffix(':').and_then(|text| text.trim_end().strip_suffix('"'));
    key.and_then(|text| text.rsplit('"').next()).is_some_and(is_secret)
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

/// Knows where lines begin, and how many letters stand before every block of the text.
struct JsonTree<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
    letters: Vec<usize>,
}

/// Bytes of a block.
const BLOCK: usize = 256;

impl<'a> JsonTree<'a> {
    fn new(text: &'a str) -> JsonTree<'a> {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(newlines).collect();
        let mut letters = vec![0];
        for block in text.as_bytes().chunks(BLOCK) {
            letters.push(letters[letters.len() - 1] + count_letters(block));
        }
        JsonTree { text, line_starts, letters }
    }

    /// Letters of the text before this byte.
    fn letters_before(&self, offset: usize) -> usize {
        let block = offset / BLOCK;
        self.letters[block] + count_letters(&self.text.as_bytes()[block * BLOCK..offset])
    }

    fn at(&self, offset: usize) -> At {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts[line - 1];
        Some((line, self.letters_before(offset) - self.letters_before(start) + 1))
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
                let mut entries = UniqueEntries::default();
                for property in &object.properties {
                    let key = property.name.as_str().to_owned();
                    let node = self.node(&property.value, &join(path, &key), findings);
                    let entry = NodeEntry { key, at: self.at(property.range.start), node };
                    entries.push(entry, path, findings);
                }
                (object.range.start, NodeValue::Object(entries.into_entries()))
            }
        };
        Node { value, at: self.at(start) }
    }
}

/// Bytes that begin a letter in UTF-8.
fn count_letters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
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
