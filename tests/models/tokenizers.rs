//! The encoder of a folder: which files it is made of, and what reaches prompts.

use crate::support::binary::{greedy, olive, succeed, text};
use crate::support::models::{family, read_json};
use crate::support::passes::build;
use crate::support::training::adapter;
use olive_model::ModelFolder;
use olive_onnx::{ModelBuilderOptions, Precision};
use prost::Message;
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) {
    std::fs::write(dir.join(name), content).unwrap();
}

/// A model of 128 tokens without a tokenizer.
fn bare() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(family("llama31").dir.join(name), dir.path().join(name)).unwrap();
    }
    dir
}

/// The words `a` to `e` are 3 to 7; `<s>` stands before every text.
fn words() -> Value {
    let token = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [token(0, "<unk>"), token(1, "<s>"), token(2, "</s>")],
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": {
            "<unk>": 0, "<s>": 1, "</s>": 2, "a": 3, "b": 4, "c": 5, "d": 6, "e": 7,
        }},
    })
}

/// A model with this tokenizer.
fn model(tokenizer: &Value) -> TempDir {
    let dir = bare();
    write(dir.path(), "tokenizer.json", tokenizer.to_string());
    dir
}

fn prompt_ids(model: &Path, prompt: &str) -> Value {
    let output = succeed(&mut greedy(model, prompt, 1));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["prompt_ids"].take()
}

fn onnx(model: &Path) -> TempDir {
    crate::support::runtime::library();
    let dir = tempfile::tempdir().unwrap();
    build(model, ModelBuilderOptions::new(Precision::Fp32, "cpu"), dir.path());
    dir
}

