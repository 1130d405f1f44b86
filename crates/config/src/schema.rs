//! The JSON Schema of a configuration, made from the tables, for editors.

use crate::azureml::{AZUREML_DATASTORE, AZUREML_JOB_OUTPUT, AZUREML_MODEL, AZUREML_REGISTRY_MODEL};
use crate::evaluators::{EVALUATOR, EvaluatorType, LM_EVALUATOR, MTEB_EVALUATOR};
use crate::option::{Block, DefaultValue, Fate, Kind, Opt};
use crate::origin::Era;
use crate::read::registry::Registry;
use crate::search::SEARCH;
use crate::tables::{
    ACCELERATOR, AZURE_MACHINES, AZURE_ML, DATA_CONFIG, DOCKER, HF_MODEL, ISOLATED_ORT, LOCAL_SYSTEM,
    ONNX_MODEL, PASS_TYPES, PYTHON_ENVIRONMENT, ROOT,
};
use serde_json::{Map, Value as Json, json};

/// JSON Schema 2020-12 of `olive-config.json`, with both spellings and both ways of nesting.
///
/// It is a little stricter than the reader: numbers written as text are for old files, not for new ones.
pub fn json_schema<P: ?Sized>(registry: &Registry<P>) -> Json {
    schema(&registry.pass_blocks(), registry.in_words())
}

/// The definitions so far.
struct Definitions {
    map: Map<String, Json>,
    /// The types of passes in words.
    pass_types: String,
    values: Values,
}

/// How many values an option may have.
#[derive(Clone, Copy, PartialEq)]
enum Values {
    Single,
    /// A search may try several of a scalar option.
    Sets,
}

fn schema(passes: &[&'static Block], pass_types: String) -> Json {
    let mut defs = Definitions { map: Map::new(), pass_types, values: Values::Single };
    let mut root = block(&ROOT, &mut defs);
    let systems = [
        ("LocalSystem", &LOCAL_SYSTEM),
        ("AzureML", &AZURE_ML),
        ("Docker", &DOCKER),
        ("PythonEnvironment", &PYTHON_ENVIRONMENT),
        ("IsolatedORT", &ISOLATED_ORT),
    ];
    let systems = systems.into_iter().chain(AZURE_MACHINES.map(|machine| (machine, &AZURE_ML)));
    let systems: Vec<Json> = systems.map(|(name, block)| when(name, block, &mut defs)).collect();
    let system = json!({"type": "object", "required": ["type"], "allOf": systems, "properties": {
        "type": {"type": "string"},
    }});
    let resources = [&AZUREML_DATASTORE, &AZUREML_MODEL, &AZUREML_REGISTRY_MODEL, &AZUREML_JOB_OUTPUT];
    let resources = resources.map(|block| when(block.name, block, &mut defs));
    let resource = json!({"type": "object", "required": ["type"], "allOf": resources, "properties": {
        "type": {"type": "string"},
    }});
    let model = json!({"type": "object", "required": ["type"], "properties": {
        "type": any_case(&["HfModel", "PyTorchModel", "ONNXModel"]),
    }, "allOf": [
        when("HfModel", &HF_MODEL, &mut defs),
        when("PyTorchModel", &HF_MODEL, &mut defs),
        when("ONNXModel", &ONNX_MODEL, &mut defs),
    ]});
    let evaluator = evaluator(&mut defs);
    reference(&SEARCH, &mut defs);
    let names: Vec<&str> = passes.iter().map(|pass| pass.name).collect();
    defs.values = Values::Sets;
    let passes: Vec<Json> = passes.iter().map(|pass| when(pass.name, pass, &mut defs)).collect();
    defs.values = Values::Single;
    let pass = json!({"type": "object", "required": ["type"], "properties": {
        "type": any_case(&names),
    }, "allOf": passes});
    reference(&DATA_CONFIG, &mut defs);
    reference(&ACCELERATOR, &mut defs);
    defs.map.insert("any_evaluator".into(), evaluator);
    let values = "Values that a search tries; without `search_strategy` there can be one only.";
    defs.map.insert("values".into(), json!({"description": values, "type": "array", "minItems": 1}));
    defs.map.insert("resource".into(), resource);
    defs.map.insert("system".into(), system);
    defs.map.insert("input_model".into(), model);
    defs.map.insert("pass".into(), pass);

    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "olive-config.json",
        "required": ["input_model", "passes"],
    });
    let mut schema = head.as_object().cloned().unwrap_or_default();
    schema.append(root.as_object_mut().unwrap_or(&mut Map::new()));
    schema.insert("$defs".into(), Json::Object(defs.map));
    Json::Object(schema)
}

