//! Every family that has GGUF files, written and read again.

use crate::support::binary::{generated, olive, succeed, text};
use crate::support::models::{families, fixture, name};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Copies the weights of a family beside a tokenizer of letters, which its vocabulary has room for.
fn with_tokenizer(family: &Path, dir: &Path) -> PathBuf {
    let to = dir.join(name(family));
    std::fs::create_dir(&to).unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(family.join(file), to.join(file)).unwrap();
    }
    let letters = ['\u{120}'].into_iter().chain('A'..='Z').chain('a'..='z').chain(" .,?!".chars().skip(1));
    let mut vocabulary: Map<String, Value> = Map::new();
    for (id, token) in
        ["<s>", "</s>"].map(String::from).into_iter().chain(letters.map(String::from)).enumerate()
    {
        vocabulary.insert(token, id.into());
    }
    let added = |id: usize, content: &str| {
        json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false})
    };
    let byte_level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [added(0, "<s>"), added(1, "</s>")],
        "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocabulary, "merges": []},
    });
    std::fs::write(to.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let config = json!({"bos_token": "<s>", "eos_token": "</s>"});
    std::fs::write(to.join("tokenizer_config.json"), config.to_string()).unwrap();
    to
}

fn export(model: &Path, to: &Path) -> std::process::Output {
    let mut command = olive();
    command.args(["export", "--overwrite", "--precision", "f32", "--to"]).arg(to).arg(model);
    command.output().unwrap()
}

#[test]
fn a_family_says_the_same_after_a_way_through_a_file_or_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut refused = Vec::new();
    for family in families() {
        let (family, case) = (with_tokenizer(&family, dir.path()), name(&family));
        let file = dir.path().join(format!("{case}.gguf"));
        let output = export(&family, &file);
        if !output.status.success() {
            assert!(!file.exists(), "{case}: half a file was left");
            refused.push(format!("{case}: {}", text(&output.stderr).lines().next().unwrap()));
            continue;
        }
        assert_eq!(generated(&file, &[]), generated(&family, &[]), "{case}");
    }
    // What no reader does: biases, patterns of windows, families without files.
    let expected = [
        ("ernie45", "has biases"),
        ("exaone4", "these layers have a window"),
        ("helium", "there are no GGUF files of `HeliumForCausalLM`"),
        ("ministral", "there are no GGUF files of `MinistralForCausalLM`"),
        ("olmo3", "these layers have a window"),
        ("seedoss", "has biases"),
    ];
    assert_eq!(refused.len(), expected.len(), "{refused:?}");
    for ((case, reason), said) in expected.into_iter().zip(&refused) {
        assert!(said.starts_with(case) && said.contains(reason), "{said}");
    }
}

#[test]
fn what_a_reader_does_otherwise_is_said() {
    let dir = tempfile::tempdir().unwrap();
    for (family, said) in
        [("mistral", "knows no windows in `llama` models"), ("phi4mini", "whatever the length")]
    {
        let model = with_tokenizer(&fixture(&format!("models/{family}")), dir.path());
        let output = export(&model, &dir.path().join("out.gguf"));
        assert!(text(&output.stderr).contains(said), "{family}: {}", text(&output.stderr));
    }
}

#[test]
fn a_model_with_an_adapter_is_written_merged_and_an_onnx_model_refused() {
    let dir = tempfile::tempdir().unwrap();
    let model = with_tokenizer(&fixture("models/llama31"), dir.path());
    let onnx = dir.path().join("onnx");
    std::fs::create_dir(&onnx).unwrap();
    std::fs::write(onnx.join("genai_config.json"), "{}").unwrap();
    let output = export(&onnx, &dir.path().join("onnx.gguf"));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("MergeAdapterWeights"), "{}", text(&output.stderr));

    let rows: String = (0..8).map(|n| format!("{}\n", json!({"text": format!("olive {n}? Olives grow on trees.").replace(|c: char| c.is_ascii_digit(), "x")}))).collect();
    std::fs::write(dir.path().join("rows.jsonl"), rows).unwrap();
    let config = json!({
        "input_model": {"type": "HfModel", "model_path": model},
        "data_configs": [{"name": "d", "type": "HuggingfaceContainer",
            "load_dataset_config": {"data_name": "json", "data_files": dir.path().join("rows.jsonl"), "split": "train"},
            "pre_process_data_config": {"max_seq_len": 16, "strategy": "line-by-line", "pad_to_max_len": false, "add_special_tokens": false}}],
        "passes": {"lora": {"type": "LoRA", "r": 4, "alpha": 64, "train_data_config": "d",
            "training_args": {"max_steps": 3, "learning_rate": 0.05}}},
        "output_dir": dir.path().join("out"), "cache_dir": dir.path().join("cache"),
    });
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    succeed(olive().arg("run").arg(dir.path().join("config.json")));
    let out = dir.path().join("out");
    let file = dir.path().join("merged.gguf");
    let exported = export(&out, &file);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    assert_eq!(generated(&file, &[]), generated(&out, &[]));
    assert_ne!(
        generated(&out, &[]),
        generated(&model, &[]),
        "the adapter changes nothing, so this shows nothing"
    );
}

