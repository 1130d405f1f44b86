//! Templates and files that would take more of the machine than there is.

use super::parquet_file::{self, data_page, endless_text, int, structure};
use super::setup::{complaint, fixture, toy_model, write};
use crate::support::binary::{olive_process, text};
use crate::support::quickstart::base_model;
use crate::support::rows::load;
use olive_data as data;
use olive_data::{ChatTemplate, GenerationPrompt, Message};
use olive_model::ModelFolder;
use serde_json::json;

/// What a template says, or why it says nothing.
fn rendered(source: &str) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "config.json", "{}");
    write(dir.path(), "chat_template.jinja", source);
    let folder = ModelFolder::open(dir.path()).unwrap();
    let template = ChatTemplate::from_folder(&folder).map_err(|e| e.to_string())?.unwrap();
    let message = Message { role: "user".into(), content: "hello".into() };
    template.render(&[message], GenerationPrompt::Add).map_err(|e| e.to_string())
}

fn assert_refused(source: &str) {
    let error = rendered(source).expect_err(source);
    assert!(error.contains("chat_template.jinja`: the chat template"), "{source}: {error}");
    assert!(error.len() < 2000, "{source}: {} bytes", error.len());
}

#[test]
fn templates_end() {
    for source in [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
        "{{ 'x' * 10**12 }}",
        "{{ '%99999999999s' | format('x') }}",
        "{{ '%.9999999f' | format(1.5) }}",
        "{{ 'a' | indent(99999999999) }}",
        "{{ '{:99999999999}'.format(1) }}",
        "{{ '{:.9999999f}'.format(1.5) }}",
        "{% set s = 'x' * 1000000 %}{{ ('{0}' * 100000).format(s) }}",
        "{% set s = 'x' * 1000000 %}{{ ''.join([s] * 100000) }}{{ [s] * 100000 }}",
        "{% set s = 'x' * 1000000 %}{{ [s] * 100000 | string }}{{ ([s] * 100000) | join }}",
        "{{ messages | tojson(indent=18446744073709551615) }}",
        "{% set s = 'x' * 1000000 %}{{ ([s] * 100000) | tojson }}",
        "{{ strftime_now('%c' * 10000000) }}",
        "{{ raise_exception('x' * 1000000) }}",
    ] {
        assert_refused(source);
    }
}

#[test]
fn values_may_be_as_deep_as_steps_make_them() {
    let chain = |name: &str, levels: u32| {
        format!(
            "{{% set {name} = namespace(x=[]) %}}{{% for i in range({levels}) %}}{{% set {name}.x = [{name}.x] %}}{{% endfor %}}"
        )
    };
    let deep = |use_of: &str| chain("ns", 99_999) + use_of;
    assert_eq!(rendered(&deep("done")).unwrap(), "done");
    for use_of in ["{{ ns.x }}", "{{ ns.x | tojson }}", "{{ ns.x | string }}", "{{ '{}'.format(ns.x) }}"] {
        assert_refused(&deep(use_of));
    }
    for levels in [300, 50_000] {
        let two = chain("a", levels) + &chain("b", levels);
        for expression in ["a.x == b.x", "a.x <= b.x", "b.x in [[], a.x]", "{a.x: true}[b.x]"] {
            assert_eq!(
                rendered(&format!("{two}{{{{ {expression} }}}}")).as_deref(),
                Ok("True"),
                "{expression}"
            );
        }
    }
}

