//! `evaluators`: what they mean, and what is said of those that cannot be.

use crate::support::shared::shared;
use olive_config::{
    DataFiles, Evaluator, Goal, GoalKind, LoadOptions, Measure, Measures, Metric, MetricData, MetricKind,
    Statistic, TextSource,
};
use olive_engine::{REGISTRY, RunConfig};
use serde_json::{Value, json};
use std::path::Path;

/// A configuration with two passes and one evaluator, `ev`, which the engine uses.
fn configuration(evaluator: Value) -> Value {
    json!({
        "input_model": {"type": "HfModel", "model_path": "org/model"},
        "data_configs": [{"name": "d", "type": "HuggingfaceContainer",
            "load_dataset_config": {"data_name": "json", "data_files": "QA.jsonl", "split": "train[:20]"},
            "pre_process_data_config": {"text_cols": ["Question", "Best Answer"], "strategy": "line-by-line",
                "max_seq_len": 64}}],
        "evaluators": {"ev": evaluator},
        "evaluator": "ev",
        "passes": {"lora": {"type": "LoRA", "train_data_config": "d"}, "merge": {"type": "MergeAdapterWeights"}},
    })
}

fn read(config: &Value) -> Result<RunConfig, String> {
    RunConfig::from_value(config, Path::new("c.json"), &LoadOptions::default(), &REGISTRY)
        .map_err(|error| error.to_string())
}

fn load(config: &Value) -> RunConfig {
    read(config).unwrap_or_else(|error| panic!("{error}"))
}

fn evaluator(config: &RunConfig) -> &Evaluator {
    config.engine.evaluator.as_deref().expect("an evaluator")
}

/// The metrics of an evaluator with these.
fn metrics(metrics: Value) -> Vec<Metric> {
    let config = load(&configuration(json!({"metrics": metrics})));
    let Measures::Metrics(metrics) = &evaluator(&config).measures else { panic!("not of metrics") };
    metrics.clone()
}

/// What is wrong with an evaluator, one error a line.
fn errors(evaluator: Value) -> String {
    read(&configuration(evaluator)).expect_err("an error")
}

/// A metric with one value, without a rank.
fn size() -> Value {
    json!({"name": "size", "type": "size_on_disk", "sub_types": [{"name": "bytes"}]})
}