#[test]
fn ollama_is_told_how_turns_are_written_where_it_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let model = with_tokenizer(&fixture("models/llama31"), dir.path());
    // Texts may begin with the mark of a turn.
    std::fs::write(model.join("tokenizer_config.json"), r#"{"bos_token": "<|im_start|>"}"#).unwrap();
    let export = |template: &str| {
        std::fs::write(model.join("chat_template.jinja"), template).unwrap();
        let mut command = olive();
        command
            .args(["export", "--overwrite", "--modelfile", "--to"])
            .arg(dir.path().join("m.gguf"))
            .arg(&model)
            .output()
            .unwrap()
    };
    let turns = |before: &str, between: &str, after: &str, system: &str| {
        let open = format!("{before}' + (m['role'] if m['role'] != 'assistant' else 'ROLE') + '{between}");
        format!(
            "{system}{{% for m in messages %}}{{{{ '{open}' + m['content'] + '{after}' }}}}{{% endfor %}}\
             {{% if add_generation_prompt %}}{{{{ '{before}ROLE{between}' }}}}{{% endif %}}"
        )
    };
    let chat_ml = turns("<|im_start|>", "\\n", "<|im_end|>\\n", "<|im_start|>system\nBe brief.<|im_end|>\n")
        .replace("ROLE", "assistant");
    let gemma =
        turns("<start_of_turn>", "\\n", "<end_of_turn>\\n", "{{ bos_token }}").replace("ROLE", "model");
    let cases = [
        (
            chat_ml.as_str(),
            "TEMPLATE \"\"\"{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n\"\"\"\n\
             SYSTEM \"\"\"Be brief.\"\"\"\nPARAMETER stop \"<|im_end|>\"\n",
        ),
        (
            gemma.as_str(),
            "{{ range .Messages }}<start_of_turn>{{ if eq .Role \"assistant\" }}model{{ else }}user{{ end }}\n{{ .Content }}<end_of_turn>\n\
             {{ end }}<start_of_turn>model\n\"\"\"\nPARAMETER stop \"<end_of_turn>\"\n",
        ),
    ];
    for (template, expected) in cases {
        let output = export(template);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let written = std::fs::read_to_string(dir.path().join("Modelfile")).unwrap();
        assert!(written.starts_with("FROM ./m.gguf\n") && written.contains(expected), "{written}");
    }
    let output = export(&turns("[", "]", "[/]", "").replace("ROLE", "assistant"));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("ChatML, Llama 3, Phi-3, Gemma"), "{}", text(&output.stderr));
}

#[test]
fn only_a_file_that_may_be_replaced_is() {
    let dir = tempfile::tempdir().unwrap();
    let model = with_tokenizer(&fixture("models/llama31"), dir.path());
    let file = dir.path().join("mine.gguf");
    std::fs::write(&file, "mine").unwrap();
    for (to, more, reason) in [
        (file.as_path(), &[][..], "--overwrite"),
        (Path::new("/dev/null"), &["--overwrite"], "no file that could be replaced"),
    ] {
        let output = olive().args(["export", "--to"]).arg(to).args(more).arg(&model).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(reason), "{}", text(&output.stderr));
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    // A folder that is not there yet gets a file of the model's name.
    let folder = dir.path().join("new/");
    succeed(olive().args(["export", "--to"]).arg(format!("{}/", folder.display())).arg(&model));
    assert!(folder.join("llama31-F16.gguf").is_file());
}
