//! `olive validate` and `olive schema`: what a person sees.

use crate::support::binary::{olive as program, root};
use crate::support::quickstart::base_model;
use std::path::Path;

struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

fn olive(folder: &Path, arguments: &[&str]) -> Outcome {
    let output = program().current_dir(folder).args(arguments).output().expect("the program runs");
    Outcome {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn validate(name: &str, text: &str, arguments: &[&str]) -> Outcome {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join(name), text).expect("the configuration is written");
    std::fs::write(folder.path().join("rows.jsonl"), "{\"q\": \"a\"}\n").expect("the data is written");
    olive(folder.path(), &[&["validate", name], arguments].concat())
}

/// A sound configuration, of which each case breaks something.
const SOUND: &str = r#"{
  "input_model": {"type": "HfModel", "model_path": "org/model"},
  "systems": {
    "here": {"type": "LocalSystem"},
    "cloud": {"type": "AzureML", "config": {"aml_compute": "c"}}
  },
  "data_configs": [
    {
      "name": "rows", "type": "HuggingfaceContainer",
      "load_dataset_config": {"data_name": "json", "data_files": "rows.jsonl", "split": "train"},
      "pre_process_data_config": {"text_template": "{q}"}
    }
  ],
  "passes": {
    "lora": {"type": "LoRA", "train_data_config": "rows", "r": 8, "training_args": {"max_steps": 5}},
    "merge": {"type": "MergeAdapterWeights"},
    "builder": {"type": "ModelBuilder", "precision": "int4"}
  },
  "host": "here",
  "output_dir": "out"
}"#;