/// As in Python, where a namespace is equal to nothing but itself.
#[test]
fn namespaces_may_hold_themselves() {
    let cycles = "{% set a = namespace() %}{% set b = namespace() %}{% for n in [a, b] %}{% set n.x = [n, {'x': n}] %}{% endfor %}";
    for (expression, expected) in [
        ("a == b", "False"),
        ("a == a", "True"),
        ("a.x == b.x", "False"),
        ("a.x == a.x[1].x.x", "True"),
        ("a in [b, a]", "True"),
        ("a == {'x': a.x}", "False"),
        ("{'x': a.x} == a", "False"),
        ("[a, b, a] | unique | list | length", "2"),
        ("[a, b] | sort | length", "2"),
        ("[a, b, a] | groupby('x') | length", "2"),
        ("{a: 1, b.x: 2} | length", "2"),
        ("a.x[1]['x'].x[0] is defined", "True"),
        ("a.y is defined", "False"),
        ("a.x | string", "[<Namespace>, {'x': <Namespace>}]"),
    ] {
        assert_eq!(
            rendered(&format!("{cycles}{{{{ {expression} }}}}")).as_deref(),
            Ok(expected),
            "{expression}"
        );
    }
    for refused in ["a", "a.x", "a | tojson", "a.x | tojson"] {
        assert_refused(&format!("{cycles}{{{{ {refused} }}}}"));
    }
    let set = "{% set n = namespace({'i': namespace()}, v=0) %}{% set n.i.x, n['y'] = 1, 2 %}";
    assert!(rendered(set).is_err(), "a name in brackets cannot be set in jinja2 either");
    let set = "{% set n = namespace({'i': namespace()}) %}{% set n.i.x, y = 1, 2 %}{% set n.i.z | upper %}{{ n.i.x }}a{% endset %}";
    assert_eq!(rendered(&format!("{set}{{{{ n.i.z }}}}{{{{ n.q }}}}")).unwrap(), "1A");
    assert_refused("{% set n = {'x': 1} %}{% set n.x = 2 %}");
}

#[test]
fn templates_may_be_long_chains() {
    let chain = |open: &str, link: &str, close: &str| format!("{open}{}{close}", link.repeat(8000));
    assert_eq!(rendered(&chain("{{ 1", "+1", " }}")).unwrap(), "8001");
    assert_eq!(rendered(&chain("{{ 1", "|e", " }}")).unwrap(), "1");
    assert_eq!(rendered(&chain("{{ ", "not ", "1 }}")).unwrap(), "True");
    assert_eq!(rendered(&chain("{{ ", "-", "1 }}")).unwrap(), "1");
    let branches = chain("{% if false %}", "{% elif no %}", "{% else %}x{% endif %}");
    assert_eq!(rendered(&branches).unwrap(), "x");
    assert_eq!(rendered(&chain("{{ ", "1 if no else ", "2 }}")).unwrap(), "2");
    assert_refused(&chain("{{ messages", "[0]", " }}"));
    assert_refused(&"{{ 1 }}".repeat(100_000));
}

/// A thousand turns, and a turn of some megabytes.
#[test]
fn long_conversations_have_room() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "config.json", "{}");
    let source = "{% for m in messages %}{% set text = m.content | trim %}<{{ m['role'].upper() }}>{{ text.split('#')[0] }}\n{% endfor %}";
    write(dir.path(), "tokenizer_config.json", json!({"chat_template": source}).to_string());
    let template = ChatTemplate::from_folder(&ModelFolder::open(dir.path()).unwrap()).unwrap().unwrap();
    let said = |content: &str, turns: usize| {
        let turn = Message { role: "user".into(), content: content.into() };
        template.render(&vec![turn; turns], GenerationPrompt::Omit).unwrap()
    };
    assert_eq!(said("hello", 1000), "<USER>hello\n".repeat(1000));
    let long = "word ".repeat(2 << 20) + ".";
    assert_eq!(said(&long, 1), format!("<USER>{long}\n"));
}

#[test]
fn equal_names_of_columns_are_numbered_in_no_time() {
    let dir = tempfile::tempdir().unwrap();
    let header = vec!["q"; 20_000].join(",");
    let path = write(dir.path(), "rows.csv", format!("{header},q.1\n1,2\n"));
    let columns = data::load_rows(&load("csv", &[&path])).unwrap().columns;
    assert_eq!((columns[0].as_str(), columns[1].as_str(), columns[19_999].as_str()), ("q", "q.1", "q.19999"));
    assert_eq!(columns[20_000], "q.1.1");
}

#[test]
fn an_object_may_have_many_keys() {
    let dir = tempfile::tempdir().unwrap();
    let keys: Vec<String> = (0..100_000).map(|i| format!("\"k{}\": {i}", i % 99_999)).collect();
    let path = write(dir.path(), "rows.jsonl", format!("{{{}}}\n", keys.join(", ")));
    let rows = data::load_rows(&load("json", &[&path])).unwrap();
    assert_eq!(rows.columns.len(), 99_999);
    assert_eq!(rows.values(0)[0], data::Value::Int(99_999), "the last of equal keys counts");
}

