//! Reading a JSON object strictly: whatever is wrong is said of a field by its name. A field that is null is as good as left out.

use super::api_error::ApiError;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// The fields of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    /// Where the object stands, with what parts it from a field: `stream_options.`.
    prefix: &'a str,
}

impl<'a> Fields<'a> {
    /// The fields of a body.
    pub(crate) fn of(object: &'a Map<String, Value>) -> Fields<'a> {
        Fields { object, prefix: "" }
    }

    /// The fields of an object that stands somewhere in a body.
    pub(crate) fn within(prefix: &'a str, object: &'a Map<String, Value>) -> Fields<'a> {
        Fields { object, prefix }
    }

    /// The full name of a field.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(crate) fn invalid(&self, name: &str, what: impl std::fmt::Display) -> ApiError {
        let path = self.path(name);
        ApiError::invalid(&path, format!("`{path}` {what}"))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn number(&self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().ok_or_else(|| self.invalid(name, "must be a number"))?;
        if !range.contains(&number) {
            let (low, high) = (range.start(), range.end());
            return Err(self.invalid(name, format!("must be between {low} and {high}")));
        }
        Ok(Some(number))
    }

    pub(crate) fn integer(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let beyond = || {
            let (low, high) = (range.start(), range.end());
            self.invalid(name, format!("must be an integer between {low} and {high}"))
        };
        let number = value.as_i64().ok_or_else(beyond)?;
        if range.contains(&number) { Ok(Some(number)) } else { Err(beyond()) }
    }

    /// A number of things.
    pub(crate) fn count(&self, name: &str, range: RangeInclusive<usize>) -> Result<Option<usize>, ApiError> {
        let bound = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let range = bound(*range.start())..=bound(*range.end());
        Ok(self.integer(name, range)?.and_then(|n| usize::try_from(n).ok()))
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.invalid(name, "must be true or false"))
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.invalid(name, "must be a string"))
    }

    pub(crate) fn list(&self, name: &str) -> Result<Option<&'a [Value]>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let list = value.as_array().ok_or_else(|| self.invalid(name, "must be a list"))?;
        Ok(Some(list))
    }

    pub(crate) fn object(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_object().map(Some).ok_or_else(|| self.invalid(name, "must be an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_numbers_of_their_kind_and_range() {
        let read = |value: Value| {
            let object = json!({ "x": value }).as_object().unwrap().clone();
            let fields = Fields::of(&object);
            (fields.number("x", 0.0..=2.0).ok(), fields.integer("x", 1..=i64::MAX).ok())
        };
        assert_eq!(read(json!(1)), (Some(Some(1.0)), Some(Some(1))));
        assert_eq!(read(json!(1.5)), (Some(Some(1.5)), None));
        assert_eq!(read(json!(null)), (Some(None), Some(None)));
        assert_eq!(read(json!(i64::MAX)), (None, Some(Some(i64::MAX))));
        for wrong in [json!("1"), json!(true), json!([1]), json!(-1), json!(9_223_372_036_854_775_808u64)] {
            assert_eq!(read(wrong.clone()), (None, None), "{wrong}");
        }
    }

    #[test]
    fn an_error_names_the_field_where_it_stands() {
        let object = json!({"include_usage": "yes"}).as_object().unwrap().clone();
        let error = Fields::within("stream_options.", &object).boolean("include_usage").unwrap_err();
        assert_eq!(error.to_json()["error"]["param"], "stream_options.include_usage");
    }
}
