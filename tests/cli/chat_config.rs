//! How configurations describe conversations and mixes.

use olive_config::canonical::{
    AnswersBy, BadRows, ChatSource, LossOn, RowFormat, Strategy, TextColumn, TextGeneration, TextSource,
};
use olive_config::{DataConfig, LoadOptions};
use olive_engine::REGISTRY;
use olive_engine::RunConfig;
use serde_json::{Value, json};
use std::path::Path;

/// A configuration that trains on rows with these options, and other members of the data config.
fn configuration(options: Value, beside: Value) -> Value {
    let mut data = json!({
        "name": "talk", "type": "HuggingfaceContainer",
        "load_dataset_config": {"data_name": "json", "data_files": "rows.jsonl", "split": "train"},
        "pre_process_data_config": options,
    });
    data.as_object_mut().unwrap().extend(beside.as_object().unwrap().clone());
    let other = json!({
        "name": "other", "type": "HuggingfaceContainer",
        "load_dataset_config": {"data_name": "csv", "data_files": "rows.csv", "split": "train"},
        "pre_process_data_config": {"text_cols": ["a"]},
    });
    json!({
        "input_model": {"type": "HfModel", "model_path": "org/model"},
        "data_configs": [data, other],
        "passes": {"lora": {"type": "LoRA", "train_data_config": "talk"}},
    })
}

fn read(options: Value, beside: Value) -> Result<(DataConfig, Vec<String>), String> {
    let value = configuration(options, beside);
    let config = RunConfig::from_value(&value, Path::new("c.json"), &LoadOptions::default(), &REGISTRY)
        .map_err(|error| error.to_string())?;
    let warnings = config.warnings.iter().map(|warning| warning.message.clone());
    let warnings = warnings.filter(|message| !message.contains("nothing uses")).collect();
    Ok((config.passes[0].pass.data()[0].config.clone(), warnings))
}

fn text(options: Value) -> TextGeneration {
    let (config, warnings) = read(options.clone(), json!({})).unwrap();
    assert_eq!(warnings, [""; 0], "{options}");
    config.pre_process
}

#[test]
fn options_say_whether_rows_are_conversations() {
    let chat = |format, template: Option<&str>, column: Option<&str>| {
        let (template, message_col) = (template.map(str::to_owned), column.map(str::to_owned));
        TextSource::Chat(ChatSource { format, template, message_col })
    };
    let raw = |source: Option<&str>| TextSource::ChatTemplate {
        source: source.map(str::to_owned),
        message_col: "messages".into(),
    };
    for (options, source) in [
        (json!({}), TextSource::Undescribed(TextColumn)),
        (json!({"loss_on": "all"}), TextSource::Undescribed(TextColumn)),
        (json!({"loss_on": "completion", "response_template": "A:"}), TextSource::Undescribed(TextColumn)),
        (json!({"text_cols": ["text"]}), TextSource::Columns(vec!["text".into()])),
        (json!({"format": "auto"}), chat(RowFormat::Auto, None, None)),
        (json!({"format": "sharegpt", "message_col": "talk"}), chat(RowFormat::ShareGpt, None, Some("talk"))),
        (json!({"format": "alpaca", "chat_template": "T"}), chat(RowFormat::Alpaca, Some("T"), None)),
        (json!({"loss_on": "assistant"}), chat(RowFormat::Auto, None, None)),
        (json!({"loss_on": "completion"}), chat(RowFormat::Auto, None, None)),
        (json!({"chat_template": true}), raw(None)),
        (json!({"chat_template": "T", "loss_on": "all"}), raw(Some("T"))),
        (json!({"chat_template": true, "loss_on": "completion", "response_template": "A:"}), raw(None)),
        (
            json!({"chat_template": true, "loss_on": "last"}),
            chat(RowFormat::Messages, None, Some("messages")),
        ),
    ] {
        let found = text(options.clone());
        assert_eq!(found.source, source, "{options}");
        // Conversations are kept whole unless something else is said.
        let is_chat = matches!(source, TextSource::Chat(_));
        assert_eq!(found.strategy, if is_chat { Strategy::Pack } else { Strategy::Join }, "{options}");
    }
    let joined =
        text(json!({"format": "auto", "strategy": "line-by-line", "loss_on": "last", "bad_rows": "skip",
                             "answers_by": "prefix", "chat_template_kwargs": {"enable_thinking": false}}));
    assert_eq!((joined.strategy, joined.loss_on), (Strategy::LineByLine, Some(LossOn::Last)));
    let options = &joined.chat;
    assert_eq!((options.bad_rows, options.answers_by), (BadRows::Skip, Some(AnswersBy::Prefix)));
    assert_eq!(options.template_variables["enable_thinking"], false);
}