/// Every byte of the pages of a parquet file, changed in several ways: the library panics on some of them.
#[test]
fn damaged_parquet_files_are_an_error_or_have_rows() {
    let sound = std::fs::read(fixture("rows-none.parquet")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for at in (4..sound.len() - 8).step_by(3) {
        let mut damaged = sound.clone();
        damaged[at] ^= if at % 2 == 0 { 0xff } else { 0x81 };
        let path = write(dir.path(), "rows.parquet", damaged);
        if let Err(error) = data::load_rows(&load("parquet", &[&path])) {
            assert!(error.to_string().contains("rows.parquet`"), "{error}");
        }
    }
}

/// What the header of a page announces is not allocated before it was found to be there.
#[test]
fn headers_of_parquet_pages_are_checked_before_they_are_believed() {
    let dir = tempfile::tempdir().unwrap();
    let read = |groups: usize, header: &dyn Fn() -> Vec<Vec<u8>>| {
        let path = write(dir.path(), "rows.parquet", parquet_file::file(groups, header));
        data::load_rows(&load("parquet", &[&path])).map(|rows| rows.values(groups - 1)[0].clone())
    };
    assert_eq!(read(3, &|| data_page(4, 6, &[])).unwrap(), data::Value::Int(7));
    let refused = |groups: usize, header: &dyn Fn() -> Vec<Vec<u8>>| {
        let error = complaint(read(groups, header));
        assert!(error.contains("rows.parquet` "), "{error}");
        error
    };
    let most = i64::from(i32::MAX);
    let error = refused(2000, &|| data_page(most, 6, &[]));
    assert!(error.contains("of memory that there are for rows"), "{error}");
    let dictionary = || vec![int(1, 2), int(1, 4), int(1, 6), structure(4, &[int(1, most), int(1, 0)])];
    let error = refused(2000, &dictionary);
    assert!(error.contains("of memory that there are for rows"), "{error}");
    let error = complaint(read(1, &|| data_page(4, most, &[])));
    assert!(error.contains("a page is said to have 2147483647 bytes where 6 are left"), "{error}");
    let statistics = || data_page(4, 6, &[structure(1, &[endless_text(1, 1 << 46)])]);
    let error = complaint(read(1, &statistics));
    assert!(error.contains("the header of a page is damaged: unexpected end of file"), "{error}");
}

#[test]
fn tokenizers_that_write_texts_without_bounds_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    toy_model(dir.path());
    let path = dir.path().join("tokenizer.json");
    let mut tokenizer: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let double = json!({"type": "Replace", "pattern": {"String": "3"}, "content": "33"});
    for (times, is_refused) in [(3, false), (40, true)] {
        tokenizer["normalizer"] = json!({"type": "Sequence", "normalizers": vec![&double; times]});
        // What is added to the vocabulary is normalised when the file is read.
        tokenizer["added_tokens"][0]["normalized"] = true.into();
        std::fs::write(&path, tokenizer.to_string()).unwrap();
        let opened = ModelFolder::open(dir.path()).unwrap().tokenizer().map(|_| ());
        assert_eq!(opened.is_err(), is_refused);
        if is_refused {
            let error = complaint(opened);
            assert!(
                error.contains("cannot be used: its normalizer makes texts more than 1000 times as long"),
                "{error}"
            );
        }
    }
}

/// Every row brings a column that all others have not: few bytes, and more values than memory.
#[test]
fn rows_that_do_not_fit_into_memory_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let rows: String = (0..20_000).map(|i| format!("{{\"k{i}\": 1, \"q\": \"x\"}}\n")).collect();
    let data_files = write(dir.path(), "rows.jsonl", rows);
    let config = json!({
        "input_model": {"type": "HfModel", "model_path": base_model()},
        "data_configs": [{
            "name": "d", "type": "HuggingfaceContainer",
            "load_dataset_config": {"data_name": "json", "data_files": data_files, "split": "train"},
            "pre_process_data_config": {"text_template": "{q}"}
        }],
        "passes": {"l": {"type": "LoRA", "train_data_config": "d", "training_args": {"max_steps": 1, "evaluation_strategy": "no"}}},
        "output_dir": dir.path().join("out"), "cache_dir": dir.path().join("cache"),
    });
    let config = write(dir.path(), "c.json", config.to_string());
    let program = olive_process().get_program().to_owned();
    let limited = "ulimit -v 6000000; exec \"$@\"";
    let output = std::process::Command::new("bash")
        .args(["-c", limited, "bash"])
        .arg(program)
        .args(["validate", &config])
        .output()
        .unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("rows.jsonl`, line ") && error.contains("of memory that there are for rows"),
        "{error}"
    );
}
