//! `namespace` of templates as jinja2 has it: it can be read and set, but it is no mapping, and equal to itself only.
//!
//! A namespace is the only value that can hold itself, and the library would follow its own without end where values are
//! compared, hashed or dropped. It sets attributes of no others, however. So one of its own holds the attributes, behind a
//! door whose name no template knows: `{% set ns.x = 1 %}` is made to say `{% set ns.DOOR.x = 1 %}`.

use minijinja::value::{DynObject, Object, ObjectRepr, ValueOrKwargs};
use minijinja::{Environment, Error, State, Value, functions};
use regex::{Captures, Regex};
use std::cmp::Ordering;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// The name behind which the namespaces of a template have their attributes.
pub(super) struct Door(Arc<str>);

impl Door {
    pub(super) fn new() -> Door {
        Door(format!("door_{:016x}", RandomState::new().hash_one(())).into())
    }

    /// The template, with attributes set through the door.
    pub(super) fn open(&self, source: &str) -> String {
        let through = format!("${{path}}{}.${{name}}", self.0);
        let set = TAGS.replace_all(source, |tag: &Captures<'_>| match tag.name("targets") {
            None => tag[0].to_owned(),
            Some(targets) => {
                let targets = ATTRIBUTES.replace_all(targets.as_str(), &through);
                format!("{}{targets}{}", &tag["set"], &tag["value"])
            }
        });
        set.into_owned()
    }

    /// Puts `namespace` in the place of minijinja's.
    pub(super) fn add_to(self, environment: &mut Environment<'_>) {
        environment.add_function(
            "namespace",
            move |state: &mut State<'_, '_>, start: Option<ValueOrKwargs>| -> Result<Value, Error> {
                let attributes = Mutex::new(Some(functions::namespace(start)?));
                let namespace = Arc::new(Namespace { door: self.0.clone(), attributes });
                state.get_or_insert_extension_with(Namespaces::default).0.push(namespace.clone());
                Ok(Value::from_dyn_object(namespace))
            },
        );
    }
}

/// Everything that may hold the text of a tag, from the left: comments and raw text are left alone, and so is what stands in
/// texts between quotes.
static TAGS: LazyLock<Regex> = LazyLock::new(|| {
    let inside = r#"(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^"'])*?"#;
    let pattern = [
        r"\{#.*?#\}",
        r"\{%[-+]?\s*raw\s*[-+]?%\}.*?\{%[-+]?\s*endraw\s*[-+]?%\}",
        &format!(r#"(?<set>\{{%[-+]?\s*set\s)(?<targets>[^=%|"']*)(?<value>{inside}%\}})"#),
        &format!(r"\{{%{inside}%\}}"),
        &format!(r"\{{\{{{inside}\}}\}}"),
    ];
    Regex::new(&format!("(?s){}", pattern.join("|"))).expect("the pattern is constant")
});

/// An attribute that is set, and the namespace before it.
static ATTRIBUTES: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?<path>(?:\w+\s*\.\s*)+)(?<name>\w+)").expect("the pattern is constant"));

struct Namespace {
    door: Arc<str>,
    /// A namespace of the library; `None` when the rendering is over.
    attributes: Mutex<Option<Value>>,
}

impl Namespace {
    fn attributes(&self) -> std::sync::MutexGuard<'_, Option<Value>> {
        self.attributes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Object for Namespace {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let attributes = self.attributes().clone()?;
        if key.as_str() == Some(&self.door) {
            return Some(attributes);
        }
        attributes.get_item(key).ok().filter(|value| !value.is_undefined())
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        let other = other.downcast_ref::<Namespace>()?;
        Some(Arc::as_ptr(self).cmp(&std::ptr::from_ref(other)))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Without the attributes, which may lead back here.
impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<Namespace>")
    }
}

/// All of a rendering, whose end takes the attributes from them: those that hold themselves would stay in memory.
#[derive(Default)]
struct Namespaces(Vec<Arc<Namespace>>);

impl Drop for Namespaces {
    fn drop(&mut self) {
        for namespace in &self.0 {
            let attributes = namespace.attributes().take();
            drop(attributes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_set_through_the_door() {
        let opened = |source: &str| Door("D".into()).open(source);
        for (source, expected) in [
            ("{% set ns.x = ns.y %}", "{% set ns.D.x = ns.y %}"),
            ("{%- set\n a . b.c=1 -%}", "{%- set\n a . b.D.c=1 -%}"),
            ("{% set ns.x, (y, ns.z) = 1, (2, 3) %}", "{% set ns.D.x, (y, ns.D.z) = 1, (2, 3) %}"),
            ("{% set ns.x | upper %}{{ a.b }}{% endset %}", "{% set ns.D.x | upper %}{{ a.b }}{% endset %}"),
            (
                "{% set x = '%}' ~ \"{% set a.b\" %}{% set a.b = 1 %}",
                "{% set x = '%}' ~ \"{% set a.b\" %}{% set a.D.b = 1 %}",
            ),
        ] {
            assert_eq!(opened(source), expected);
        }
        for source in [
            "{% set x = a.b %}",
            "{# {% set a.b = 1 %} #}",
            "{% raw %}{% set a.b = 1 %}{% endraw %}",
            "{{ '{% set a.b = 1 %}' }}{% if '\\'{% set a.b = 1 %}' %}{% endif %}",
            "it's {% set",
        ] {
            assert_eq!(opened(source), source);
        }
    }

    #[test]
    fn what_holds_itself_is_gone_after_the_rendering() {
        let mut environment = Environment::new();
        let door = Door::new();
        let source = door.open("{% set a = namespace(x=1) %}{% set a.y = [a, held] %}{{ a.x }}");
        door.add_to(&mut environment);
        let held = Arc::new(vec![Value::from(1)]);
        let context = minijinja::context! { held => Value::from_dyn_object(held.clone()) };
        assert_eq!(environment.render_str(&source, context).unwrap(), "1");
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
