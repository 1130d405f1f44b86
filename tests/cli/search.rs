//! `search_strategy`: what is tried, in which order, and what a point is.

use olive_config::{ExecutionOrder, LoadOptions, Sampler, Search, SearchStrategy, Targets};
use olive_engine::passes::LoraOptions;
use olive_engine::{REGISTRY, RunConfig};
use olive_onnx::ModelBuilderOptions;
use serde_json::{Value, json};
use std::path::Path;

/// A search over an adapter and a graph.
fn configuration() -> Value {
    json!({
        "input_model": {"type": "HfModel", "model_path": "org/model"},
        "data_configs": [{"name": "d", "type": "HuggingfaceContainer",
            "load_dataset_config": {"data_name": "json", "data_files": "rows.jsonl", "split": "train"}}],
        "evaluator": {"metrics": [{"name": "p", "type": "accuracy", "data_config": "d",
            "sub_types": [{"name": "perplexity"}]}]},
        "passes": {
            "lora": {"type": "LoRA", "train_data_config": "d", "r": [16, 32, 64]},
            "merge": {"type": "MergeAdapterWeights"},
            "builder": {"type": "ModelBuilder", "precision": "int4", "int4_block_size": [32, 64, 128],
                "int4_is_symmetric": [true, false]}},
        "search_strategy": true,
    })
}

fn read(config: &Value) -> Result<RunConfig, String> {
    RunConfig::from_value(config, Path::new("c.json"), &LoadOptions::default(), &REGISTRY)
        .map_err(|error| error.to_string())
}

fn load(config: &Value) -> RunConfig {
    read(config).unwrap_or_else(|error| panic!("{error}"))
}

fn search(config: &RunConfig) -> &Search {
    config.search.as_ref().expect("a search")
}

fn lora(config: &RunConfig) -> &LoraOptions {
    config.passes[0].pass.options().downcast_ref().expect("LoRA")
}

/// The configuration of a point.
fn at(config: &RunConfig, index: u64) -> RunConfig {
    let search = search(config);
    let point = search.space(&config.flows[0]).and_then(|space| space.point(index)).expect("a point");
    load(&search.document(&config.document, &point.choices))
}

#[test]
fn the_space_of_the_reference_has_its_points() {
    let config = load(&configuration());
    let space = search(&config).space(&config.flows[0]).expect("a space");
    assert_eq!(space.len(), 18);
    let point = space.point(4).expect("a point").to_string();
    let expected = "SearchPoint(4, {lora[0]: {r[1]: 32}, merge[0]: {}, \
                    builder[0]: {int4_block_size[1]: 64, int4_is_symmetric[0]: true}})";
    assert_eq!(point, expected);
    assert_eq!(lora(&config).r, 16, "a configuration with a search is its first point");
    let fourth = at(&config, 4);
    let builder: &ModelBuilderOptions = fourth.passes[2].pass.options().downcast_ref().expect("a builder");
    assert_eq!((lora(&fourth).r, builder.block_size, builder.is_symmetric), (32, 64, true));
    assert!(fourth.search.is_none() && fourth.warnings.is_empty(), "{:?}", fourth.warnings);
}

#[test]
fn any_scalar_option_may_have_several_values_wherever_it_stands() {
    let mut config = configuration();
    config["passes"] = json!({"lora": {"type": "LoRA", "config": {"train_data_config": "d", "lora_alpha": [8, "16", null],
        "target_modules": [["q_proj", "v_proj"], "all-linear"],
        "training_args": {"max_steps": 3, "learning_rate": [1e-4, 1e-3], "lr_scheduler_type": ["cosine", "linear"],
            "lr_scheduler_kwargs": {"num_cycles": [0.5]}}}}});
    let config = load(&config);
    let options = &search(&config).passes[0].alternatives[0].options;
    let names: Vec<&str> = options.iter().map(|option| option.name.as_str()).collect();
    let expected = [
        "alpha",
        "target_modules",
        "training_args.learning_rate",
        "training_args.lr_scheduler_type",
        "training_args.lr_scheduler_kwargs.num_cycles",
    ];
    assert_eq!(names, expected);
    assert_eq!(options[0].values, [json!(8.0), json!(16.0), json!(null)]);
    assert_eq!(options[2].keys, ["config", "training_args", "learning_rate"]);
    let last = at(&config, 23);
    assert_eq!((lora(&last).alpha, lora(&last).training.learning_rate), (16.0, 1e-3), "null is the default");
    assert_eq!(lora(&last).target_modules, Some(Targets::AllLinear));
    assert_eq!(serde_json::to_value(lora(&last).training.lr_scheduler_type).expect("JSON"), json!("linear"));
    let names = Targets::Names(vec!["q_proj".into(), "v_proj".into()]);
    assert_eq!(lora(&at(&config, 0)).target_modules, Some(names), "a list of names is one value");
    assert_eq!(lora(&at(&config, 0)).alpha, 8.0);
}

