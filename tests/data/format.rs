//! Text templates against Python's `str.format`; the table is written by `tests/fixtures/data/make.py`.

use super::setup::{fixture_json, prepare, toy_model, write};
use crate::support::rows::{load, options};
use olive_config::canonical::{Era, Strategy};
use olive_data::python_text::float_repr;
use olive_data::template::Template;
use olive_data::{DataError, Location, Numbering, Value};

fn format(template: &str, row: &Value) -> Result<String, DataError> {
    let location = || Location { path: "rows.jsonl".into(), number: 1, numbering: Numbering::Lines };
    let column = |name: &str| {
        row.get(name).ok_or_else(|| DataError::MissingColumn {
            location: location(),
            column: name.to_owned(),
            wanted_by: "the text template",
            known: Vec::new(),
        })
    };
    Template::parse(template)?.format(&column, &location)
}

#[test]
fn a_precision_has_an_end() {
    let row = Value::from(&serde_json::json!({"b": 1.5}));
    assert_eq!(format("{b:.10000f}", &row).unwrap().len(), 10_002);
    for code in ["f", "e", "g", "%", ""] {
        let refusal = format(&["{b:.65536", code, "}"].concat(), &row).unwrap_err().to_string();
        assert!(refusal.contains("a precision of 65536 is more than"), "{refusal}");
    }
}

#[test]
fn templates_print_what_python_prints() {
    let table = fixture_json("format.json");
    let row = Value::from(&table["row"]);
    let mut wrong = Vec::new();
    let [cases, floats] = ["cases", "floats"].map(|key| table[key].as_array().unwrap());
    for case in cases {
        let template = case["template"].as_str().unwrap();
        let ours = format(template, &row);
        match (case["expected"].as_str(), &ours) {
            (Some(expected), Ok(text)) if expected == text => {}
            (None, Err(_)) => {}
            (expected, _) => wrong.push(format!(
                "{template:?}: Python {}, this {ours:?}",
                expected.map_or_else(|| case["error"].to_string(), |e| format!("{e:?}"))
            )),
        }
    }
    assert_eq!((cases.len(), floats.len()), (194, 19));
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    for pair in floats {
        let expected = pair[1].as_str().unwrap();
        assert_eq!(float_repr(expected.parse().unwrap()), expected);
    }
    assert_eq!(float_repr(f64::NAN), "nan");
    assert_eq!(float_repr(f64::NEG_INFINITY), "-inf");
}

#[test]
fn mistakes_are_located() {
    let dir = tempfile::tempdir().unwrap();
    let model = toy_model(dir.path());
    let rows = write(dir.path(), "rows.jsonl", "{\"Best Answer\": 1.5}\n\n{\"Best Answer\": \"x\"}\n");
    let complaint = |template: &str| {
        super::setup::complaint(prepare(
            load("json", &[&rows]),
            options(Era::Old, Strategy::Join, 4, template),
            &model,
        ))
    };
    let missing = complaint("{best answer}");
    assert!(missing.contains("rows.jsonl`, line 1: there is no column `best answer`"), "{missing}");
    assert!(missing.contains("there is `Best Answer` | did you mean `Best Answer`?"), "{missing}");
    let format = complaint("{Best Answer:.2f}");
    assert!(format.contains("rows.jsonl`, line 3: `{Best Answer:.2f}` cannot be formatted"), "{format}");
    let brace = complaint("{Best Answer} }");
    assert!(brace.contains("not valid at character 15") && brace.contains("`}}`"), "{brace}");
    let attribute = complaint("{Best Answer.text}");
    assert!(attribute.contains("`Best Answer[key]` looks into a column"), "{attribute}");
}
