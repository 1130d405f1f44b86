//! Microsoft's recipes: `olive validate` accepts or refuses each as the table beside them says.

use crate::support::binary::olive;
use crate::support::shared::shared;
use serde_json::json;
use std::collections::HashSet;

/// Names of the passes that the program has, in small letters.
fn implemented() -> HashSet<String> {
    let output = olive().args(["run-pass", "--list-passes"]).output().expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let names = text.lines().filter_map(|line| line.split_once(". "));
    names.map(|(_, name)| name.trim().to_lowercase()).collect()
}

#[test]
fn every_recipe_is_accepted_or_refused_for_the_reason_that_its_table_names() {
    let Some(folder) = shared("recipes") else { return };
    let passes_here = implemented();
    assert!(passes_here.contains("modelbuilder"), "{passes_here:?}");
    let list = std::fs::read_to_string(folder.join("README.md")).expect("the table is read");
    let (mut accepted, mut refused) = (0, 0);
    for row in list.lines().filter_map(|line| line.strip_prefix("| ")) {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [file, _, passes, .., expected] = cells.as_slice() else { continue };
        if !file.ends_with(".json") {
            continue;
        }
        let outcome =
            olive().args(["validate", "--config"]).arg(folder.join(file)).output().expect("it runs");
        let text = String::from_utf8(outcome.stderr).expect("UTF-8");
        if let Some(reason) = expected.strip_prefix("refuse: ") {
            let what = reason.split([' ', ',']).nth(1).expect("a kind and a name");
            assert!(!outcome.status.success() && text.contains(what), "{file}: {what}: {text}");
            refused += 1;
        } else if passes.split(" → ").all(|pass| passes_here.contains(&pass.to_lowercase())) {
            assert!(outcome.status.success(), "{file}: {text}");
            accepted += 1;
        } else {
            assert!(text.contains("not implemented: "), "{file}: {text}");
        }
    }
    assert!(accepted > 20 && refused > 5, "{accepted} accepted, {refused} refused");
}

#[test]
fn an_unknown_extra_option_is_a_warning_and_a_slip_of_the_pen_an_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("c.json");
    let validate = |option: &str| {
        let builder = json!({"type": "ModelBuilder", "precision": "int4", "extra_options": {option: "x"}});
        let model = json!({"type": "HfModel", "model_path": "org/model"});
        let config = json!({"input_model": model, "passes": {"b": builder}});
        std::fs::write(&path, config.to_string()).expect("the configuration is written");
        let output = olive().args(["validate", "--config"]).arg(&path).output().expect("the program runs");
        (output.status.success(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let (accepted, text) = validate("quant_mode");
    assert!(accepted && text.contains("`quant_mode` is not used: the builder has no such option"), "{text}");
    let (accepted, text) = validate("fuse_qvk");
    assert!(!accepted && text.contains("did you mean `fuse_qkv`?"), "{text}");
}