#[test]
fn passes_may_have_alternatives() {
    let mut config = configuration();
    config["passes"]["lora"] = json!([
        {"type": "LoRA", "train_data_config": "d", "r": 4},
        {"type": "LoRA", "train_data_config": "d", "r": [8, 16]},
        {"type": "DoRA", "train_data_config": "d", "r": 2}]);
    config["passes"].as_object_mut().expect("an object").remove("builder");
    let read = load(&config);
    assert!(read.warnings.is_empty(), "{:?}", read.warnings);
    let space = search(&read).space(&read.flows[0]).expect("a space");
    let points: Vec<_> = (0..space.len()).map(|index| at(&read, index)).collect();
    let ranks: Vec<(usize, bool)> =
        points.iter().map(|point| (lora(point).r, lora(point).use_dora)).collect();
    assert_eq!(ranks, [(4, false), (8, false), (16, false), (2, true)]);
    // What is wrong with an alternative is told, though it is not the first.
    config["passes"]["lora"][2]["r"] = json!([2, "two"]);
    config["passes"]["lora"][1]["train_data_config"] = json!("e");
    let told = self::read(&config).expect_err("an error");
    for text in
        ["passes.lora[1].train_data_config: there is no data config `e`", "passes.lora[2].r[1]: expected"]
    {
        assert!(told.contains(text), "{text} is not in {told}");
    }
}

#[test]
fn olives_own_values_are_tried_only_where_they_are_asked_for() {
    let mut config = configuration();
    config["passes"]["lora"]["r"] = json!("SEARCHABLE_VALUES");
    config["passes"]["builder"] =
        json!({"type": "ModelBuilder", "precision": "int4", "int4_block_size": "DEFAULT_VALUE"});
    let read = load(&config);
    let space = search(&read).space(&read.flows[0]).expect("a space");
    assert_eq!((space.len(), lora(&at(&read, 2)).r), (3, 64));
    let told: Vec<&str> = read.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("`int4_is_symmetric` of `builder`, `int4_algo_config` of `builder`"),
        "{told:?}"
    );
    for option in ["int4_block_size", "int4_is_symmetric", "int4_algo_config"] {
        config["passes"]["builder"][option] = json!("SEARCHABLE_VALUES");
    }
    let read = load(&config);
    let all = search(&read).space(&read.flows[0]).expect("a space").len();
    assert_eq!((all, read.warnings.len()), (72, 0));
    // Every one of them fits its option.
    (0..all).for_each(|index| drop(at(&read, index)));
    config["passes"]["lora"]["lora_dropout"] = json!("SEARCHABLE_VALUES");
    assert!(self::read(&config).expect_err("an error").contains("no values to try for `lora_dropout`"));
}