#[test]
fn lengths_that_a_file_was_saved_with_do_not_reach_prompts() {
    let mut cut = words();
    cut["truncation"] =
        json!({"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0});
    let mut filled = words();
    filled["padding"] = json!({"strategy": {"Fixed": 12}, "direction": "Left", "pad_to_multiple_of": null,
                               "pad_id": 2, "pad_type_id": 0, "pad_token": "</s>"});
    for tokenizer in [cut, filled] {
        let model = model(&tokenizer);
        let expected = json!([1, 3, 4, 5, 6, 7]);
        assert_eq!(prompt_ids(model.path(), "a b c d e"), expected);
        let onnx = onnx(model.path());
        assert_eq!(prompt_ids(onnx.path(), "a b c d e"), expected);
        let copied = std::fs::read(onnx.path().join("tokenizer.json")).unwrap();
        assert_eq!(copied, tokenizer.to_string().as_bytes(), "nothing is missing in the file");

        let plain = "{% for m in messages %}{{ m.content }}{% endfor %}";
        write(model.path(), "chat_template.jinja", plain);
        let args = ["generate", "--json", "--quiet", "--max-new-tokens", "1", "--prompt", "e d c b a"];
        let said: Value =
            serde_json::from_slice(&succeed(olive().args(args).arg(model.path())).stdout).unwrap();
        assert_eq!(said["prompt_ids"], json!([7, 6, 5, 4, 3]));
    }
}

#[test]
fn tokens_that_only_other_files_declare_are_found() {
    let object = |content: &str| json!({"content": content, "special": true, "normalized": false});
    let special = json!({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"});
    let with = |more: Value| {
        let mut config = special.clone();
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    };
    let decoder = |first: &str, second: &str| {
        with(json!({"added_tokens_decoder": {first: object("<tool>"), second: object("<think>")}}))
    };
    type Files<'a> = Vec<(&'a str, Value)>;
    let cases: Vec<(&str, Files)> = vec![
        ("by id", vec![("tokenizer_config.json", decoder("8", "9"))]),
        ("ids that are taken or far away", vec![("tokenizer_config.json", decoder("3", "99"))]),
        (
            "a list",
            vec![("tokenizer_config.json", with(json!({"extra_special_tokens": ["<tool>", "<think>"]})))],
        ),
        (
            "the older list",
            vec![(
                "tokenizer_config.json",
                with(json!({"additional_special_tokens": [object("<tool>"), "<think>"]})),
            )],
        ),
        (
            "names",
            vec![(
                "tokenizer_config.json",
                with(json!({"extra_special_tokens": {"think_token": "<think>"}, "tool_token": "<tool>"})),
            )],
        ),
        (
            "roles",
            vec![("tokenizer_config.json", with(json!({"sep_token": "<tool>", "pad_token": "<think>"})))],
        ),
        (
            "a map",
            vec![(
                "special_tokens_map.json",
                with(json!({"additional_special_tokens": ["<tool>", "<think>"]})),
            )],
        ),
        ("added_tokens.json", vec![("added_tokens.json", json!({"<think>": 9, "<tool>": 8}))]),
    ];
    for (case, files) in cases {
        let model = model(&words());
        for (name, content) in files {
            write(model.path(), name, content.to_string());
        }
        let expected = json!([1, 3, 8, 4, 9, 5]);
        assert_eq!(prompt_ids(model.path(), "a<tool>b <think> c"), expected, "{case}");
        let onnx = onnx(model.path());
        assert_eq!(prompt_ids(onnx.path(), "a<tool>b <think> c"), expected, "{case}");
        let written = read_json(&onnx.path().join("tokenizer.json"));
        let added: Vec<&Value> =
            written["added_tokens"].as_array().unwrap().iter().map(|t| &t["content"]).collect();
        assert_eq!(added, ["<unk>", "<s>", "</s>", "<tool>", "<think>"], "{case}");
    }
}

#[test]
fn what_is_declared_twice_is_as_the_configuration_says() {
    let model = model(&words());
    let eos = json!({"content": "</s>", "lstrip": true, "special": true, "normalized": false});
    let config = json!({"eos_token": "</s>", "added_tokens_decoder": {"2": eos}});
    write(model.path(), "tokenizer_config.json", config.to_string());
    assert_eq!(prompt_ids(model.path(), "a   </s> b"), json!([1, 3, 2, 4]));
}

/// A byte-level vocabulary with the merges `ab` and ` ab`.
fn vocabulary(dir: &Path, class: &str) {
    let words = ["<s>", "</s>", "a", "b", "c", "Ġ", "ab", "Ġab", "1", "2", "Ã", "©", "e", "Ì", "ģ"];
    let vocab: serde_json::Map<String, Value> =
        (0..).zip(words).map(|(id, word)| (word.to_owned(), json!(id))).collect();
    write(dir, "vocab.json", Value::Object(vocab).to_string());
    write(dir, "merges.txt", "#version: 0.2\na b\nĠ ab\n");
    let config =
        json!({"tokenizer_class": class, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "</s>"});
    write(dir, "tokenizer_config.json", config.to_string());
}

#[test]
fn a_vocabulary_and_its_merges_are_a_tokenizer() {
    let dir = bare();
    let dir = dir.path();
    vocabulary(dir, "GPT2Tokenizer");
    let expected = json!([6, 4, 7, 5, 1, 2]);
    assert_eq!(prompt_ids(dir, "abc ab </s>a"), expected);
    assert_eq!(prompt_ids(onnx(dir).path(), "abc ab </s>a"), expected);

    let mut config = read_json(&dir.join("tokenizer_config.json"));
    config["add_bos_token"] = true.into();
    config["add_prefix_space"] = true.into();
    write(dir, "tokenizer_config.json", config.to_string());
    assert_eq!(prompt_ids(dir, "abc"), json!([0, 7, 4]));

    // This class brings texts to the composed form, and cuts numbers into digits.
    vocabulary(dir, "Qwen2TokenizerFast");
    std::fs::write(dir.join("merges.txt"), "a b\n\nĠ ab\n").unwrap();
    assert_eq!(prompt_ids(dir, "12e\u{301}"), json!([8, 9, 10, 11]));
}

#[test]
fn a_tokenizer_that_cannot_be_made_is_refused_with_the_way_to_make_it() {
    let refusal = |dir: &Path| {
        let output = greedy(dir, "a", 1).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    let dir = bare();
    let way = format!("AutoTokenizer.from_pretrained('{0}').save_pretrained('{0}')", dir.path().display());
    let error = refusal(dir.path());
    assert!(error.contains("tokenizer.json is missing") && error.contains(&way), "{error}");
    vocabulary(dir.path(), "HerbertTokenizer");
    let error = refusal(dir.path());
    assert!(error.contains("the class `HerbertTokenizer`") && error.contains(&way), "{error}");
    vocabulary(dir.path(), "GPT2Tokenizer");
    write(dir.path(), "merges.txt", "ab\n");
    assert!(refusal(dir.path()).contains("merges.txt: `ab` is not a merge"));
    std::fs::remove_file(dir.path().join("merges.txt")).unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    for name in ["tokenizer.json", "tokenizer.model"] {
        write(dir.path(), name, pointer);
        let error = refusal(dir.path());
        assert!(error.contains(name) && error.contains("git lfs pull"), "{error}");
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    write(dir.path(), "tokenizer.model", "no protocol buffer");
    let error = refusal(dir.path());
    assert!(error.contains("tokenizer.model is damaged") && error.contains(&way), "{error}");
}

/// A file of SentencePiece, with the field numbers of its schema.
#[derive(Clone, PartialEq, Message)]
struct SentencePiece {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<Normalizer>,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(float, tag = "2")]
    score: f32,
    #[prost(uint32, tag = "3")]
    kind: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Trainer {
    #[prost(uint32, tag = "3")]
    model_type: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Normalizer {
    #[prost(bool, optional, tag = "4")]
    remove_extra_whitespaces: Option<bool>,
}

/// A model with `tokenizer.model`; the pieces after `<unk>`, `<s>` and `</s>` are normal ones, but for the last.
fn sentence_piece(model_type: u32, pieces: &[(&str, f32)], remove_extra_whitespaces: bool) -> TempDir {
    let piece = |text: &str, score, kind| Piece { text: text.into(), score, kind };
    let mut all = vec![piece("<unk>", 0.0, 2), piece("<s>", 0.0, 3), piece("</s>", 0.0, 3)];
    all.extend(pieces.iter().map(|(text, score)| piece(text, *score, 1)));
    all.push(piece("<t>", 0.0, 4));
    let file = SentencePiece {
        pieces: all,
        trainer: Some(Trainer { model_type }),
        normalizer: Some(Normalizer { remove_extra_whitespaces: Some(remove_extra_whitespaces) }),
    };
    let dir = bare();
    write(dir.path(), "tokenizer.model", file.encode_to_vec());
    dir
}

#[test]
fn a_sentencepiece_model_cuts_as_sentencepiece_does() {
    let pairs = [
        ("▁", -9.0),
        ("a", -10.0),
        ("b", -11.0),
        ("c", -12.0),
        ("ab", -1.0),
        ("bc", -0.5),
        ("▁a", -3.0),
        ("▁abc", -4.0),
        ("abc", -3.5),
    ];
    let words =
        [("▁", -2.0), ("a", -4.0), ("b", -4.0), ("c", -4.0), ("ab", -3.0), ("bc", -9.0), ("▁abc", -20.0)];
    // What `SentencePieceProcessor.encode` gives.
    let cases: [(TempDir, &[(&str, Value)]); 2] = [
        (
            sentence_piece(2, &pairs, false),
            &[
                ("abc ab", json!([10, 3, 7])),
                ("  ab", json!([3, 3, 3, 7])),
                ("a<t>b x", json!([9, 12, 5, 3, 0])),
            ],
        ),
        (
            sentence_piece(1, &words, true),
            &[
                ("abc ab", json!([3, 7, 6, 3, 7])),
                ("  ab", json!([3, 7])),
                ("a<t>b x", json!([3, 4, 10, 5, 3, 0])),
                (" a  b ", json!([3, 4, 3, 5])),
            ],
        ),
    ];
    for (dir, texts) in &cases {
        for (text, expected) in *texts {
            assert_eq!(prompt_ids(dir.path(), text), *expected, "{text}");
        }
    }
    let dir = cases[0].0.path();
    let config = json!({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true});
    write(dir, "tokenizer_config.json", config.to_string());
    assert_eq!(prompt_ids(dir, "abc</s>ab"), json!([1, 10, 2, 3, 7]), "every part gets a space");
    write(dir, "tokenizer_config.json", r#"{"legacy": false}"#);
    assert_eq!(prompt_ids(dir, "abc</s>ab"), json!([10, 2, 7]), "only the first part gets a space");
    assert_eq!(prompt_ids(onnx(dir).path(), "abc</s>ab"), json!([10, 2, 7]));
    let characters = sentence_piece(4, &words, true);
    let output = greedy(characters.path(), "a", 1).output().unwrap();
    assert!(text(&output.stderr).contains("is of the type 4; supported are unigram (1) and BPE (2)"));
}

#[test]
fn an_adapter_brings_its_tokenizer_and_its_template() {
    let base = model(&words());
    write(base.path(), "chat_template.jinja", "a {{ messages[0].content }}");
    let folder = tempfile::tempdir().unwrap();
    let spec = ModelFolder::open(base.path()).unwrap().spec().unwrap();
    adapter(&spec, 0.0).save(folder.path()).unwrap();
    let with_adapter = |prompt: &str| {
        let mut command = olive();
        command.args([
            "generate",
            "--json",
            "--quiet",
            "--max-new-tokens",
            "1",
            "--prompt",
            prompt,
            "--base",
        ]);
        let output = succeed(command.arg(base.path()).arg(folder.path()));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["prompt_ids"].take()
    };
    assert_eq!(with_adapter("b"), json!([3, 4]));
    write(folder.path(), "chat_template.jinja", "c {{ messages[0].content }}");
    assert_eq!(with_adapter("b"), json!([5, 4]));
    write(folder.path(), "tokenizer.json", words().to_string());
    let config = json!({"extra_special_tokens": ["<tool>"], "bos_token": "<s>"});
    write(folder.path(), "tokenizer_config.json", config.to_string());
    assert_eq!(with_adapter("<tool>"), json!([5, 8]));

    // Merged, the model has them.
    let out = tempfile::tempdir().unwrap();
    let config = json!({
        "input_model": {"type": "HfModel", "model_path": base.path(), "adapter_path": folder.path()},
        "passes": {"m": {"type": "MergeAdapterWeights"}},
        "cache_dir": out.path().join("cache"), "output_dir": out.path().join("result"),
    });
    let run = || {
        let output = crate::support::binary::run_configuration(out.path(), &config);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let copied =
            |name: &str| std::fs::read_to_string(out.path().join("result/model").join(name)).unwrap();
        assert_eq!(
            copied("tokenizer_config.json"),
            std::fs::read_to_string(folder.path().join("tokenizer_config.json")).unwrap()
        );
        copied("chat_template.jinja")
    };
    assert_eq!(run(), "c {{ messages[0].content }}");
    write(folder.path(), "chat_template.jinja", "d {{ messages[0].content }}");
    assert_eq!(run(), "d {{ messages[0].content }}", "not what the cache has");
    std::fs::remove_file(folder.path().join("chat_template.jinja")).unwrap();
    assert_eq!(run(), "a {{ messages[0].content }}", "the base's, as the adapter has none");
    let mut config = read_json(&folder.path().join("tokenizer_config.json"));
    config["chat_template"] = "e {{ messages[0].content }}".into();
    write(folder.path(), "tokenizer_config.json", config.to_string());
    assert_eq!(run(), "e {{ messages[0].content }}");
}