/// An evaluator of tasks, if its type says so, and one of metrics otherwise.
fn evaluator(defs: &mut Definitions) -> Json {
    let names = EvaluatorType::NAMES.map(|(name, _)| name);
    let tasks = [&LM_EVALUATOR, &MTEB_EVALUATOR];
    let mut cases = tasks.map(|block| when(block.name, block, defs)).to_vec();
    let others = tasks.map(|block| pattern(block.name)).join("|");
    cases.push(json!({
        "if": {"properties": {"type": {"type": "string", "pattern": others}}, "required": ["type"]},
        "else": reference(&EVALUATOR, defs),
    }));
    let mut word = any_case(&names);
    word.insert("type".into(), json!(["string", "null"]));
    json!({"type": "object", "properties": {"type": word}, "allOf": cases})
}

/// An object with the options of a block, beside and inside its wrapper.
fn block(block: &Block, defs: &mut Definitions) -> Json {
    let mut inner = Map::new();
    for opt in block.inner() {
        option(opt, &mut inner, defs);
    }
    let closed = block.open.is_some();
    let mut properties = Map::new();
    let values = std::mem::replace(&mut defs.values, Values::Single);
    for opt in block.outer {
        option(opt, &mut properties, defs);
    }
    defs.values = values;
    for (name, schema) in &inner {
        properties.insert(name.clone(), schema.clone());
    }
    if let Some(wrapper) = block.wrapper {
        properties.insert(
            wrapper.into(),
            object(inner, &format!("The options of {}, nested.", block.name), closed, true),
        );
    }
    object(properties, block.doc, closed, false)
}

fn object(properties: Map<String, Json>, doc: &str, open: bool, nullable: bool) -> Json {
    let mut schema = Map::new();
    schema.insert("type".into(), if nullable { json!(["object", "null"]) } else { json!("object") });
    schema.insert("description".into(), json!(doc));
    schema.insert("properties".into(), Json::Object(properties));
    if !open {
        schema.insert("patternProperties".into(), json!({"^x-": true}));
        schema.insert("additionalProperties".into(), json!(false));
    }
    Json::Object(schema)
}

fn option(opt: &Opt, properties: &mut Map<String, Json>, defs: &mut Definitions) {
    let mut schema = Map::new();
    let mut text = opt.doc.replace(PASS_TYPES, &defs.pass_types);
    match opt.fate {
        Fate::Honoured | Fate::Quiet => {}
        Fate::Ignored { why, .. } => text.push_str(&format!(" Not used: {why}.")),
        Fate::Refused { why, .. } => text.push_str(&format!(" Not supported: {why}.")),
    }
    schema.insert("description".into(), json!(text));
    if let DefaultValue::Json(json) = opt.new_default
        && opt.old_default == opt.new_default
    {
        schema.insert("default".into(), serde_json::from_str(json).unwrap_or_default());
    }
    let kind = match (defs.values, opt.fate) {
        (Values::Sets, Fate::Honoured) => kind_or_set(opt, defs),
        _ => kind(&opt.kind, defs),
    };
    let Json::Object(kind) = kind else { return };
    // A schema beside `$ref` is allowed since 2019-09.
    schema.extend(kind);
    for (name, era) in opt.spellings() {
        let mut schema = schema.clone();
        if era == Some(Era::Old) && name != opt.name {
            schema.insert("deprecated".into(), json!(true));
            schema.insert("description".into(), json!(format!("The old name of `{}`. {text}", opt.name)));
        }
        properties.insert(name.into(), Json::Object(schema));
    }
}

/// The form of a value, or of several that a search tries.
fn kind_or_set(opt: &Opt, defs: &mut Definitions) -> Json {
    let single = kind(&opt.kind, defs);
    if matches!(opt.kind, Kind::Texts | Kind::Block(_) | Kind::Blocks(_) | Kind::Special(_) | Kind::Any) {
        return single;
    }
    let mut forms = vec![single, json!({"$ref": "#/$defs/values"})];
    forms.extend(opt.search_values.map(|_| json!({"enum": ["SEARCHABLE_VALUES", "DEFAULT_VALUE"]})));
    json!({"anyOf": forms})
}

