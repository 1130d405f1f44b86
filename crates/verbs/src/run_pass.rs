//! `olive run-pass`: one pass with its options as JSON.

use crate::accelerator::{SYSTEM, Target};
use crate::draft::Draft;
use crate::error::VerbError;
use crate::input::InputModel;
use crate::output::OutputOptions;
use crate::pass_options;
use crate::unsupported::Unsupported;
use crate::words::{Device, Provider};
use olive_config::{FOREIGN_PASSES, list_names, nearest};
use olive_engine::REGISTRY;
use serde_json::{Map, Value, json};

/// Options of the verb.
#[derive(Debug, Clone)]
pub struct Options {
    pub output: OutputOptions,
    pub pass_name: String,
    /// An object as JSON.
    pub pass_config: Option<String>,
    pub device: Option<Device>,
    pub provider: Option<Provider>,
}

/// What is refused.
pub const UNSUPPORTED: &[Unsupported] = &[Unsupported::value("memory", "models are not split")];

/// # Errors
/// A pass that nobody has, options that are no JSON object, or that the pass does not have.
pub fn draft(options: &Options, input: &InputModel) -> Result<Draft, VerbError> {
    let mut notices = input.notices.clone();
    let pass = pass(options)?;
    let target = Target::of(options.device, options.provider)?;
    // As in Olive, the CPU is what is meant where nothing is said.
    notices.extend(target.departure(options.device.or(Some(Device::Cpu))));
    let mut config = json!({
        "input_model": input.json,
        "systems": target.systems(),
        "host": SYSTEM,
        "target": SYSTEM,
        "passes": {options.pass_name.to_lowercase(): pass},
    });
    options.output.write_to(&mut config);
    Ok(Draft::new(config, notices))
}

fn pass(options: &Options) -> Result<Value, VerbError> {
    let name = known(&options.pass_name)?;
    let mut pass = Map::from_iter([("type".to_owned(), json!(options.pass_name))]);
    let Some(text) = &options.pass_config else { return Ok(Value::Object(pass)) };
    let refuse = |reason: String, hint: Option<String>| VerbError::Value {
        option: "--pass-config".into(),
        reason,
        hint,
    };
    let example = || Some("an object as JSON, for example '{\"precision\": \"int4\"}'".to_owned());
    let given: Value = serde_json::from_str(text).map_err(|e| refuse(format!("not JSON: {e}"), example()))?;
    let Value::Object(given) = given else {
        return Err(refuse("it is JSON, but no object".into(), example()));
    };
    if let Some(other) = given.get("type").filter(|other| !is_name(other, name)) {
        return Err(VerbError::Contradiction {
            one: format!("--pass-name {}", options.pass_name),
            other: format!("\"type\": {other}"),
            hint: "leave `type` out of `--pass-config`".into(),
        });
    }
    if let Some(known) = pass_options::of(name) {
        let unknown = given.keys().find(|key| *key != "type" && !known.contains(&key.as_str()));
        if let Some(key) = unknown {
            let hint = nearest(key, known.iter().copied()).map_or_else(
                || format!("it has {}", list_names(known)),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(refuse(format!("{name} has no option `{key}`"), Some(hint)));
        }
    }
    pass.extend(given.into_iter().filter(|(key, _)| key != "type"));
    Ok(Value::Object(pass))
}

fn is_name(value: &Value, name: &str) -> bool {
    value.as_str().is_some_and(|text| text.eq_ignore_ascii_case(name))
}

/// The pass in its own spelling.
fn known(given: &str) -> Result<&'static str, VerbError> {
    let names = || REGISTRY.names().chain(FOREIGN_PASSES.iter().copied());
    names().find(|name| name.eq_ignore_ascii_case(given)).ok_or_else(|| VerbError::NoPass {
        given: given.to_owned(),
        hint: nearest(given, names()).map_or_else(
            || "`--list-passes` lists them".to_owned(),
            |near| format!("did you mean `{near}`?"),
        ),
    })
}

/// The passes there are, as `--list-passes` shows them.
pub fn list() -> Vec<String> {
    let names = REGISTRY.names().enumerate().map(|(index, name)| format!("{:3}. {name}", index + 1));
    let mut lines = vec!["Available passes:".to_owned()];
    lines.extend(names);
    lines.push(format!("\nTotal: {} passes available", REGISTRY.names().count()));
    lines.push("\nUsage: olive run-pass --pass-name <PassName> -m <model> -o <output>".into());
    lines
}
