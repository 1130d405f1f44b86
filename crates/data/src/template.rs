//! Text templates: Python's `str.format` with the columns of a row as keyword arguments.

use crate::error::{DataError, Location};
use crate::format_spec::format_value;
use crate::python_text;
use crate::value::Value;
use std::ops::Range;

/// A template, parsed once.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Field(Field),
}

#[derive(Debug, Clone, PartialEq)]
struct Field {
    column: String,
    /// `[key]` after the column, outermost first.
    keys: Vec<String>,
    conversion: Option<Conversion>,
    /// May hold fields itself: `{column:>{width}}`.
    spec: Vec<Part>,
    /// As written, for messages.
    source: String,
}

/// What `!` and a letter make of a value before it is formatted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conversion {
    /// `!s`
    Str,
    /// `!r`
    Repr,
    /// `!a`: as `repr`, with everything beyond ASCII escaped.
    Ascii,
}

impl Template {
    /// # Errors
    /// [`DataError::Template`]: a brace without its partner, a field without a name, an unknown conversion.
    pub fn parse(text: &str) -> Result<Template, DataError> {
        let chars: Vec<char> = text.chars().collect();
        let mut parser = Parser { chars: &chars, at: 0 };
        let parts = parser.parts(0)?;
        Ok(Template { parts })
    }

    /// The columns that the template uses, in the order of their first use.
    pub fn columns(&self) -> Vec<&str> {
        fn collect<'a>(parts: &'a [Part], into: &mut Vec<&'a str>) {
            for part in parts {
                if let Part::Field(field) = part {
                    if !into.contains(&field.column.as_str()) {
                        into.push(&field.column);
                    }
                    collect(&field.spec, into);
                }
            }
        }
        let mut columns = Vec::new();
        collect(&self.parts, &mut columns);
        columns
    }

    /// The text for a row whose columns `column` looks up; `location` says in messages which row it is.
    ///
    /// # Errors
    /// A column is missing, or its value cannot be formatted as the template asks.
    pub fn format<'v>(
        &self,
        column: &dyn Fn(&str) -> Result<&'v Value, DataError>,
        location: &dyn Fn() -> Location,
    ) -> Result<String, DataError> {
        format_parts(&self.parts, column, location)
    }

    /// Where what the last field becomes stands in the text, in bytes; `None`: there are not two fields.
    ///
    /// # Errors
    /// As [`Template::format`].
    pub(crate) fn last_field<'v>(
        &self,
        column: &dyn Fn(&str) -> Result<&'v Value, DataError>,
        location: &dyn Fn() -> Location,
    ) -> Result<Option<Range<usize>>, DataError> {
        let is_field = |part: &Part| matches!(part, Part::Field(_));
        let fields = self.parts.iter().filter(|part| is_field(part)).count();
        let Some(last) = self.parts.iter().rposition(is_field).filter(|_| fields > 1) else {
            return Ok(None);
        };
        let start = format_parts(&self.parts[..last], column, location)?.len();
        let length = format_parts(&self.parts[last..=last], column, location)?.len();
        Ok(Some(start..start + length))
    }
}

fn format_parts<'v>(
    parts: &[Part],
    column: &dyn Fn(&str) -> Result<&'v Value, DataError>,
    location: &dyn Fn() -> Location,
) -> Result<String, DataError> {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Field(field) => {
                let fail =
                    |reason| DataError::Format { location: location(), field: field.source.clone(), reason };
                let mut value = column(&field.column)?;
                for key in &field.keys {
                    value = index(value, key).map_err(fail)?;
                }
                let spec = format_parts(&field.spec, column, location)?;
                let converted = match field.conversion {
                    None => None,
                    Some(Conversion::Str) => Some(python_text::str(value)),
                    Some(Conversion::Repr) => Some(python_text::repr(value)),
                    Some(Conversion::Ascii) => Some(ascii(&python_text::repr(value))),
                };
                let text = match converted {
                    Some(text) => format_value(&Value::Str(text), &spec),
                    None => format_value(value, &spec),
                };
                out.push_str(&text.map_err(fail)?);
            }
        }
    }
    Ok(out)
}

/// `value[key]`: digits are an index, all else is a key, as in Python.
fn index<'v>(value: &'v Value, key: &str) -> Result<&'v Value, String> {
    let number = if key.bytes().all(|b| b.is_ascii_digit()) { key.parse::<usize>().ok() } else { None };
    match (value, number) {
        (Value::List(items), Some(i)) => {
            items.get(i).ok_or_else(|| format!("index {i} in a list of {} items", items.len()))
        }
        (Value::List(_), None) => Err(format!("a list is indexed by numbers, not by `{key}`")),
        (Value::Dict(entries), _) => value.get(key).ok_or_else(|| {
            let known: Vec<_> = entries.iter().map(|(k, _)| format!("`{k}`")).collect();
            format!("there is no key `{key}`; there is {}", known.join(", "))
        }),
        _ => Err(format!("{} has no items", value.kind())),
    }
}

