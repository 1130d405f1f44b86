//! Values of `config.json` by key. Left out and null are the same; a value that is not what a key takes is an error that
//! names both.

use super::ArchError;
use serde_json::{Map, Value};

/// Largest number that counts something in a configuration: sizes of other formats are 32-bit, too.
const MOST: u64 = i32::MAX as u64;

/// The keys of an object.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    /// `None`: it is not there, and says nothing.
    pub(crate) object: Option<&'a Map<String, Value>>,
    /// Where it stands in the file: what comes before its keys in messages.
    pub(crate) place: &'static str,
}

impl<'a> Keys<'a> {
    /// The key's value, if it says something.
    pub(crate) fn value(&self, key: &str) -> Option<&'a Value> {
        self.object?.get(key).filter(|value| !value.is_null())
    }

    /// A count that is at least 1.
    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>, ArchError> {
        match self.count(key)? {
            Some(0) => Err(self.ill("a number above 0", key)),
            size => Ok(size),
        }
    }

    /// A number of things.
    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>, ArchError> {
        let of = |value: &Value| usize::try_from(value.as_u64().filter(|n| *n <= MOST)?).ok();
        self.read(key, &format!("a whole number up to {MOST}"), of)
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, ArchError> {
        self.read(key, "a number", Value::as_f64)
    }

    /// A number above 0.
    pub(crate) fn positive(&self, key: &str) -> Result<Option<f64>, ArchError> {
        self.read(key, "a number above 0", |value| value.as_f64().filter(|n| *n > 0.0))
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, ArchError> {
        self.read(key, "true or false", Value::as_bool)
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, ArchError> {
        self.read(key, "a name", Value::as_str)
    }

    /// A list, each entry of which `of` understands; `wanted` says what they are.
    pub(crate) fn list<T>(
        &self,
        key: &str,
        wanted: &str,
        of: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>, ArchError> {
        self.read(key, wanted, |value| value.as_array()?.iter().map(of).collect())
    }

    /// Ids of tokens: whole numbers, one or a list. Which of them mean something is for others to say: negative ones
    /// stand for none.
    pub(crate) fn check_ids(&self, key: &str) -> Result<(), ArchError> {
        let whole = |value: &Value| value.is_i64() || value.is_u64();
        let ids = |value: &Value| value.as_array().map_or(whole(value), |ids| ids.iter().all(whole));
        self.read(key, "the id of a token, or a list of ids", |value| ids(value).then_some(())).map(drop)
    }

    pub(crate) fn needed<T>(&self, key: &str, value: Option<T>) -> Result<T, ArchError> {
        value.ok_or_else(|| ArchError::Missing { key: self.name(key) })
    }

    fn read<T>(
        &self,
        key: &str,
        wanted: &str,
        of: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ArchError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        of(value).map(Some).ok_or_else(|| self.ill(wanted, key))
    }

    /// The error that the key's value is not what is `wanted`.
    pub(crate) fn ill(&self, wanted: &str, key: &str) -> ArchError {
        let value = self.value(key).map_or_else(String::new, Value::to_string);
        ArchError::Value { key: self.name(key), value, wanted: wanted.to_owned() }
    }

    fn name(&self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) }
    }
}