/// The form of a value. Null always stands for the default.
fn kind(kind: &Kind, defs: &mut Definitions) -> Json {
    match kind {
        Kind::Bool => json!({"type": ["boolean", "null"]}),
        Kind::Int { min, max } => {
            let mut schema = Map::from_iter([("type".to_owned(), json!(["integer", "null"]))]);
            if *min != i64::MIN {
                schema.insert("minimum".into(), json!(min));
            }
            if *max != i64::MAX {
                schema.insert("maximum".into(), json!(max));
            }
            Json::Object(schema)
        }
        Kind::IntChoice(choices) => {
            let choices = choices.iter().map(|choice| json!(choice)).chain([Json::Null]);
            json!({"enum": choices.collect::<Vec<Json>>()})
        }
        Kind::Number(bounds) => {
            let mut schema = Map::from_iter([("type".to_owned(), json!(["number", "null"]))]);
            if bounds.min.is_finite() {
                let key = if bounds.min_included { "minimum" } else { "exclusiveMinimum" };
                schema.insert(key.into(), json!(bounds.min));
            }
            if bounds.max.is_finite() {
                let key = if bounds.max_included { "maximum" } else { "exclusiveMaximum" };
                schema.insert(key.into(), json!(bounds.max));
            }
            Json::Object(schema)
        }
        Kind::Text => json!({"type": ["string", "null"]}),
        Kind::Choice(choices) => {
            let words: Vec<&str> = choices.iter().flat_map(|choice| choice.split('|')).collect();
            let mut schema = any_case(&words);
            schema.insert("type".into(), json!(["string", "null"]));
            Json::Object(schema)
        }
        Kind::Texts => json!({"anyOf": [crate::option::texts_schema(), {"type": ["string", "null"]}]}),
        Kind::Block(block) => json!({"anyOf": [reference(block, defs), {"type": "null"}]}),
        Kind::Blocks(block) => json!({"type": ["array", "null"], "items": reference(block, defs)}),
        Kind::Special(special) => (special.schema)(),
        Kind::Any => json!({}),
    }
}

/// A `$ref` to the definition of a block, which is added if need be.
fn reference(block: &'static Block, defs: &mut Definitions) -> Json {
    let name = block.name.trim_start_matches("the ").replace(' ', "_");
    if !defs.map.contains_key(&name) {
        defs.map.insert(name.clone(), Json::Null); // A block that contains itself must end here.
        let schema = self::block(block, defs);
        defs.map.insert(name.clone(), schema);
    }
    json!({"$ref": format!("#/$defs/{name}")})
}

/// If `type` is this word in any case, the object is such a block.
fn when(r#type: &str, block: &'static Block, defs: &mut Definitions) -> Json {
    // Two blocks describe input models; the definitions need names of their own.
    let name = if block.name == "the input model" { format!("{type}_model") } else { block.name.to_owned() };
    if !defs.map.contains_key(&name) {
        let schema = self::block(block, defs);
        defs.map.insert(name.clone(), schema);
    }
    json!({
        "if": {"properties": {"type": {"type": "string", "pattern": pattern(r#type)}}, "required": ["type"]},
        "then": {"$ref": format!("#/$defs/{name}")},
    })
}

/// One of these words, for completion, and in any case.
fn any_case(words: &[&str]) -> Map<String, Json> {
    let patterns: Vec<String> = words.iter().map(|word| pattern(word)).collect();
    let choices = json!([{"enum": words}, {"pattern": patterns.join("|")}]);
    Map::from_iter([("type".into(), json!("string")), ("anyOf".into(), choices)])
}

/// ECMAScript's regular expressions have no switch for upper and lower case.
fn pattern(word: &str) -> String {
    let letters = word.chars().map(|letter| match letter {
        'a'..='z' | 'A'..='Z' => format!("[{}{}]", letter.to_ascii_uppercase(), letter.to_ascii_lowercase()),
        _ => letter.to_string(),
    });
    format!("^{}$", letters.collect::<String>())
}