fn ascii(text: &str) -> String {
    let escape = |c: char| match u32::from(c) {
        0..=0x7f => c.to_string(),
        code @ 0x80..=0xff => format!("\\x{code:02x}"),
        code @ 0x100..=0xffff => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    };
    text.chars().map(escape).collect()
}

const UNCLOSED: &str = "a `{` without its `}` (write `{{` for a brace)";

struct Parser<'a> {
    chars: &'a [char],
    at: usize,
}

impl Parser<'_> {
    fn fail<T>(&self, at: usize, reason: impl Into<String>) -> Result<T, DataError> {
        Err(DataError::Template { position: at + 1, reason: reason.into() })
    }

    /// Text and fields up to the end, or, inside a specification (`depth` > 0), up to the closing brace.
    fn parts(&mut self, depth: usize) -> Result<Vec<Part>, DataError> {
        let mut parts = Vec::new();
        let mut text = String::new();
        while let Some(&c) = self.chars.get(self.at) {
            let doubled = self.chars.get(self.at + 1) == Some(&c);
            match c {
                '{' | '}' if doubled && depth == 0 => {
                    text.push(c);
                    self.at += 2;
                }
                '{' => {
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text)));
                    }
                    parts.push(Part::Field(self.field(depth)?));
                }
                '}' if depth > 0 => break,
                '}' => return self.fail(self.at, "a single `}` (write `}}` for a brace)"),
                c => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(parts)
    }

    /// From the opening brace past the closing one.
    fn field(&mut self, depth: usize) -> Result<Field, DataError> {
        let start = self.at;
        if depth >= 2 {
            return self.fail(start, "fields are nested too deeply");
        }
        self.at += 1;
        let mut bracket = false;
        let name_start = self.at;
        while let Some(&c) = self.chars.get(self.at) {
            match c {
                '[' => bracket = true,
                ']' => bracket = false,
                '{' if !bracket => return self.fail(self.at, "an unexpected `{` inside a field"),
                '}' | ':' | '!' if !bracket => break,
                _ => {}
            }
            self.at += 1;
        }
        if self.at == self.chars.len() {
            return self.fail(start, UNCLOSED);
        }
        let name: String = self.chars[name_start..self.at].iter().collect();
        let (column, keys) = self.name(&name, name_start)?;
        let mut field = Field { column, keys, conversion: None, spec: Vec::new(), source: String::new() };
        if self.chars.get(self.at) == Some(&'!') {
            field.conversion = match self.chars.get(self.at + 1) {
                Some('s') => Some(Conversion::Str),
                Some('r') => Some(Conversion::Repr),
                Some('a') => Some(Conversion::Ascii),
                Some(_) | None => {
                    return self.fail(self.at, "the conversion after `!` must be `r`, `s` or `a`");
                }
            };
            self.at += 2;
            if !matches!(self.chars.get(self.at), Some(':' | '}')) {
                return self.fail(self.at, "`:` or `}` must follow the conversion");
            }
        }
        if self.chars.get(self.at) == Some(&':') {
            self.at += 1;
            field.spec = self.parts(depth + 1)?;
        }
        if self.chars.get(self.at) != Some(&'}') {
            return self.fail(start, UNCLOSED);
        }
        field.source = self.chars[start + 1..self.at].iter().collect();
        self.at += 1;
        Ok(field)
    }

    fn name(&self, name: &str, at: usize) -> Result<(String, Vec<String>), DataError> {
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let (column, mut rest) = name.split_at(end);
        if column.is_empty() || column.bytes().all(|b| b.is_ascii_digit()) {
            return self.fail(at, "a field must name a column");
        }
        let mut keys = Vec::new();
        while !rest.is_empty() {
            if rest.starts_with('.') {
                return self.fail(
                    at,
                    format!(
                        "`{name}` asks for an attribute; `{column}[key]` looks into a column, and a column with a dot \
                         in its name cannot be used in a template"
                    ),
                );
            }
            let Some((key, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) else {
                return self.fail(at, format!("`{name}` is not a column with keys in brackets"));
            };
            if key.is_empty() {
                return self.fail(at, format!("`{name}` has an empty key"));
            }
            keys.push(key.to_owned());
            rest = after;
        }
        Ok((column.to_owned(), keys))
    }
}
