//! What templates find around them: the syntax, the functions and the filters of transformers.

use crate::calendar;
use crate::jinja_limits;
use crate::jinja_marks;
use crate::jinja_namespace::Door;
use crate::jinja_tests;
use crate::jinja_value::from_jinja;
use crate::python_text;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, ErrorKind, State, escape_formatter};

/// The name of the one template.
pub(super) const NAME: &str = "chat";

/// A template, compiled as transformers would.
pub(super) fn compiled(source: &str) -> std::result::Result<Environment<'static>, minijinja::Error> {
    let door = Door::new();
    let source = door.open(source);
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    jinja_limits::set(&mut environment);
    environment.set_formatter(|out, state, value| match value.kind() {
        ValueKind::Undefined | ValueKind::String => escape_formatter(out, state, value),
        _ => out.write_str(&python_text::str(&from_jinja(state, value)?)).map_err(minijinja::Error::from),
    });
    environment.add_function("raise_exception", |message: String| {
        Err::<String, _>(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    add_clock(&mut environment, calendar::strftime_now);
    environment.add_filter("tojson", tojson);
    environment.add_filter(jinja_marks::FILTER, |state: &State<'_, '_>, text: &str| {
        jinja_limits::charge(state, text.len())?;
        Ok::<_, minijinja::Error>(jinja_marks::between_signs(text))
    });
    jinja_tests::add(&mut environment);
    door.add_to(&mut environment);
    jinja_limits::add_template(&environment, NAME, source)
}

/// The function of templates that asks what day it is.
pub(super) const NOW: &str = "strftime_now";

/// Has templates ask this clock.
pub(super) fn add_clock(
    environment: &mut Environment<'static>,
    clock: impl Fn(&str) -> String + Send + Sync + 'static,
) {
    environment.add_function(NOW, move |state: &State<'_, '_>, format: &str| {
        jinja_limits::charge(state, format.len().saturating_mul(calendar::LONGEST_CODE))?;
        Ok::<_, minijinja::Error>(clock(format))
    });
}

/// `json.dumps` with text as it is: jinja2's own filter escapes HTML, the one of chat templates does not.
fn tojson(
    state: &State<'_, '_>,
    value: &minijinja::Value,
    options: Kwargs,
) -> std::result::Result<String, minijinja::Error> {
    let mut layout = python_text::JsonLayout::new(options.get::<Option<usize>>("indent")?);
    if let Some(separators) = options.get::<Option<Vec<String>>>("separators")?
        && let [item, key] = &separators[..]
    {
        (layout.item_separator, layout.key_separator) = (item.clone(), key.clone());
    }
    layout.ensure_ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    layout.sort_keys = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    options.assert_all_used()?;
    let value = from_jinja(state, value)?;
    jinja_limits::charge(state, layout.space(&value))?;
    Ok(python_text::json_dumps(&value, &layout))
}
