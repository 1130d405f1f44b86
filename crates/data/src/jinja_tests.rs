//! The tests of jinja2 (`x is …`) that minijinja answers in another way.

use minijinja::value::ValueKind;
use minijinja::{Environment, Value};

/// Puts them in the place of minijinja's.
pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_test("iterable", iterable);
    environment.add_test("sequence", sequence);
    environment.add_test("number", number);
}

/// What Python's `iter` takes: a text, too, and what is not defined, but not none.
fn iterable(value: &Value) -> bool {
    value.kind() == ValueKind::Iterable || sequence(value)
}

/// What has a length and elements. To Python that is true of texts and mappings as well.
fn sequence(value: &Value) -> bool {
    use ValueKind::{Bytes, Iterable, Map, Seq, String, Undefined};
    match value.kind() {
        Undefined | String | Bytes | Seq | Map => true,
        Iterable => value.len().is_some(),
        _ => false,
    }
}

/// A truth value is a number to Python.
fn number(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Number | ValueKind::Bool)
}