#[test]
fn the_plan_shows_values_and_where_they_come_from() {
    let outcome = validate("c.json", SOUND, &["--set", "passes.builder.precision=fp32"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    let line = |name: &str| {
        let line = outcome.out.lines().find(|line| line.trim_start().starts_with(name));
        line.unwrap_or_else(|| panic!("{name} is not in\n{}", outcome.out))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("r "), "r 8 c.json:15");
    assert_eq!(line("alpha"), "alpha 16 default (Olive since 0.7)");
    assert_eq!(line("training_args.max_steps"), "training_args.max_steps 5 c.json:15");
    assert_eq!(line("precision"), "precision fp32 command line");
    assert_eq!(line("host"), "host here (LocalSystem)");
}

/// What a run refuses before its first step is the same error of all that only look; `validate` alone tolerates what is
/// missing on this machine.
#[test]
fn what_a_run_would_refuse_is_refused_by_looking() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = |name: &str, files: &[(&str, Option<&str>)]| {
        let dir = folder.path().join(name);
        std::fs::create_dir(&dir).expect("a folder");
        for (file, text) in files {
            let (from, to) = (base_model().join(file), dir.join(file));
            match text {
                Some(text) => std::fs::write(to, text).expect("written"),
                None => std::fs::copy(from, to).map(drop).expect("copied"),
            }
        }
    };
    let (config, tokenizer, weights) = ("config.json", "tokenizer.json", "model.safetensors");
    let pointer = Some("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
    model("sound", &[(config, None), (tokenizer, None), (weights, None)]);
    model("no-tokenizer", &[(config, None), (weights, None)]);
    model("pointer", &[(config, None), (tokenizer, None), (weights, pointer)]);
    std::fs::write(folder.path().join("rows.jsonl"), "{\"q\": \"a\"}\n{\"q\": \"b\"}\n").expect("written");
    std::fs::write(folder.path().join("c.json"), SOUND.replace("org/model", "sound")).expect("written");
    let chat = "data_configs.rows.pre_process_data_config";
    let chat = [format!("{chat}.chat_template=true"), format!("{chat}.message_col=q")];
    let (tolerated, refused) = (Some(0), Some(2));
    for (set, lenient, expected) in [
        (&["input_model.model_path=nope"][..], tolerated, "the model `nope` cannot be found"),
        (&["input_model.model_path=gone.gguf"], tolerated, "the model `gone.gguf` cannot be found"),
        (
            &["data_configs.rows.load_dataset_config.data_files=gone.jsonl"],
            tolerated,
            "`gone.jsonl` does not exist",
        ),
        (&["data_configs.rows.load_dataset_config.data_files=gone*"], tolerated, "`gone*` matches no file"),
        (&["data_configs.rows.load_dataset_config.data_name=org/rows"], tolerated, "neither a loader nor"),
        (&["data_configs.rows.load_dataset_config.split=test"], refused, "there is no split `test`"),
        (&["input_model.model_path=no-tokenizer"], refused, "tokenizer.json is missing"),
        (&["input_model.model_path=pointer"], refused, "model.safetensors` is a Git LFS pointer"),
        (&[&chat[0], &chat[1]], refused, "has no chat template"),
        (&["output_dir=."], refused, "would overwrite"),
    ] {
        if set == ["output_dir=."] {
            std::fs::write(folder.path().join("genai_config.json"), "{}").expect("written");
        }
        let set: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
        let verbs = [
            &["validate", "--strict", "c.json"][..],
            &["run", "--dry-run", "--config", "c.json"],
            &["run", "--config", "c.json"],
        ];
        let outcomes = verbs.map(|verb| olive(folder.path(), &[verb, &set].concat()));
        for outcome in &outcomes {
            let error = |outcome: &Outcome| {
                outcome
                    .err
                    .lines()
                    .skip_while(|line| !line.starts_with("error"))
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            assert_eq!(outcome.code, Some(2), "{set:?}: {}", outcome.err);
            assert!(outcome.err.contains(expected), "{set:?}: {}", outcome.err);
            assert_eq!(error(outcome), error(&outcomes[2]), "the same text");
        }
        let overwriting = olive(folder.path(), &[&["validate", "c.json", "--overwrite"], &set[..]].concat());
        let is_of_the_output = expected == "would overwrite";
        assert_eq!(overwriting.err.contains(expected), !is_of_the_output, "{set:?}: {}", overwriting.err);
        let looked = olive(folder.path(), &[&["validate", "c.json"], &set[..]].concat());
        assert_eq!(looked.code, lenient, "{set:?}: {}", looked.err);
        let told = if lenient == tolerated { "warning: " } else { "error: " };
        let line = looked.err.lines().find(|line| line.contains(expected)).unwrap_or_default();
        assert!(line.starts_with(told), "{set:?}: {}", looked.err);
        assert!(
            !folder.path().join("cache/passes-v1").exists()
                && !folder.path().join(".olive-cache/passes-v1").exists()
        );
    }
}

#[test]
fn the_json_document_has_plan_warnings_and_errors_whatever_comes_of_it() {
    let document = |text: &str, arguments: &[&str]| -> (Option<i32>, serde_json::Value) {
        let outcome = validate("c.json", text, &[&["--json"], arguments].concat());
        (outcome.code, serde_json::from_str(&outcome.out).expect("one JSON document"))
    };
    let (code, sound) = document(SOUND, &["--set", "passes.builder.precision=fp32"]);
    assert_eq!((code, &sound["errors"]), (Some(0), &serde_json::json!([])), "{sound}");
    let steps = sound["flows"][0]["steps"].as_array().expect("a list");
    let names: Vec<_> = steps.iter().map(|step| step["type"].as_str().expect("a text")).collect();
    assert_eq!(names, ["LoRA", "MergeAdapterWeights", "ModelBuilder"]);
    let option = |step: usize, name: &str| {
        let options = steps[step]["options"].as_array().expect("a list");
        let found = options.iter().find(|option| option["name"] == name).expect("the option");
        (found["value"].clone(), found["origin"].clone(), found["line"].clone())
    };
    assert_eq!(option(0, "r"), (8.into(), "file".into(), 15.into()));
    assert_eq!(option(2, "precision"), ("fp32".into(), "command_line".into(), serde_json::Value::Null));
    assert_eq!(option(0, "alpha").1, "default_since_0.7");
    assert_eq!(
        steps[0]["data"],
        serde_json::json!([{"name": "rows", "purpose": "training", "format": null}])
    );

    let slips = SOUND.replace("\"r\": 8", "\"lora_dropout\": 2").replace("max_steps", "max_stesp");
    let (code, broken) = document(&slips, &[]);
    let errors = broken["errors"].as_array().expect("a list");
    assert_eq!((code, errors.len()), (Some(2), 2), "{broken}");
    assert_eq!((&errors[0]["file"], &errors[0]["line"]), (&"c.json".into(), &15.into()), "{broken}");
    assert!(errors[0]["column"].is_u64() && errors[0]["hint"].is_null(), "{broken}");
    assert_eq!(errors[0]["key"], "passes.lora.lora_dropout");
    assert!(errors[1]["hint"].as_str().expect("a text").contains("max_steps"), "{broken}");

    let gone = ["--set", "data_configs.rows.load_dataset_config.data_files=gone.jsonl"];
    let (code, lenient) = document(SOUND, &gone);
    assert_eq!((code, lenient["errors"].as_array().map(Vec::len)), (Some(0), Some(0)));
    let warning = &lenient["warnings"][0]["message"];
    assert!(warning.as_str().expect("a text").contains("`gone.jsonl` does not exist"), "{lenient}");
    let (code, strict) = document(SOUND, &[&gone[..], &["--strict"]].concat());
    assert_eq!((code, &strict["errors"][0]["message"]), (Some(2), warning));
    assert_eq!(strict["flows"][0]["steps"][0]["cache"], "unknown", "the plan is there, too");

    let folder = tempfile::tempdir().expect("a temporary folder");
    let outcome = olive(folder.path(), &["validate", "--json", "nowhere.json"]);
    let document: serde_json::Value = serde_json::from_str(&outcome.out).expect("one JSON document");
    assert_eq!((outcome.code, &document["errors"][0]["file"]), (Some(2), &"nowhere.json".into()));
}

#[test]
fn the_file_is_named_as_for_a_run_or_without_the_flag() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("olive.json"), SOUND).expect("the configuration is written");
    std::fs::write(folder.path().join("rows.jsonl"), "{\"q\": \"a\"}\n").expect("the data is written");
    let plain = olive(folder.path(), &["validate", "olive.json"]);
    let named = olive(folder.path(), &["validate", "--config", "olive.json"]);
    assert_eq!((plain.code, &plain.out), (named.code, &named.out));
    assert_eq!(olive(folder.path(), &["validate"]).code, Some(2));
    assert_eq!(olive(folder.path(), &["validate", "olive.json", "--config", "olive.json"]).code, Some(2));
}

/// The text at the line and column that a message names.
fn place_of(message: &str, text: &str) -> String {
    let mut numbers = message.split(':').filter_map(|part| part.parse::<usize>().ok());
    let (Some(line), Some(column)) = (numbers.next(), numbers.next()) else { return "no place".into() };
    text.lines().nth(line - 1).unwrap_or_default().chars().skip(column - 1).collect()
}

/// One change to the sound file, what stands at the place of the only error, and what that must say.
#[test]
fn each_mistake_is_one_located_error() {
    for (from, to, place, expected) in [
        (r#""r": 8"#, r#""rr": 8"#, r#""rr""#, "LoRA has no option `rr`"),
        (r#""r": 8"#, r#""r": 0"#, r#"0,"#, "expected a whole number, 1 or more, found 0"),
        (r#""r": 8"#, r#""r": true"#, r#"true,"#, "expected a whole number, 1 or more, found true"),
        (r#""r": 8"#, r#""r": 8, "lora_r": 9"#, r#""lora_r""#, "the same option as `r`"),
        (r#""r": 8"#, r#""lora_dropout": 1.0"#, r#"1.0,"#, "expected a number in [0, 1), found 1"),
        (
            r#""r": 8"#,
            r#""learning_rate": 1"#,
            r#""learning_rate""#,
            "`learning_rate` is an option of training_args",
        ),
        (r#""r": 8"#, r#""eval_dataset_size": -1"#, r#""eval_dataset_size""#, "a share in (0, 1)"),
        (r#""r": 8"#, r#""target_modules": "(q""#, r#""target_modules""#, "nor a regular expression"),
        (r#""max_steps": 5"#, r#""max_stesp": 5"#, r#""max_stesp""#, "did you mean `max_steps`?"),
        (r#""max_steps": 5"#, r#""optim": "sgd""#, r#""sgd""#, "expected one of adamw_torch"),
        (
            r#""max_steps": 5"#,
            r#""lr_scheduler_type": "greedy""#,
            r#""greedy""#,
            "constant, constant_with_warmup, linear, cosine",
        ),
        (r#""max_steps": 5"#, r#""eval_steps": 1.5"#, r#""eval_steps""#, "a whole number of steps"),
        (r#"{"max_steps": 5}"#, "[]", r#"[]},"#, "expected an object, found an empty list"),
        (r#""train_data_config": "rows", "#, "", r#"{"#, "LoRA needs `train_data_config`"),
        (
            r#""train_data_config": "rows""#,
            r#""train_data_config": "row""#,
            r#""row""#,
            "did you mean `rows`?",
        ),
        (
            r#""split": "train""#,
            r#""split": "train", "delimiter": ";;""#,
            r#"";;""#,
            "expected one ASCII character",
        ),
        (r#""split": "train""#, r#""split": "train", "skiprows": -1"#, "-1", "a whole number or a list"),
        (r#""split": "train""#, r#""split": "train", "header": 1"#, "1", "expected `infer` or 0"),
        (r#""split": "train""#, r#""split": "train", "encoding": "cp1252""#, r#""cp1252""#, "one of utf-8"),
        (r#""split": "train""#, r#""split": "train", "nrows": 3"#, r#""nrows""#, "`nrows` is not supported"),
        (
            r#""split": "train""#,
            r#""split": "train", "sep": ";", "delimiter": "|""#,
            r#""delimiter""#,
            "the same option as `sep`",
        ),
        (r#""type": "LoRA""#, r#""type": "LoRAA""#, r#""LoRAA""#, "did you mean `LoRA`?"),
        (r#""type": "LoRA", "#, "", r#"{"#, "the pass needs `type`"),
        (
            r#""merge": {"type": "MergeAdapterWeights"}"#,
            r#""merge": {"type": "LoRA", "train_data_config": "rows"}"#,
            r#""merge""#,
            "already has an adapter",
        ),
        (
            r#""type": "MergeAdapterWeights"}"#,
            r#""type": "MergeAdapterWeights", "x": 1}"#,
            r#""x""#,
            "MergeAdapterWeights has no option `x`",
        ),
        (
            r#""merge": {"type": "MergeAdapterWeights"}"#,
            r#""merge": {"type": "OnnxPeepholeOptimizer"}"#,
            r#""OnnxPeepholeOptimizer""#,
            "implemented are `LoRA`, ",
        ),
        (
            r#""merge": {"type": "MergeAdapterWeights"}"#,
            r#""merge": {"type": "OnnxConversion"}"#,
            r#""OnnxConversion""#,
            "OnnxConversion: ModelBuilder makes the optimised ONNX model",
        ),
        (
            r#""merge": {"type": "MergeAdapterWeights"}"#,
            r#""merge": {"type": "lokr"}"#,
            r#""lokr""#,
            "LoKr: only low-rank adapters are trained",
        ),
        (
            r#""merge": {"type": "MergeAdapterWeights"}"#,
            r#""merge": {"type": "VitisQDQQuantizer"}"#,
            r#""VitisQDQQuantizer""#,
            "needs the tools of a vendor",
        ),
        (
            r#""merge": {"type": "MergeAdapterWeights"}"#,
            r#""merge": {"type": "SparseGPT"}"#,
            r#""SparseGPT""#,
            "models are not pruned here",
        ),
        (r#""int4""#, r#""int3""#, r#""int3""#, "expected one of fp32, fp16, bf16, int8, int4"),
        (
            r#""int4""#,
            r#""int4", "op_types_to_quantize": ["Matmul"]"#,
            r#""op_types_to_quantize""#,
            "did you mean `MatMul`?",
        ),
        (r#""int4""#, r#""fp16""#, r#""precision""#, "possible are fp32, int8, int4"),
        (r#""int4""#, r#""int4", "int4_block_size": 48"#, r#"48}"#, "expected one of 16, 32, 64, 128, 256"),
        (
            r#""int4""#,
            r#""int4", "extra_options": {"windowed_kv_cache": true}"#,
            r#""windowed_kv_cache""#,
            "`windowed_kv_cache` is not supported",
        ),
        (
            r#""int4""#,
            r#""int4", "extra_options": {"filename": "a/b.onnx"}"#,
            r#""filename""#,
            "expected the name of a file without its folder that ends in `.onnx`",
        ),
        (r#", "precision": "int4""#, "", r#"{"#, "ModelBuilder needs `precision`"),
        (r#""host": "here""#, r#""host": "hear""#, r#""hear""#, "`systems` has `here` and `cloud`"),
        (
            r#""host": "here""#,
            r#""target": "nowhere at all""#,
            r#""nowhere at all""#,
            "`systems` has `here` and `cloud`",
        ),
        (
            r#""host": "here""#,
            r#""host": {"type": "PythonEnvironment"}"#,
            r#"{"type": "PythonEnvironment"}"#,
            "--local",
        ),
        (r#""host": "here""#, r#""evaluator": "e""#, r#""e""#, "there is no evaluator `e`"),
        (r#""output_dir""#, r#""output_dri""#, r#""output_dri""#, "did you mean `output_dir`?"),
        (r#""HfModel""#, r#""HfModle""#, r#""HfModle""#, "did you mean `HfModel`?"),
        (r#""HfModel""#, r#""OpenVINOModel""#, r#""OpenVINOModel""#, "are not supported"),
        (r#", "model_path": "org/model""#, "", r#"{"#, "give `model_path`"),
        (r#""model_path""#, r#""model_paht""#, r#""model_paht""#, "did you mean `model_path`?"),
        (r#""LocalSystem""#, r#""LocalSystems""#, r#""LocalSystems""#, "did you mean `LocalSystem`?"),
        (
            r#""LocalSystem""#,
            r#""LocalSystem", "accelerators": [{"device": "tpu"}]"#,
            r#""tpu""#,
            "expected one of cpu, gpu",
        ),
        (
            r#""LocalSystem""#,
            r#""LocalSystem", "accelerators": [{"execution_providers": ["CudaExecutionProvdier"]}]"#,
            r#""CudaExecutionProvdier""#,
            "did you mean `CUDAExecutionProvider`?",
        ),
        (
            r#"{"aml_compute": "c"}"#,
            r#"{"aml_computer": "c"}"#,
            r#""aml_computer""#,
            "did you mean `aml_compute`?",
        ),
        (r#""data_files": "rows.jsonl", "#, "", r#""data_name""#, "`json` needs files to read"),
        (
            r#""data_files": "rows.jsonl""#,
            r#""data_files": 5"#,
            r#"5,"#,
            "expected a file or a list of files, found 5",
        ),
        (
            r#""text_template": "{q}""#,
            r#""text_templat": "{q}""#,
            r#""text_templat""#,
            "did you mean `text_template`?",
        ),
        (r#""text_template": "{q}""#, r#""strategy": "joint""#, r#""joint""#, "did you mean `join`?"),
        (r#""text_template": "{q}""#, r#""strategy": "join-random""#, r#""strategy""#, "needs `max_samples`"),
        (
            r#""text_template": "{q}""#,
            r#""strategy": "join-sliding-window""#,
            r#""strategy""#,
            "needs `stride`",
        ),
        (
            r#""text_template": "{q}""#,
            r#""strategy": "line-by-line", "use_attention_mask": false"#,
            r#""use_attention_mask""#,
            "need an attention mask",
        ),
        (
            r#""text_template": "{q}""#,
            r#""strategy": "line-by-line", "drop_short_sequences": true"#,
            r#""drop_short_sequences""#,
            "both dropped and padded",
        ),
        (r#""text_template": "{q}""#, r#""source_max_len": 8"#, r#"{"#, "the text of a row is not described"),
        (
            r#""text_template": "{q}""#,
            r#""corpus_strategy": "join", "text_cols": "q""#,
            r#"{"#,
            "needs `source_max_len`",
        ),
        (
            r#""text_template": "{q}""#,
            r#""dataset_type": "pair", "source_max_len": 8, "text_cols": "q""#,
            r#""dataset_type""#,
            "`dataset_type` is not supported",
        ),
        (
            r#""text_template": "{q}""#,
            r#""max_seq_len": 99999999999999999999"#,
            r#"99999999999999999999}"#,
            "expected a whole number, 1 or more",
        ),
        (r#""text_template": "{q}""#, r#""max_seq_len": 1e999"#, r#"1e999}"#, "too large"),
        (
            r#""output_dir": "out""#,
            r#""output_dir": "out", "output_dir": "b""#,
            r#""output_dir""#,
            "given twice, first on line 20",
        ),
        (
            r#""output_dir": "out""#,
            r#""output_dir": "out","#,
            r#","#,
            "a comma stands before the closing bracket",
        ),
        (r#""output_dir": "out""#, r#""output_dir": "out" // no"#, r#"//"#, "comments are not allowed"),
        (
            r#""data_configs": ["#,
            r#""data_configs": [{"name": "spare", "load_dataset_config": {"split": 5}},"#,
            r#"5}"#,
            "expected a text, found 5",
        ),
        (r#""output_dir": "out""#, r#""output_dir": ["out"]"#, r#"["out"]"#, "expected a text, found a list"),
        (r#""output_dir": "out""#, r#""builds": {"a": {}}"#, r#""builds""#, "`builds` is not supported"),
        (
            r#""output_dir": "out""#,
            r#""pass_flows": [["lora", "mrge"]]"#,
            r#""mrge""#,
            "did you mean `merge`?",
        ),
        (r#""output_dir": "out""#, r#""pass_flows": [[]]"#, "[]]", "at least one pass"),
        (
            r#""output_dir": "out""#,
            r#""pass_flows": [["merge"]]"#,
            r#""merge""#,
            "there is no adapter to merge",
        ),
    ] {
        assert!(SOUND.contains(from), "{from}");
        let outcome = validate("c.json", &SOUND.replacen(from, to, 1), &[]);
        let text = &outcome.err;
        assert_eq!(outcome.code, Some(2), "{to}: {text}");
        assert_eq!(outcome.out, "", "{to}");
        let heads: Vec<&str> = text.lines().filter(|line| !line.starts_with("  hint: ")).collect();
        assert_eq!(heads.len(), 1, "{to}: {text}");
        let located = place_of(heads[0], &SOUND.replacen(from, to, 1));
        assert!(located.starts_with(place), "{to}: not at {place} but at {located}: {text}");
        assert!(text.contains(expected), "{to}: {text}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = SOUND
        .replace(r#""r": 8"#, r#""r": "many""#)
        .replace(r#""int4""#, "4")
        .replace("org/model\"", "org/model\", \"tusk\": \"x\"")
        .replace(r#""host": "here""#, r#""host": "there""#);
    let outcome = validate("c.json", &text, &[]);
    let heads: Vec<&str> = outcome.err.lines().filter(|line| line.starts_with("c.json:")).collect();
    assert_eq!(outcome.err.lines().next(), Some("error: `c.json` has 4 errors"), "{}", outcome.err);
    let lines: Vec<&str> = heads.iter().filter_map(|head| head.split(':').nth(1)).collect();
    assert_eq!(lines, ["2", "15", "17", "19"], "{}", outcome.err);
}

#[test]
fn files_that_are_no_configuration_are_told_so() {
    for (name, text, expected) in [
        ("c.json", "", "c.json:1:1: the file is empty"),
        ("c.json", "[]", "c.json:1:1: a configuration is an object, found an empty list"),
        ("c.json", "null", "a configuration is an object, found null"),
        ("c.json", "{}", "needs `input_model`"),
        ("c.json", "{\"a\": [1, 2}", "c.json:1:"),
        ("c.json", "{\"a\": 01}", "c.json:1:"),
        ("c.json", "{'a': 1}", "c.json:1:2"),
        (
            "c.json",
            "{\"a\": True}",
            "c.json:1:7: not valid JSON: `True` means nothing here\n  hint: JSON has true",
        ),
        ("c.yaml", "", "c.yaml:1:1: the file is empty"),
        ("c.yaml", "# nothing\n", "the file is empty"),
        ("c.yaml", "a:\n\tb: 1\n", "c.yaml:2:"),
        ("c.yaml", "a: 1\na: 2\n", "c.yaml:2:1: a: the key `a` is given twice, first on line 1"),
        ("c.yaml", "a: 1\n---\nb: 2\n", "c.yaml:2:1: not valid YAML: a configuration is one document"),
        ("c.yaml", "a: [1, 2\n", "not valid YAML"),
        ("c.yaml", "a: *nobody\n", "not valid YAML"),
        ("c.yaml", "a: !python/object:os.system {}\nb: !x 1\n", "has no meaning here"),
        ("c.toml", "a = 1", "only .json, .yaml and .yml files are read"),
    ] {
        let outcome = validate(name, text, &[]);
        assert_eq!(outcome.code, Some(2), "{text}: {}", outcome.err);
        assert!(outcome.err.contains(expected), "{text:?}: {}", outcome.err);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let outcome = olive(folder.path(), &["validate", "missing.json"]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.err.contains("the configuration `missing.json` does not exist"), "{}", outcome.err);
}

#[test]
fn aliases_in_yaml_cannot_exhaust_the_memory() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let list = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    let outcome = validate("c.yaml", &text, &[]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.err.contains("expand to too many values"), "{}", outcome.err);
}

#[test]
fn the_committed_schema_and_documentation_are_those_of_the_program() {
    let root = root();
    for (arguments, file) in
        [(&["schema"][..], "olive.schema.json"), (&["schema", "--markdown"], "docs/CONFIG.md")]
    {
        let made = olive(root, arguments).out;
        if std::env::var_os("OLIVE_UPDATE").is_some() {
            std::fs::write(root.join(file), &made).expect("the file is written");
        }
        let committed = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        assert!(committed == made, "{file} is out of date: run this test with OLIVE_UPDATE=1");
    }
}

/// The quickstart with one override: its model and data are here, so that names can be looked up in them.
fn quickstart(verb: &[&str], set: &str) -> Outcome {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (cache, out) = (folder.path().join("cache"), folder.path().join("out"));
    let places =
        [format!("engine.cache_dir={}", cache.display()), format!("engine.output_dir={}", out.display())];
    let set = ["--set", set, "--set", &places[0], "--set", &places[1]];
    let outcome = olive(root(), &[verb, &set].concat());
    assert!(!cache.join("passes-v1").exists(), "nothing was run");
    outcome
}

#[test]
fn names_that_the_model_or_the_data_does_not_have_are_found_before_the_work() {
    let cases = [
        (
            "passes.lora.config.target_modules=[\"qkv_porj\"]",
            [
                "the target module `qkv_porj`",
                "did you mean `qkv_proj`? `target_modules` can name qkv_proj, o_proj",
            ],
        ),
        (
            "passes.lora.config.target_modules=\".*mlp[.]up.*\"",
            ["the target module `.*mlp[.]up.*`", "`target_modules` can name qkv_proj, o_proj"],
        ),
        (
            "passes.lora.config.modules_to_save=[\"lm_haed\"]",
            ["`lm_haed` cannot be trained whole", "lm_head"],
        ),
        (
            "data_configs.0.pre_process_data_config.params.text_template=\"{Qestion}\"",
            ["there is no column `Qestion`, which the text template needs", "did you mean `Question`?"],
        ),
    ];
    for (set, expected) in cases {
        for verb in [
            &["validate", "configs/quickstart/olive-config.json"][..],
            &["run", "--config", "configs/quickstart/olive-config.json"],
            &["run", "--dry-run", "--config", "configs/quickstart/olive-config.json"],
            &["validate", "configs/quickstart/olive-config.json", "--set", "passes.lora.type=QLoRA"],
            &["validate", "configs/quickstart/olive-config.json", "--set", "passes.lora.type=LoftQ"],
        ] {
            let outcome = quickstart(verb, set);
            assert_eq!(outcome.code, Some(2), "{}", outcome.err);
            for text in expected {
                assert!(outcome.err.contains(text), "{text} is not in\n{}", outcome.err);
            }
            assert_eq!(outcome.out.is_empty(), verb[..2] == ["run", "--config"], "the plan is shown");
        }
    }
    // The columns of the data do not need the model, which may be one to fetch.
    for verb in ["validate", "run"] {
        let config = SOUND.replace("{q}", "{question}").replace("\"host\": \"here\",", "");
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("c.json"), config).expect("written");
        std::fs::write(folder.path().join("rows.jsonl"), "{\"q\": \"a\"}\n").expect("written");
        let arguments =
            if verb == "run" { vec![verb, "--offline", "--config", "c.json"] } else { vec![verb, "c.json"] };
        let outcome = olive(folder.path(), &arguments);
        assert_eq!(outcome.code, Some(2), "{}", outcome.err);
        assert!(outcome.err.contains("there is no column `question`"), "{}", outcome.err);
    }
}