#[test]
fn the_metrics_of_olive_mean_what_they_mean_there() {
    let written = json!([
        {"name": "ppl", "type": "accuracy", "data_config": "d", "sub_types": [
            {"name": "perplexity", "priority": 1, "higher_is_better": false,
             "metric_config": {"ignore_index": 0},
             "goal": {"type": "percent-max-degradation", "value": 5}}]},
        {"name": "speed", "type": "latency", "sub_types": [
            {"name": "avg", "priority": 3},
            {"name": "p999", "metric_config": {"warmup_num": 2, "repeat_test_num": 7}},
            {"name": "max", "metric_config": {"sleep_num": 9}}]},
        {"name": "size", "type": "size_on_disk", "sub_types": [{"name": "bytes", "priority": 2}]}]);
    for r#type in [json!(null), json!("PyTorchEvaluator"), json!("onnxevaluator")] {
        let config = load(&configuration(json!({"type": r#type, "metrics": written})));
        let Measures::Metrics(metrics) = &evaluator(&config).measures else { panic!("not of metrics") };
        let [ppl, speed, size] = metrics.as_slice() else { panic!("{metrics:?}") };
        let perplexity = &ppl.sub_types[0];
        assert_eq!(ppl.key(perplexity), "ppl-perplexity");
        assert_eq!(perplexity.measure, Measure::Perplexity { ignore_index: 0 });
        assert_eq!((perplexity.priority, perplexity.higher_is_better), (Some(1), false));
        assert_eq!(perplexity.goal, Some(Goal { kind: GoalKind::PercentMaxDegradation, value: 5.0 }));
        let Some(MetricData::Rows(data)) = &ppl.data else { panic!("{:?}", ppl.data) };
        assert_eq!((data.name.as_str(), data.pre_process.max_seq_len), ("d", 64));

        let measures: Vec<Measure> = speed.sub_types.iter().map(|value| value.measure).collect();
        assert_eq!(measures, [Statistic::Avg, Statistic::P999, Statistic::Max].map(Measure::Latency));
        assert_eq!((speed.timing.warm_ups, speed.timing.repeats, speed.timing.sleep_seconds), (2, 7, 0.0));
        assert_eq!(speed.sub_types[0].priority, Some(3));
        assert_eq!((speed.sub_types[1].priority, &speed.data, speed.batch_size), (None, &None, 1));
        assert_eq!((&size.kind, size.sub_types[0].measure), (&MetricKind::SizeOnDisk, Measure::SizeOnDisk));
        assert_eq!((size.timing.warm_ups, size.timing.repeats), (10, 20));
        assert!(evaluator(&config).ranks() && config.engine.evaluate_input_model);
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
}

#[test]
fn less_is_better_of_a_perplexity_unless_the_file_insists() {
    let perplexity = |direction: Value| {
        let value = json!({"name": "perplexity", "higher_is_better": direction});
        let metric = json!([{"name": "p", "type": "accuracy", "data_config": "d", "sub_types": [value]}]);
        let config = load(&configuration(json!({"metrics": metric})));
        let value = evaluator(&config).measures.metrics()[0].sub_types[0].clone();
        assert_eq!(value.priority, Some(1), "a single value has the first rank");
        let told = config.warnings.iter().any(|warning| warning.message.contains("the worst model"));
        (value.higher_is_better, told)
    };
    assert_eq!(perplexity(json!(null)), (false, false));
    assert_eq!(perplexity(json!(false)), (false, false));
    assert_eq!(perplexity(json!(true)), (true, true));
    let bytes = json!([{"name": "s", "type": "size_on_disk", "sub_types": [{"name": "bytes", "higher_is_better": true}]}]);
    assert!(!metrics(bytes)[0].sub_types[0].higher_is_better);
}

#[test]
fn the_metrics_that_olive_has_not_read_rows_by_their_columns() {
    // No text of a row is described, as for the old grammar it would have to be.
    let rows = json!({"name": "arc", "type": "HuggingfaceContainer",
        "load_dataset_config": {"data_name": "json", "data_files": "arc.jsonl", "split": "train"},
        "pre_process_data_config": {"source_max_len": 9, "max_samples": 100},
        "dataloader_config": {"batch_size": 4}});
    let read = metrics(json!([
        {"name": "arc", "type": "multiple_choice", "data_config": rows, "choices_col": "options",
         "user_config": {"prompt_template": "Q: {q}\nA:"},
         "sub_types": [{"name": "acc", "priority": 1}, {"name": "acc_norm"}]},
        {"name": "say", "type": "generation", "data_config": "d", "prompt_col": "Question", "answer_col": "Best Answer",
         "max_new_tokens": 5, "sub_types": [{"name": "exact_match"}]},
        {"name": "lm", "type": "accuracy", "data_config": "d", "sub_types": [{"name": "loss"}]},
        {"name": "lat", "type": "latency", "sub_types": [{"name": "time_to_first_token"}, {"name": "per_token"}]},
        {"name": "thr", "type": "throughput",
         "sub_types": [{"name": "prefill_tokens_per_second"}, {"name": "decode_tokens_per_second"}]},
        {"name": "mem", "type": "memory", "sub_types": [{"name": "peak_bytes"}]}]));
    let MetricKind::MultipleChoice(columns) = &read[0].kind else { panic!("{:?}", read[0].kind) };
    assert_eq!((columns.question_col.as_str(), columns.choices_col.as_str()), ("question", "options"));
    assert_eq!(columns.row.answer_col, "answer");
    assert_eq!(columns.row.prompt_template.as_deref(), Some("Q: {q}\nA:"));
    let Some(MetricData::Rows(data)) = &read[0].data else { panic!("{:?}", read[0].data) };
    assert_eq!((data.pre_process.max_samples, read[0].batch_size), (Some(100), 4));
    assert_eq!(data.pre_process.source, TextSource::Columns(Vec::new()));
    let MetricKind::Generation(columns) = &read[1].kind else { panic!("{:?}", read[1].kind) };
    assert_eq!((columns.prompt_col.as_str(), columns.max_new_tokens), ("Question", 5));
    assert_eq!((columns.ignore_case, columns.row.answer_col.as_str()), (false, "Best Answer"));
    let better: Vec<bool> = read.iter().flat_map(|m| &m.sub_types).map(|v| v.higher_is_better).collect();
    assert_eq!(better, [true, true, true, false, false, false, true, true, false]);
    let keys: Vec<String> = read.iter().map(|metric| metric.key(&metric.sub_types[0])).collect();
    let expected = [
        "arc-acc",
        "say-exact_match",
        "lm-loss",
        "lat-time_to_first_token",
        "thr-prefill_tokens_per_second",
        "mem-peak_bytes",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn ranks_and_goals_change_nothing_of_what_is_measured() {
    let key = |value: Value| {
        let other = json!({"name": "loss", "priority": 1});
        let metric =
            json!([{"name": "p", "type": "accuracy", "data_config": "d", "sub_types": [value, other]}]);
        serde_json::to_string(&metrics(metric)).expect("JSON")
    };
    let plain = key(json!({"name": "perplexity"}));
    let goal = json!({"type": "threshold", "value": 9});
    assert_eq!(
        plain,
        key(json!({"name": "perplexity", "priority": 2, "goal": goal, "higher_is_better": true}))
    );
    assert_ne!(plain, key(json!({"name": "perplexity", "metric_config": {"ignore_index": 3}})));
}

#[test]
fn dummy_containers_have_the_sizes_of_olive() {
    let dummy = |container: &str, load: Value| {
        let data = json!({"name": "x", "type": container, "load_dataset_config": load});
        let metric =
            json!([{"name": "l", "type": "latency", "data_config": data, "sub_types": [{"name": "avg"}]}]);
        let metric = metrics(metric).remove(0);
        let Some(MetricData::Dummy(input)) = metric.data else { panic!("{:?}", metric.data) };
        (input.seq_len, input.past_seq_len, input.max_seq_len, metric.batch_size)
    };
    let token = "TransformersTokenDummyDataContainer";
    assert_eq!(dummy(token, json!({"model_name": "m", "use_fp16": true})), (1, 8, 2048, 1));
    assert_eq!(dummy(token, json!({"past_seq_len": 100, "batch_size": 2})), (1, 100, 2048, 2));
    assert_eq!(dummy("TransformersPromptDummyDataContainer", json!({})), (8, 0, 2048, 1));
    assert_eq!(dummy("TransformersDummyDataContainer", json!({})), (128, 128, 1024, 1));
    let data = json!({"name": "x", "type": token});
    let metric =
        json!([{"name": "l", "type": "accuracy", "data_config": data, "sub_types": [{"name": "loss"}]}]);
    assert!(errors(json!({"metrics": metric})).contains("only times and memory"));
}

#[test]
fn passes_and_the_engine_have_evaluators_by_name_or_in_place() {
    let mut config = configuration(json!({"metrics": [size()]}));
    config["passes"]["lora"]["evaluator"] = json!("ev");
    config["passes"]["merge"]["evaluator"] = json!({"metrics": [
        {"name": "mem", "type": "memory", "sub_types": [{"name": "peak_bytes"}]}]});
    config["evaluate_input_model"] = json!(false);
    let read = load(&config);
    let of = |pass: usize| read.passes[pass].evaluator.as_deref().expect("an evaluator");
    assert_eq!((of(0).name.as_str(), of(1).name.as_str()), ("ev", "evaluator"));
    assert_eq!(of(0), evaluator(&read));
    assert_eq!(of(1).measures.metrics()[0].kind, MetricKind::Memory);
    assert!(!read.engine.evaluate_input_model);
    let slip = LoadOptions { set: vec!["evaluators.evv.metrics=[]".into()], ..LoadOptions::default() };
    let told = RunConfig::from_value(&config, Path::new("c.json"), &slip, &REGISTRY).expect_err("an error");
    assert!(told.to_string().contains("did you mean `ev`?"), "{told}");
    // The grammar of 2024 has them in `engine`.
    let mut old = configuration(json!({"metrics": [size()]}));
    old["engine"] = json!({"evaluator": old["evaluator"].take(), "evaluate_input_model": false});
    let old = load(&old);
    assert_eq!((evaluator(&old).name.as_str(), old.engine.evaluate_input_model), ("ev", false));
}

#[test]
fn what_nothing_refers_to_need_not_be_possible_here() {
    let mut config =
        configuration(json!({"metrics": [{"name": "c", "type": "custom", "sub_types": [{"name": "x"}]}]}));
    let refused = read(&config).expect_err("an error");
    assert!(refused.contains("no Python is run"), "{refused}");
    config["evaluator"] = json!(null);
    let read = load(&config);
    assert!(read.engine.evaluator.is_none());
    let told: Vec<&str> = read.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(told, ["nothing uses the evaluator `ev`"]);
    config["evaluators"]["ev"]["metrics"][0] = json!({"name": "s", "type": "size_on_disc"});
    let wrong = self::read(&config).expect_err("an error");
    assert!(wrong.contains("did you mean `size_on_disk`?"), "{wrong}");
}

#[test]
fn files_are_tasks_and_the_other_tasks_are_named() {
    let wmt = json!({"task": "wmt18-zh-en", "output_type": "generate_until"});
    let config = load(&configuration(json!({
        "type": "LMEvaluator", "batch_size": 8, "limit": 0.25, "model_class": "ortgenai",
        "tasks": ["mmlu", "tasks/arc.jsonl", wmt, "size_on_disk", "hella.parquet"]})));
    let Measures::LmTasks(tasks) = &evaluator(&config).measures else { panic!("not of tasks") };
    assert_eq!(tasks.elsewhere, ["mmlu", "wmt18-zh-en"]);
    let told = &config.warnings[0].message;
    assert!(told.contains("`mmlu` and `wmt18-zh-en`"), "{told}");
    let [arc, size, hella] = tasks.metrics.as_slice() else { panic!("{:?}", tasks.metrics) };
    let keys: Vec<String> = arc.sub_types.iter().map(|value| arc.key(value)).collect();
    assert_eq!((keys, arc.batch_size), (vec!["arc-acc".to_owned(), "arc-acc_norm".into()], 8));
    assert!(arc.sub_types.iter().all(|value| value.priority.is_none() && value.higher_is_better));
    let Some(MetricData::Rows(data)) = &arc.data else { panic!("{:?}", arc.data) };
    assert_eq!(data.load.data_files, DataFiles::Local(vec!["tasks/arc.jsonl".into()]));
    assert_eq!((data.load.data_name.as_str(), data.load.split.as_str()), ("json", "train[:25%]"));
    assert_eq!(size.key(&size.sub_types[0]), "size_on_disk-bytes");
    let Some(MetricData::Rows(data)) = &hella.data else { panic!("{:?}", hella.data) };
    assert_eq!(data.load.data_name, "parquet");

    let limited = load(&configuration(json!({"type": "LMEvaluator", "tasks": ["a.csv"], "limit": 256})));
    let Some(MetricData::Rows(data)) = &evaluator(&limited).measures.metrics()[0].data else {
        panic!("no rows")
    };
    assert_eq!((data.pre_process.max_samples, data.load.split.as_str()), (Some(256), "train"));
    assert!(limited.warnings.is_empty(), "{:?}", limited.warnings);

    let mteb = load(&configuration(json!({"type": "MTEBEvaluator", "tasks": ["STS17"], "batch_size": 32})));
    assert!(mteb.warnings[0].message.contains("`STS17`"), "{:?}", mteb.warnings);
    assert!(
        errors(json!({"type": "LMEvaluator", "tasks": ["a/x.json", "b/x.csv"]}))
            .contains("already a task `x`")
    );
    assert!(
        errors(json!({"type": "LMEvaluator", "tasks": ["org/task"]})).contains("the format of `org/task`")
    );
    assert!(
        errors(json!({"type": "LMEvaluator", "tasks": ["a.csv"], "limit": 0.333})).contains("whole per cent")
    );
    assert!(
        errors(json!({"type": "LMEvaluator", "tasks": ["a.csv"], "num_fewshot": 5})).contains("num_fewshot")
    );
}

#[test]
fn what_cannot_be_measured_is_refused_by_name_with_what_there_is_instead() {
    let metric = |change: Value| {
        let mut metric =
            json!({"name": "m", "type": "accuracy", "data_config": "d", "sub_types": [{"name": "loss"}]});
        for (key, value) in change.as_object().expect("an object") {
            metric[key] = value.clone();
        }
        json!({"metrics": [metric]})
    };
    let value = |change: Value| metric(json!({"sub_types": [change]}));
    let goal =
        |r#type: &str, number: f64| value(json!({"name": "loss", "goal": {"type": r#type, "value": number}}));
    let mut ranked = size();
    ranked["sub_types"][0]["priority"] = json!(1);
    for (evaluator, expected) in [
        (json!({"type": "QNNEvaluator"}), &["QNNEvaluator is not supported", "`PyTorchEvaluator`"][..]),
        (json!({"type": "Mine", "user_script": "m.py"}), &["`Mine` is not supported", "no Python is run"]),
        (json!({"type": "LMEvaluatr", "tasks": []}), &["did you mean `LMEvaluator`?"]),
        (json!({"type": "LMEvaluator"}), &["LMEvaluator needs `tasks`"]),
        (json!({}), &["has no `metrics`"]),
        (json!({"metrics": [size()], "user_script": "m.py"}), &["`user_script` is not supported"]),
        (json!({"metrics": [ranked, size()]}), &["there is already a metric `size`"]),
        (metric(json!({"type": "custom"})), &["`custom` metrics are Python functions"]),
        (metric(json!({"type": "acuracy"})), &["did you mean `accuracy`?"]),
        (metric(json!({"backend": "huggingface_metrics"})), &["`backend` is not supported"]),
        (metric(json!({"user_config": {"user_script": "m.py"}})), &["`user_script` is not supported"]),
        (metric(json!({"evaluate_func": "f"})), &["`evaluate_func` is not supported"]),
        (metric(json!({"metric_func": "f"})), &["`metric_func` is not supported"]),
        (metric(json!({"data_config": null})), &["needs `data_config`"]),
        (metric(json!({"data_config": "e"})), &["there is no data config `e`"]),
        (metric(json!({"sub_types": []})), &["has no `sub_types`", "`perplexity` and `loss`"]),
        (value(json!({"name": "f1_score"})), &["`f1_score` is not supported", "`multiple_choice`"]),
        (value(json!({"name": "wer"})), &["it measures speech"]),
        (value(json!({"name": "exact_match"})), &["the type `generation` has `exact_match`"]),
        (value(json!({"name": "p50"})), &["accuracy has no sub type `p50`", "is a sub type of `latency`"]),
        (value(json!({"name": "perplexty"})), &["did you mean `perplexity`?"]),
        (value(json!({"name": "loss", "prioriti": 1})), &["did you mean `priority`?"]),
        (value(json!({"name": "loss", "priority": 2})), &["a gap below 2"]),
        (value(json!({"name": "loss", "priority": 0})), &["priorities begin with 1"]),
        (
            metric(json!({"sub_types": [{"name": "loss"}, {"name": "perplexity"}]})),
            &["none of them has a `priority`", "`loss` and `perplexity`"],
        ),
        (
            metric(
                json!({"sub_types": [{"name": "loss", "priority": 1}, {"name": "perplexity", "priority": 1}]}),
            ),
            &["another value has the priority 1"],
        ),
        (metric(json!({"sub_types": [{"name": "loss"}, {"name": "loss"}]})), &["has `loss` already"]),
        (goal("min-improvement", -1.0), &["expected a number, 0 or more, found -1"]),
        (goal("percent-min-improvement", 100.0), &["between 0 and 100, found 100"]),
        (goal("percent-max-degradation", 0.0), &["above 0, found 0"]),
        (goal("treshold", 1.0), &["did you mean `threshold`?"]),
        (value(json!({"name": "loss", "goal": {"type": "threshold"}})), &["the goal needs `value`"]),
    ] {
        let told = errors(evaluator.clone());
        for text in expected {
            assert!(told.contains(text), "{evaluator}: {text} is not in {told}");
        }
        assert_eq!(told.lines().filter(|line| line.starts_with("c.json:")).count(), 1, "{evaluator}: {told}");
    }
}

#[test]
fn all_mistakes_of_an_evaluator_are_told_at_once() {
    let told = errors(json!({"metrics": [
        {"name": "a", "type": "accuracy", "sub_types": [{"name": "los"}, {"name": "perplexity", "metric_config": {"x": 1}}]},
        {"name": "b", "type": "latency", "sub_types": [{"name": "avg", "priority": "first"}]},
        {"type": "memory", "sub_types": [{"name": "peak"}]}]}));
    for text in [
        "needs `data_config`",
        "`los`",
        "has no option `x`",
        "found the text \"first\"",
        "needs `name`",
        "`peak`",
    ] {
        assert!(told.contains(text), "{text} is not in {told}");
    }
}

#[test]
fn what_has_no_effect_is_told() {
    let config = load(&configuration(json!({"metrics": [
        {"name": "a", "type": "accuracy", "data_config": "d", "max_new_tokens": 3, "sub_types": [
            {"name": "loss", "priority": 1, "metric_config": {"warmup_num": 1}},
            {"name": "perplexity", "goal": {"type": "threshold", "value": 1}}]},
        {"name": "s", "type": "size_on_disk", "data_config": "d", "sub_types": [{"name": "bytes"}]}]})));
    let told: Vec<&str> = config.warnings.iter().map(|warning| warning.message.as_str()).collect();
    let expected = [
        "`max_new_tokens` is not used: it is an option of `generation`",
        "`warmup_num` is not used: it is an option of latencies and throughputs",
        "`goal` is not used: the value has no `priority`",
        "`data_config` is not used: the size needs no data",
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    assert!(expected.iter().all(|text| told.contains(text)), "{told:?}");
}

#[test]
fn evaluators_of_recipes_are_accepted() {
    let Some(recipes) = shared("recipes") else { return };
    let mut read = 0;
    for entry in std::fs::read_dir(recipes).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a recipe");
        let recipe: Value = serde_json::from_str(&text).expect("JSON");
        let Some(evaluators) = recipe.get("evaluators") else { continue };
        for evaluator in evaluators.as_object().expect("an object").values() {
            load(&configuration(evaluator.clone()));
            read += 1;
        }
    }
    assert!(read >= 24, "{read}");
}