#[test]
fn strategies_of_both_eras_mean_the_same() {
    let strategy = |written: Value| -> SearchStrategy {
        let mut config = configuration();
        config["search_strategy"] = written;
        search(&load(&config)).strategy
    };
    let whole = strategy(json!(true));
    assert_eq!(
        (whole.order, whole.sampler, whole.max_samples),
        (ExecutionOrder::Joint, Sampler::Sequential, None)
    );
    assert_eq!(whole, strategy(json!({"execution_order": "Joint", "search_algorithm": "exhaustive"})));
    let new = strategy(
        json!({"execution_order": "joint", "sampler": "random", "seed": 101, "max_samples": 3, "max_iter": 2}),
    );
    let nested = json!({"execution_order": "joint", "sampler": "random", "max_iter": 2,
        "sampler_config": {"seed": 101, "max_samples": 3}});
    let old = json!({"execution_order": "joint", "search_algorithm": "random", "max_iter": 2,
        "search_algorithm_config": {"seed": 101, "num_samples": 3}});
    assert_eq!((new, new), (strategy(nested), strategy(old)));
    assert_eq!(new.sampler, Sampler::Random { seed: 101, with_replacement: false });
    assert_eq!((new.max_samples, new.max_iter), (Some(3), Some(2)));
    let unsaid = |word: &str| strategy(json!({"execution_order": "joint", word: "tpe"}));
    assert_eq!((unsaid("search_algorithm").max_samples, unsaid("sampler").max_samples), (Some(1), None));
    assert_eq!(unsaid("sampler").sampler, Sampler::Tpe { seed: 1, multivariate: true, group: true });
    let halving = strategy(json!({"sampler": "halving", "min_steps": 10}));
    assert_eq!(halving.sampler, Sampler::Halving { eta: 3, min_steps: Some(10) });
    let stepwise = strategy(json!({"execution_order": "pass-by-pass", "beam": 2, "output_model_num": 4}));
    assert_eq!((stepwise.order, stepwise.beam), (ExecutionOrder::PassByPass, Some(2)));
    assert_eq!(stepwise.output_model_num, Some(4));
    let mut old = configuration();
    old["engine"] = json!({"search_strategy": old["search_strategy"].take()});
    assert_eq!(search(&load(&old)).strategy, whole);
}

#[test]
fn what_does_not_go_together_is_told() {
    let cases = [
        ("/evaluator", json!(null), "a search needs `evaluator`"),
        (
            "/evaluator",
            json!({"type": "LMEvaluator", "tasks": ["mmlu"]}),
            "the evaluator `evaluator` has none",
        ),
        ("/search_strategy", json!({"sampler": "bayes"}), "expected one of sequential, random, tpe, halving"),
        ("/search_strategy", json!({"smapler": "tpe"}), "did you mean `sampler`?"),
        (
            "/search_strategy",
            json!({"include_pass_params": false}),
            "several values for `r` of `lora`, `int4_block_size` of `builder`",
        ),
        (
            "/search_strategy",
            json!({"execution_order": "pass-by-pass", "sampler": "halving"}),
            "`halving` compares the trainings of all points",
        ),
        ("/search_strategy", json!("joint"), "expected true, false or an object"),
        ("/passes/lora/r", json!(["two"]), "passes.lora.r[0]: expected a whole number"),
        ("/passes/lora/r", json!([]), "there is no value to try"),
        ("/passes/lora/r", json!([8, 0]), "passes.lora.r[1]: expected a whole number, 1 or more, found 0"),
        ("/passes/lora/training_args", json!([{"max_steps": 1}]), "expected an object, found a list"),
        ("/passes/lora/modules_to_save", json!([1]), "expected a list of texts"),
    ];
    for (place, value, expected) in cases {
        let mut config = configuration();
        config["passes"]["lora"]["modules_to_save"] = json!(null);
        config["passes"]["lora"]["training_args"] = json!(null);
        *config.pointer_mut(place).expect("a place") = value.clone();
        let told = read(&config).expect_err("an error");
        assert!(told.contains(expected), "{place} {value}: {told}");
        assert_eq!(
            told.lines().filter(|line| line.starts_with("c.json:")).count(),
            1,
            "{place} {value}: {told}"
        );
    }
    let mut config = configuration();
    config["search_strategy"] = json!({"execution_order": "pass-by-pass", "max_iter": 3, "seed": 4});
    let told: Vec<String> = load(&config).warnings.iter().map(|warning| warning.message.clone()).collect();
    assert!(told.iter().any(|text| text.contains("`max_iter` is not used")), "{told:?}");
    assert!(told.iter().any(|text| text.contains("`seed` is not used")), "{told:?}");
}

#[test]
fn without_a_search_a_list_is_no_number() {
    for off in [json!(null), json!(false), json!({})] {
        let mut config = configuration();
        config["search_strategy"] = off;
        let told = read(&config).expect_err("an error");
        assert!(told.contains("passes.lora.r: expected a whole number, 1 or more, found a list"), "{told}");
        assert!(
            told.contains("passes.builder.int4_is_symmetric: expected true or false, found a list"),
            "{told}"
        );
    }
    let mut config = configuration();
    config["passes"]["builder"]["disable_search"] = json!(true);
    let told = read(&config).expect_err("an error");
    assert!(!told.contains("passes.lora.r"), "{told}");
    assert!(told.contains("passes.builder.int4_block_size: expected one of"), "{told}");
}