#[test]
fn what_does_not_go_together_is_told() {
    for (options, part) in [
        (json!({"loss_on": "assistant", "text_template": "{a}"}), "only conversations have an assistant"),
        (json!({"loss_on": "completion", "text_cols": ["a"]}), "where a completion begins"),
        (json!({"format": "chatml"}), "format"),
        (json!({"bad_rows": "drop"}), "bad_rows"),
    ] {
        let error = read(options, json!({})).unwrap_err();
        assert!(error.contains(part), "{part}: {error}");
    }
    for (options, part) in [
        (json!({"text_cols": ["a"], "bad_rows": "skip"}), "`bad_rows` is not used"),
        (json!({"format": "auto", "text_template": "{a}"}), "`text_template` is not used"),
        (json!({"loss_on": "assistant", "response_template": "A:"}), "`response_template` is not used"),
    ] {
        let (_, warnings) = read(options, json!({})).unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains(part), "{warnings:?}");
    }
}

/// What enters cache keys of configurations that say nothing of conversations is what it was before there were any.
#[test]
fn keys_of_texts_know_nothing_of_conversations() {
    let document = |options: Value| serde_json::to_value(read(options, json!({})).unwrap().0).unwrap();
    let found = document(json!({"strategy": "line-by-line", "text_cols": ["text"]}));
    assert_eq!(
        found["pre_process"],
        json!({
            "era": found["pre_process"]["era"], "source": {"columns": ["text"]}, "strategy": "line-by-line",
            "max_seq_len": 1024, "joiner": "\n\n", "stride": null, "pad_to_max_len": true, "padding_side": "right",
            "drop_short_sequences": false, "add_special_tokens": true, "use_attention_mask": true,
            "max_samples": null, "processing_batch_size": 1024, "random_seed": null, "random_retries": 10,
            "loss_on": "all", "response_template": null,
        })
    );
    assert!(found.get("mix").is_none());
    assert_eq!(document(json!({"strategy": "line-by-line"})), found);
}

#[test]
fn data_configs_are_mixed_by_name_or_in_place() {
    let in_place = json!({
        "type": "HuggingfaceContainer",
        "load_dataset_config": {"data_name": "json", "data_files": "more.jsonl", "split": "train"},
    });
    let mix = json!([{"data_config": "other", "weight": 0.5}, {"data_config": in_place}]);
    let (config, _) = read(json!({}), json!({"mix": mix})).unwrap();
    let parts: Vec<_> = config.mix.iter().map(|part| (part.config.name.as_str(), part.weight)).collect();
    assert_eq!(parts, [("other", 0.5), ("data_config", 1.0)]);
    assert_eq!(config.mix[0].config.pre_process.source, TextSource::Columns(vec!["a".into()]));
    for (mix, part) in [
        (json!({"data_config": "other"}), "expected a list of data configs with weights"),
        (json!([{"data_config": "missing"}]), "there is no data config `missing`"),
        (json!([{"data_config": "talk"}]), "cannot be a mix itself"),
        (json!([{"data_config": "other", "weight": 0}]), "expected a number above 0"),
        (json!([{"data_config": "other", "share": 1}]), "there is no option `share`"),
        (json!([{"weight": 1}]), "expected an object with `data_config`"),
    ] {
        let error = read(json!({}), json!({"mix": mix})).unwrap_err();
        assert!(error.contains(part), "{part}: {error}");
    }
    let mut value = configuration(json!({}), json!({"mix": [{"data_config": "other"}]}));
    value["evaluators"] = json!({"e": {"metrics": [{
        "name": "ppl", "type": "accuracy", "data_config": "talk", "sub_types": [{"name": "perplexity", "priority": 1}],
    }]}});
    value["evaluator"] = "e".into();
    let error = RunConfig::from_value(&value, Path::new("c.json"), &LoadOptions::default(), &REGISTRY);
    let error = error.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("metrics are not measured on a mix"), "{error}");
}
