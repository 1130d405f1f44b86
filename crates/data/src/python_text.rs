//! `str()`, `repr()` and `json.dumps()` of Python, for values that end up in training texts.

use crate::value::Value;
use regex::Regex;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// Python's definition of a character that `repr` escapes: the categories Other and Separator.
static NOT_PRINTABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^[\p{C}\p{Z}]$").expect("the pattern is constant"));

/// `str(value)`.
pub fn str(value: &Value) -> String {
    match value {
        Value::Str(s) => s.clone(),
        _ => repr(value),
    }
}

/// `repr(value)`.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(&mut out, value);
    out
}

fn write_repr(out: &mut String, value: &Value) {
    match value {
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(i) => write!(out, "{i}").expect("a String takes everything"),
        Value::Float(f) => out.push_str(&float_repr(*f)),
        Value::Str(s) => out.push_str(&str_repr(s)),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                write_repr(out, item);
            }
            out.push(']');
        }
        Value::Dict(entries) => {
            out.push('{');
            for (i, (key, value)) in entries.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                out.push_str(&str_repr(key));
                out.push_str(": ");
                write_repr(out, value);
            }
            out.push('}');
        }
    }
}

/// `repr` of a float: the shortest digits that read back to the same number; an exponent below 1e-4 and from 1e16 on.
pub fn float_repr(f: f64) -> String {
    if f.is_nan() {
        return "nan".into();
    }
    if f.is_infinite() {
        return if f > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{f:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{f}");
        if plain.contains('.') { plain } else { plain + ".0" }
    } else {
        format!("{mantissa}e{}", exponent_text(exponent))
    }
}

/// A sign and at least two digits.
pub(super) fn exponent_text(exponent: i32) -> String {
    format!("{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// `repr` of a string.
fn str_repr(s: &str) -> String {
    let quote = if s.contains('\'') && !s.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(s.len() + 2);
    out.push(quote);
    for c in s.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            c if NOT_PRINTABLE.is_match(c.encode_utf8(&mut [0; 4])) => {
                let code = u32::from(c);
                let escaped = match code {
                    0..=0xff => format!("\\x{code:02x}"),
                    0x100..=0xffff => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                };
                out.push_str(&escaped);
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// How `json.dumps` lays out its text.
#[derive(Debug, Clone)]
pub(crate) struct JsonLayout {
    pub(crate) ensure_ascii: bool,
    pub(crate) indent: Option<usize>,
    pub(crate) item_separator: String,
    pub(crate) key_separator: String,
    pub(crate) sort_keys: bool,
}

impl JsonLayout {
    /// Python's defaults, except that text stays as it is: how chat templates call it.
    pub(crate) fn new(indent: Option<usize>) -> JsonLayout {
        let item_separator = if indent.is_some() { "," } else { ", " };
        JsonLayout {
            ensure_ascii: false,
            indent,
            item_separator: item_separator.into(),
            key_separator: ": ".into(),
            sort_keys: false,
        }
    }

    /// At most as many bytes as stand between the values: indentation and separators.
    pub(crate) fn space(&self, value: &Value) -> usize {
        let (values, depth) = extent(value);
        let indentation = self.indent.unwrap_or(0).saturating_mul(depth);
        let separators = self.item_separator.len() + self.key_separator.len();
        values.saturating_mul(indentation.saturating_add(separators))
    }
}

/// How many values there are, and how many levels of them.
fn extent(value: &Value) -> (usize, usize) {
    let add = |(values, depth): (usize, usize), inner: &Value| {
        let (more, deeper) = extent(inner);
        (values + more, depth.max(deeper + 1))
    };
    match value {
        Value::List(items) => items.iter().fold((1, 1), add),
        Value::Dict(entries) => entries.iter().map(|(_, inner)| inner).fold((1, 1), add),
        _ => (1, 1),
    }
}

/// `json.dumps(value)`.
pub(crate) fn json_dumps(value: &Value, layout: &JsonLayout) -> String {
    let mut out = String::new();
    write_json(&mut out, value, layout, 1);
    out
}

fn write_json(out: &mut String, value: &Value, layout: &JsonLayout, depth: usize) {
    let line = |out: &mut String, depth: usize| {
        if let Some(indent) = layout.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    };
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(_) => write_repr(out, value),
        Value::Float(f) if f.is_nan() => out.push_str("NaN"),
        Value::Float(f) if f.is_infinite() => out.push_str(if *f > 0.0 { "Infinity" } else { "-Infinity" }),
        Value::Float(f) => out.push_str(&float_repr(*f)),
        Value::Str(s) => write_json_str(out, s, layout),
        Value::List(items) if items.is_empty() => out.push_str("[]"),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { &layout.item_separator });
                line(out, depth);
                write_json(out, item, layout, depth + 1);
            }
            line(out, depth - 1);
            out.push(']');
        }
        Value::Dict(entries) if entries.is_empty() => out.push_str("{}"),
        Value::Dict(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            if layout.sort_keys {
                entries.sort_by(|a, b| a.0.cmp(&b.0));
            }
            out.push('{');
            for (i, (key, value)) in entries.into_iter().enumerate() {
                out.push_str(if i == 0 { "" } else { &layout.item_separator });
                line(out, depth);
                write_json_str(out, key, layout);
                out.push_str(&layout.key_separator);
                write_json(out, value, layout, depth + 1);
            }
            line(out, depth - 1);
            out.push('}');
        }
    }
}

fn write_json_str(out: &mut String, s: &str, layout: &JsonLayout) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if u32::from(c) < 0x20 || (layout.ensure_ascii && !c.is_ascii()) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").expect("a String takes everything");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
