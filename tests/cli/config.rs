//! What configurations mean: both grammars, eras, defaults, overrides.

use crate::support::binary::root;
use crate::support::shared::shared;
use olive_config::{
    AzureMlPlace, DataFiles, Era, EvalSize, EvalStrategy, InputModel, LoadOptions, LossOn, Origin, Ramp,
    Sampling, SaveStrategy, Scheduler, Strategy, SystemKind, Targets, TextColumn, TextSource,
};
use olive_engine::passes::{LoraOptions, QloraOptions};
use olive_engine::{REGISTRY, RunConfig};
use olive_onnx::{ModelBuilderOptions, Precision};
use std::path::PathBuf;

fn load_as(name: &str, text: &str, set: &[&str]) -> olive_core::Result<RunConfig> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("the configuration is written");
    let options = LoadOptions {
        set: set.iter().map(|argument| (*argument).to_owned()).collect(),
        local: true,
        ..LoadOptions::default()
    };
    RunConfig::load(&path, &options, &REGISTRY)
}

fn load(text: &str, set: &[&str]) -> RunConfig {
    load_as("c.json", text, set).unwrap_or_else(|error| panic!("{error}"))
}

/// The options of a pass, which must be of this type.
fn options<T: 'static>(config: &RunConfig, pass: usize) -> &T {
    let pass = &config.passes[pass].pass;
    pass.options().downcast_ref().unwrap_or_else(|| panic!("{} has other options", pass.name()))
}

fn builder(config: &RunConfig, pass: usize) -> &ModelBuilderOptions {
    options(config, pass)
}

fn lora(config: &RunConfig) -> &LoraOptions {
    options(config, 0)
}

/// Today's grammar, with one LoRA pass.
fn modern(pass: &str, pre_process: &str) -> String {
    format!(
        r#"{{"input_model": {{"type": "HfModel", "model_path": "org/model"}},
            "data_configs": [{{"name": "train", "type": "HuggingfaceContainer",
                "load_dataset_config": {{"data_name": "json", "data_files": "rows.jsonl", "split": "train"}},
                "pre_process_data_config": {{{pre_process}}}}}],
            "passes": {{"lora": {{"type": "LoRA", "train_data_config": "train" {pass}}}}}}}"#
    )
}

#[test]
fn the_documented_lora_pipeline_reads_verbatim() {
    let Some(seed) = shared("seed") else { return };
    let options = LoadOptions { set: Vec::new(), local: true, ..LoadOptions::default() };
    let config = RunConfig::load(&seed.join("lora.json"), &options, &REGISTRY)
        .unwrap_or_else(|error| panic!("{error}"));
    let InputModel::HuggingFace { model_path, trust_remote_code, task, .. } = &config.input_model else {
        panic!("not a Hugging Face model")
    };
    assert_eq!(model_path.local(), Some("microsoft/Phi-3-mini-4k-instruct"));
    assert_eq!(task, "text-generation");
    assert!(trust_remote_code);
    assert_eq!(config.systems["aml"].kind, SystemKind::AzureMl);
    assert_eq!(config.systems["aml"].accelerators[0].execution_providers, ["CUDAExecutionProvider"]);
    assert_eq!(config.engine.host, None, "--local");
    assert_eq!(config.engine.cache_dir, PathBuf::from("cache"));
    assert_eq!(config.engine.output_dir, PathBuf::from("../model-cache/models/phi3-finetuned"));
    assert_eq!(config.engine.log_severity_level, 0);
    assert_eq!(config.flows, [[0, 1, 2]]);

    let lora = lora(&config);
    assert_eq!((lora.r, lora.alpha, lora.lora_dropout), (64, 64.0, 0.1));
    assert_eq!(lora.target_modules, Some(Targets::Names(vec!["o_proj".into(), "qkv_proj".into()])));
    assert_eq!(lora.eval_dataset_size, Some(EvalSize::Fraction(0.1)));
    let training = &lora.training;
    assert_eq!((training.max_steps, training.logging_steps), (Some(100), 100.0));
    assert_eq!(training.eval_strategy, EvalStrategy::Steps);
    assert_eq!(training.eval_steps, Some(187.0));
    assert_eq!(training.optim, "paged_adamw_32bit", "Olive's default of the time");
    assert_eq!(training.lr_scheduler_type, Scheduler::Constant);
    assert_eq!(training.weight_decay, 0.0);

    let text = &lora.train_data.pre_process;
    assert_eq!((text.max_seq_len, text.strategy), (2048, Strategy::Join));
    assert_eq!((text.joiner.as_deref(), text.use_attention_mask), (None, false));
    let TextSource::Template(template) = &text.source else { panic!("not a template") };
    assert!(template.contains("{Best Answer}"), "{template}");
    let DataFiles::AzureMl(files) = &lora.train_data.load.data_files else { panic!("not in AzureML") };
    let [file] = files["train"].as_slice() else { panic!("{files:?}") };
    assert!(
        matches!(&file.place, AzureMlPlace::Datastore { datastore, .. } if datastore == "workspaceblobstore")
    );

    let builder = builder(&config, 2);
    assert_eq!((builder.precision, builder.block_size), (Precision::Int4, 32));
    assert_eq!(builder.execution_provider, "cpu", "there is no CUDA with --local in this build");
    assert!(config.warnings.iter().any(|warning| warning.json_path.ends_with("double_quant")));
}

#[test]
fn the_documented_qlora_pipeline_reads_verbatim_and_its_data_can_be_replaced() {
    let Some(seed) = shared("seed") else { return };
    let set = "data_configs.dataset_default_train.load_dataset_config.data_files=rows.jsonl";
    let options = LoadOptions { set: vec![set.into()], local: true, ..LoadOptions::default() };
    let config = RunConfig::load(&seed.join("qlora.json"), &options, &REGISTRY)
        .unwrap_or_else(|error| panic!("{error}"));
    let qlora: &QloraOptions = self::options(&config, 0);
    assert!(qlora.double_quant);
    assert_eq!(qlora.compute_dtype, "bfloat16");
    assert_eq!(qlora.lora.target_modules, Some(Targets::AllLinear));
    assert_eq!(qlora.lora.train_data.load.data_files, DataFiles::Local(vec!["rows.jsonl".into()]));
}

#[test]
fn a_block_that_only_has_old_names_gets_old_defaults() {
    let config = load(&modern(r#", "lora_r": 8"#, r#""source_max_len": 32, "text_cols": "text""#), &[]);
    let lora = lora(&config);
    assert_eq!(config.passes[0].era, Era::Old);
    assert_eq!((lora.r, lora.lora_dropout), (8, 0.0));
    let text = &lora.train_data.pre_process;
    assert_eq!((text.era, text.max_seq_len, text.strategy), (Era::Old, 32, Strategy::LineByLine));
    assert_eq!(text.joiner, None);
    // The training arguments tell no era: the model does.
    assert_eq!(lora.training.per_device_train_batch_size, 8);
}

#[test]
fn a_block_without_a_sign_follows_the_model() {
    let new = load(&modern("", ""), &[]);
    let text = &lora(&new).train_data.pre_process;
    assert_eq!(
        (text.max_seq_len, text.strategy, text.joiner.as_deref()),
        (1024, Strategy::Join, Some("\n\n"))
    );
    assert_eq!(text.source, TextSource::Undescribed(TextColumn));
    assert_eq!(lora(&new).lora_dropout, 0.05);
    assert_eq!(lora(&new).training.max_steps, None);

    let old = modern("", r#""source_max_len": 8, "text_template": "{a}""#)
        .replace(r#""type": "HfModel", "model_path": "org/model""#, r#""type": "pytorchmodel", "config": {"hf_config": {"model_name": "org/model", "task": "text-generation"}}"#);
    let old = load(&old, &[]);
    assert_eq!(lora(&old).training.max_steps, Some(10_000));
    assert_eq!(lora(&old).training.gradient_accumulation_steps, 16);
}

#[test]
fn an_override_reaches_its_value_however_the_file_nests() {
    let flat = modern(r#", "r": 4"#, "");
    let nested = flat
        .replace(r#""type": "LoRA", "#, r#""type": "LoRA", "config": {"#)
        .replace(r#""r": 4}"#, r#""r": 4}}"#);
    for text in [&flat, &nested] {
        for path in
            ["passes.lora.r", "passes.lora.config.r", "passes.lora.lora_r", "passes.lora.config.lora_r"]
        {
            let config = load(text, &[&format!("{path}=16")]);
            assert_eq!(lora(&config).r, 16, "{path}");
            assert_eq!(config.passes[0].era, Era::New, "an override does not change the era");
            let option = config.passes[0].resolved.iter().find(|option| option.name == "r");
            assert_eq!(option.map(|option| option.origin), Some(Origin::CommandLine));
        }
    }
}

#[test]
fn overrides_address_list_elements_create_keys_and_read_json() {
    let set = [
        "data_configs[0].load_dataset_config.params.split=train[:90%]",
        "data_configs.train.pre_process_data_config.text_cols=[\"a\", \"b c\"]",
        "passes.lora.training_args.max_steps=3",
        "passes.lora.training_args.learning_rate=1e-3",
        "engine.output_dir=out",
        "workflow_id=7",
        "passes.builder={\"type\": \"ModelBuilder\", \"precision\": \"fp32\"}",
    ];
    let config = load(&modern("", ""), &set);
    let lora = lora(&config);
    assert_eq!(lora.train_data.load.split, "train[:90%]");
    assert_eq!(lora.train_data.pre_process.source, TextSource::Columns(vec!["a".into(), "b c".into()]));
    assert_eq!((lora.training.max_steps, lora.training.learning_rate), (Some(3), 1e-3));
    assert_eq!(config.engine.output_dir, PathBuf::from("out"));
    assert_eq!(config.workflow_id, "7");
    assert_eq!(config.passes.len(), 2);
}

#[test]
fn overrides_say_where_their_path_ends() {
    let text = modern(r#", "r": 4"#, "");
    for (argument, expected) in [
        ("passes.lora.r.x=1", "`passes.lora.r` is 4, which has no keys"),
        ("data_configs.trian.name=x", "`data_configs` has no element `trian`; it has `train`"),
        ("data_configs.7.name=x", "`data_configs` has no element `7`; it has `train`"),
        ("passes.lroa.r=1", "`passes` has no `lroa`; did you mean `lora`?"),
        ("passes.lora.r", "there is no `=`"),
        ("passes..r=1", "empty part"),
    ] {
        let error = load_as("c.json", &text, &[argument]).expect_err(argument);
        assert!(error.to_string().contains(expected), "{argument}: {error}");
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn shapes_of_the_oldest_files_mean_the_same_as_todays() {
    let old = r#"{
        "input_model": {"type": "PyTorchModel", "config": {"hf_config": {"model_name": "org/model",
            "task": "text-generation", "model_loading_args": {"trust_remote_code": true}}}},
        "data_root": "/data",
        "data_configs": {"my-rows": {"name": "my-rows", "type": "HuggingfaceContainer", "params_config": {
            "data_name": "json", "data_files": ["a.json", "/b.json"], "split": "train",
            "component_kwargs": {"pre_process_data": {"text_template": "{q}", "source_max_len": "64", "corpus_strategy": "join"}}}}},
        "passes": {"lora": {"type": "lora", "config": {"train_data_config": "my-rows"}},
                   "builder": [{"type": "modelbuilder", "config": {"precision": "INT4"}}, {"type": "ModelBuilder", "precision": "fp32"}]},
        "pass_flows": [["lora", "builder"], ["builder"]],
        "engine": {"target": {"type": "LocalSystem", "config": {"accelerators": ["gpu"]}},
                   "execution_providers": ["CPUExecutionProvider"]}}"#;
    let config = load(old, &[]);
    let InputModel::HuggingFace { trust_remote_code, .. } = &config.input_model else {
        panic!("not Hugging Face")
    };
    assert!(trust_remote_code);
    let data = &lora(&config).train_data;
    assert_eq!(data.load.data_files, DataFiles::Local(vec!["/data/a.json".into(), "/b.json".into()]));
    assert_eq!((data.pre_process.max_seq_len, data.pre_process.strategy), (64, Strategy::Join));
    assert_eq!(config.flows, [vec![0, 1], vec![1]]);
    let builder = builder(&config, 1);
    assert_eq!(builder.execution_provider, "cpu");
    assert!(
        config.warnings.iter().any(|warning| warning.message.contains("2 alternatives")),
        "{:?}",
        config.warnings
    );
}

#[test]
fn yaml_and_json_mean_the_same() {
    let yaml = r#"
input_model: {type: HfModel, model_path: org/model}
x-defaults: &load
  data_name: json
  data_files: rows.jsonl
data_configs:
  - name: train
    type: HuggingfaceContainer
    load_dataset_config:
      <<: *load
      split: train
    pre_process_data_config:
      joiner: "\n"
      max_samples: 0x10
passes:
  lora:
    type: LoRA
    train_data_config: train
    r: "8"
    training_args:
      learning_rate: 1e-4
      eval_strategy: no
      gradient_checkpointing: False
"#;
    let config = load_as("c.yml", yaml, &[]).unwrap_or_else(|error| panic!("{error}"));
    let json = modern(
        r#", "r": 8, "training_args": {"learning_rate": 0.0001, "eval_strategy": "no", "gradient_checkpointing": false}"#,
        r#""joiner": "\n", "max_samples": 16"#,
    );
    let same = load(&json, &[]);
    assert_eq!(format!("{:?}", config.passes[0].pass), format!("{:?}", same.passes[0].pass));
}

#[test]
fn the_builders_own_names_win() {
    let text = r#"{"input_model": {"type": "HfModel", "model_path": "m"}, "passes": {"b": {"type": "ModelBuilder",
        "precision": "int4", "int4_block_size": 64, "extra_options": {"int4_block_size": 128, "is_symmetric": false,
        "nodes_to_exclude": ["/lm_head/MatMul"]}, "search": {"top_k": 50}}}}"#;
    let config = load(text, &[]);
    let builder = builder(&config, 0);
    assert_eq!((builder.block_size, builder.is_symmetric), (128, false));
    assert_eq!(builder.nodes_to_exclude, ["/lm_head/MatMul"]);
    assert!(builder.search.as_ref().is_some_and(|search| search.contains_key("top_k")));
}

#[test]
fn the_builders_options_have_old_words_and_new_ones() {
    let read = |options: &str| {
        let text = format!(
            r#"{{"input_model": {{"type": "HfModel", "model_path": "m"}},
                "passes": {{"b": {{"type": "ModelBuilder", "precision": "int4", {options}}}}}}}"#
        );
        let config = load(&text, &[]);
        builder(&config, 0).clone()
    };
    let old = read(r#""int4_algo_config": "k_quant_mixed""#);
    let new = read(
        r#""extra_options": {"algo_config": "k_quant", "matmul_mixed_precision": "last_matmul:int8,mixed_layers:int8"}"#,
    );
    assert_eq!(old, new);
    assert_eq!(old.mixed_precision.mixed_layers, Some(8));
    let last = read(r#""int4_algo_config": "rtn_last""#);
    assert_eq!((last.mixed_precision.last_matmul, last.mixed_precision.mixed_layers), (Some(8), None));
    let linear = read(r#""int4_algo_config": "k_quant_linear""#);
    assert_eq!(linear, read(r#""int4_algo_config": "k_quant_last""#), "no model here has linear attention");
    let named = r#""algo_config": "k_quant", "matmul_mixed_precision": "last_matmul:int8,linear_attn:int8""#;
    assert_eq!(linear, read(named));
    let object = read(r#""matmul_mixed_precision": {"last_matmul": "int8"}"#);
    assert_eq!(object.mixed_precision, last.mixed_precision);
    let slashes =
        read(r#""extra_options": {"op_types_to_quantize": "MatMul/Gather", "disable_qkv_fusion": true}"#);
    let list = read(r#""int4_op_types_to_quantize": ["MatMul", "Gather"], "fuse_qkv": false"#);
    assert!(slashes.quantise_gather && !slashes.fuse_qkv);
    assert_eq!(slashes, list);
    // Types of nodes that no model has, as recipes write them.
    assert_eq!(list, read(r#""int4_op_types_to_quantize": ["MatMul", "Gather", "Conv"], "fuse_qkv": false"#));
    assert!(!read(r#""op_types_to_quantize": ["DummyOPType"]"#).quantise_matmul);
    let names = read(r#""nodes_to_exclude": "/lm_head/MatMul,/model/embed_tokens/Gather", "use_qdq": true"#);
    assert_eq!(names.nodes_to_exclude, ["/lm_head/MatMul", "/model/embed_tokens/Gather"]);
    assert!(names.use_qdq);
    let part = read(r#""extra_options": {"num_hidden_layers": 3, "filename": "part.onnx"}"#);
    assert_eq!((part.num_hidden_layers, part.filename.as_deref()), (Some(3), Some("part.onnx")));
    let metadata = read(r#""metadata_only": true"#);
    assert!(metadata.metadata_only);
    assert_eq!(metadata, read(r#""metadata_only": false, "extra_options": {"config_only": true}"#));
}

#[test]
fn values_mean_the_same_as_a_file() {
    let text = modern(r#", "lora_r": 8, "output_name": "x""#, r#""source_max_len": 32, "text_cols": "text""#);
    let options =
        LoadOptions { set: vec!["passes.lora.alpha=4".into()], local: true, ..LoadOptions::default() };
    let read = |text: &str| {
        let value = serde_json::from_str(text).expect("JSON");
        RunConfig::from_value(&value, "trial 1".as_ref(), &options, &REGISTRY)
    };
    let config = read(&text).unwrap_or_else(|error| panic!("{error}"));
    let file = load(&text, &["passes.lora.alpha=4"]);
    assert_eq!(format!("{:?}", config.passes[0].pass), format!("{:?}", file.passes[0].pass));
    assert_eq!((config.passes[0].era, config.warnings.len()), (Era::Old, file.warnings.len()));
    let error = read(&text.replace("lora_r", "lora_rr")).expect_err("a slip").to_string();
    assert!(error.starts_with("trial 1:") && error.contains("did you mean `lora_r`?"), "{error}");
}

#[test]
fn a_byte_order_mark_is_tolerated() {
    load(&format!("\u{feff}{}", modern("", "")), &[]);
}

#[test]
fn null_means_absent_and_free_keys_are_free() {
    let text = modern(r#", "r": null, "x-note": {"any": 1}, "alpha": "DEFAULT_VALUE""#, r#""joiner": null"#)
        .replacen('{', r#"{"$schema": "s.json", "metadata": [1], "x-y": 2, "#, 1);
    let config = load(&text, &[]);
    assert_eq!((lora(&config).r, lora(&config).alpha), (64, 16.0));
    assert_eq!(config.warnings, []);
}

/// What messages and documentation recommend to everybody is no sign of an era.
#[test]
fn holding_rows_out_and_evaluating_change_no_default() {
    let held_out = r#", "eval_dataset_size": 0.1"#;
    let evaluating = r#", "eval_dataset_size": 0.1, "training_args": {"eval_strategy": "steps"}"#;
    let old_model = |pass: &str| {
        let model = r#"{"type": "PyTorchModel", "config": {"hf_config": {"model_name": "org/model"}}}"#;
        modern(pass, r#""source_max_len": 32, "text_cols": "text""#)
            .replace(r#"{"type": "HfModel", "model_path": "org/model"}"#, model)
    };
    for more in ["", held_out, evaluating] {
        let new = load(&modern(more, ""), &[]);
        assert_eq!((new.passes[0].era, lora(&new).lora_dropout), (Era::New, 0.05), "{more}");
        assert_eq!(lora(&new).training.per_device_train_batch_size, 8, "{more}");
        let old = load(&old_model(more), &[]);
        assert_eq!((old.passes[0].era, lora(&old).lora_dropout), (Era::Old, 0.0), "{more}");
        assert_eq!(lora(&old).training.gradient_accumulation_steps, 16, "{more}");
    }
    let renamed =
        modern(r#", "eval_dataset_size": 0.1, "training_args": {"evaluation_strategy": "steps"}"#, "");
    assert_eq!(
        lora(&load(&renamed, &[])).training.gradient_accumulation_steps,
        16,
        "a name of old files only"
    );
}

fn trained_with(arguments: &str) -> RunConfig {
    load(&modern(&format!(r#", "training_args": {{{arguments}}}"#), ""), &[])
}

#[test]
fn the_names_of_transformers_5_mean_what_the_older_ones_do() {
    for (new, old) in [
        (r#""warmup_steps": 0.25"#, r#""warmup_ratio": 0.25"#),
        (r#""warmup_steps": 12.0, "warmup_ratio": null"#, r#""warmup_steps": 12"#),
        (r#""activation_checkpointing": false"#, r#""gradient_checkpointing": false"#),
        (r#""train_sampling_strategy": "group_by_length""#, r#""group_by_length": true"#),
        (r#""train_sampling_strategy": "random""#, r#""group_by_length": false"#),
        (r#""train_sampling_strategy": "batch_rebalance""#, r#""group_by_length": false"#),
        (r#""use_cache": false, "activation_checkpointing_kwargs": {"offload": true}"#, ""),
    ] {
        let (new, old) = (trained_with(new), trained_with(old));
        assert_eq!(lora(&new).training, lora(&old).training);
        assert_eq!(new.warnings, []);
    }
    let both = trained_with(r#""gradient_checkpointing": false, "activation_checkpointing": true"#);
    assert!(lora(&both).training.gradient_checkpointing, "the newer name wins");
    assert_eq!(both.warnings.len(), 1);
    let sequential = trained_with(r#""train_sampling_strategy": "sequential", "group_by_length": true"#);
    assert_eq!(lora(&sequential).training.sampling, Sampling::Sequential);
    assert_eq!(sequential.warnings.len(), 1, "two names that say different things");
    assert_eq!(lora(&trained_with(r#""logging_steps": 0.5"#)).training.logging_steps, 0.5);
    let fraction = load_as("c.json", &modern(r#", "training_args": {"logging_steps": 2.5}"#, ""), &[]);
    assert!(fraction.expect_err("half a step").to_string().contains("a whole number of steps"));
}

/// `TrainingArguments("x").to_dict()` of transformers 5.24.
#[test]
fn all_arguments_of_transformers_5_are_known() {
    let arguments = std::fs::read_to_string(root().join("tests/fixtures/train/training_arguments.json"));
    let arguments = arguments.expect("the arguments are read");
    let config =
        load(&modern(&format!(r#", "eval_dataset_size": 2, "training_args": {arguments}"#), ""), &[]);
    let training = &lora(&config).training;
    assert_eq!((training.warmup_steps, training.gradient_checkpointing), (0, false));
    assert_eq!((training.sampling, training.logging_steps), (Sampling::Random, 500.0));
}

#[test]
fn an_evaluation_set_of_a_new_file_is_used() {
    let eval = modern(r#", "eval_data_config": "train""#, "");
    assert_eq!(lora(&load(&eval, &[])).training.eval_strategy, EvalStrategy::Steps);
    assert_eq!(lora(&load(&modern("", ""), &[])).training.eval_strategy, EvalStrategy::No);
}

#[test]
fn every_shared_configuration_does_what_its_list_says() {
    let Some(folder) = shared("configs") else { return };
    let list = std::fs::read_to_string(folder.join("README.md")).expect("the list is read");
    let mut seen = 0;
    for row in list.lines().filter_map(|line| line.strip_prefix("| ")) {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let Some(file) = cells.first().filter(|file| file.ends_with(".json") || file.ends_with(".yaml"))
        else {
            continue;
        };
        let ours = *cells.last().expect("rows have cells");
        seen += 1;
        let result = RunConfig::load(
            &folder.join(file),
            &LoadOptions { set: Vec::new(), local: true, ..LoadOptions::default() },
            &REGISTRY,
        );
        if ours == "accept" {
            result.unwrap_or_else(|error| panic!("{file}: {error}"));
        } else {
            // Some passes that the list calls missing are there by now.
            let error = match result {
                Err(error) => error,
                Ok(config) => {
                    const SINCE: [&str; 4] = ["Gptq", "Rtn", "SelectiveMixedPrecision", "GraphSurgeries"];
                    let names = config.passes.iter().map(|pass| pass.pass.name());
                    assert!(names.into_iter().any(|name| SINCE.contains(&name)), "{file}");
                    continue;
                }
            };
            let text = error.to_string();
            assert_eq!(text.lines().filter(|line| !line.starts_with("  hint")).count(), 1, "{text}");
            assert!(text.contains("not implemented: "), "{text}");
        }
    }
    assert!(seen > 10, "only {seen} files are listed");
}

#[test]
fn the_target_decides_what_the_builder_builds_for() {
    let text = r#"{"input_model": {"type": "HfModel", "model_path": "m"}, "systems": {"gpu": {"type": "LocalSystem",
        "accelerators": [{"device": "GPU", "execution_providers": ["CUDAExecutionProvider"]}]}},
        "passes": {"b": {"type": "ModelBuilder", "precision": "fp16"}}, "target": "gpu"}"#;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("c.json");
    std::fs::write(&path, text).expect("the configuration is written");
    let config =
        RunConfig::load(&path, &LoadOptions::default(), &REGISTRY).unwrap_or_else(|error| panic!("{error}"));
    let builder = builder(&config, 0);
    assert_eq!(builder.execution_provider, "cuda");
    assert_eq!(config.engine.target.as_deref(), Some("gpu"));
    if !olive_core::device::built_with_cuda() {
        let error = RunConfig::load(
            &path,
            &LoadOptions { set: Vec::new(), local: true, ..LoadOptions::default() },
            &REGISTRY,
        )
        .expect_err("fp16 on the CPU");
        assert!(error.to_string().contains("possible are fp32, int8, int4"), "{error}");
    }
}

#[test]
fn a_pass_can_only_follow_what_it_can_take() {
    let model = r#"{"input_model": {"type": "HfModel", "model_path": "m"}, "data_configs": [{"name": "d", "type":
        "HuggingfaceContainer", "load_dataset_config": {"data_name": "org/rows"}}], "passes": {PASSES}}"#;
    let lora = r#""NAME": {"type": "LoRA", "train_data_config": "d"}"#;
    let merge = r#""NAME": {"type": "MergeAdapterWeights"}"#;
    let builder = r#""NAME": {"type": "ModelBuilder", "precision": "int4"}"#;
    for (passes, problem) in [
        (vec![lora, merge, builder], None),
        (vec![lora, builder], None),
        (vec![builder], None),
        (vec![lora, merge, lora, merge], None),
        (vec![lora, lora], Some("LoRA cannot follow `p0` (LoRA)")),
        (vec![builder, lora], Some("LoRA cannot follow `p0` (ModelBuilder)")),
        (vec![builder, builder, merge], Some("ModelBuilder cannot follow `p0` (ModelBuilder)")),
        (vec![merge, builder], Some("MergeAdapterWeights cannot follow the input model")),
        (vec![lora, merge, merge], Some("MergeAdapterWeights cannot follow `p1` (MergeAdapterWeights)")),
    ] {
        let passes =
            passes.iter().enumerate().map(|(index, pass)| pass.replace("NAME", &format!("p{index}")));
        let text = model.replace("PASSES", &passes.collect::<Vec<String>>().join(", "));
        match (load_as("c.json", &text, &[]), problem) {
            (Ok(_), None) => {}
            (Err(error), Some(problem)) => {
                assert!(error.to_string().contains(problem), "{error}");
                assert_eq!(error.to_string().lines().count(), 1, "only the first is the cause: {error}");
            }
            (Ok(_), Some(problem)) => panic!("accepted, but {problem}"),
            (Err(error), None) => panic!("{error}"),
        }
    }
    let adapter = model.replace(r#""model_path": "m""#, r#""model_path": "m", "adapter_path": "a""#);
    load(&adapter.replace("PASSES", merge), &[]);
}

#[test]
fn an_option_without_effect_says_so() {
    let text = modern(r#", "output_name": "a""#, "").replacen(
        '{',
        r#"{"output_name": "b", "log_to_file": true, "#,
        1,
    );
    let warned: Vec<String> =
        load(&text, &[]).warnings.into_iter().map(|warning| warning.json_path).collect();
    assert_eq!(warned.len(), 3, "{warned:?}");
    assert!(warned.iter().any(|path| path == "log_to_file"), "{warned:?}");
    let quiet = modern("", "").replacen('{', r#"{"output_name": null, "log_to_file": false, "#, 1);
    assert_eq!(load(&quiet, &[]).warnings, []);
}

/// The knobs of training with everything in its place.
const KNOBS: &str = r#", "eval_dataset_size": 0.1, "training_args": {"eval_strategy": "steps", "eval_steps": 5, "max_steps": 20,
    "lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": 4, "decay_type": "1-sqrt"},
    "loraplus_lr_ratio": 16, "neftune_noise_alpha": 5, "save_steps": 5, "save_total_limit": 2, "output_dir": "here",
    "load_best_model_at_end": true, "metric_for_best_model": "loss", "early_stopping_patience": 3}"#;

#[test]
fn the_knobs_of_training_are_read() {
    let data = r#""loss_on": "completion", "response_template": "A:", "strategy": "pack", "max_seq_len": 64"#;
    let config = load(&modern(KNOBS, data).replace(r#""LoRA""#, r#""DoRA""#), &[]);
    let lora = lora(&config);
    assert!(lora.use_dora, "that is what the pass type means");
    let training = &lora.training;
    assert_eq!(training.lr_scheduler_type, Scheduler::WarmupStableDecay);
    let kwargs = &training.lr_scheduler_kwargs;
    assert_eq!((kwargs.num_decay_steps, kwargs.decay_type), (Some(4), Some(Ramp::OneMinusSqrt)));
    assert_eq!((training.loraplus_lr_ratio, training.neftune_noise_alpha), (Some(16.0), Some(5.0)));
    let saving = &training.saving;
    assert_eq!((saving.strategy, saving.steps, saving.total_limit), (SaveStrategy::Steps, 5.0, Some(2)));
    assert_eq!(saving.output_dir, Some(PathBuf::from("here")));
    let selection = &training.selection;
    assert!(selection.load_best_model_at_end);
    assert_eq!(selection.early_stopping_patience, Some(3));
    let pre = &lora.train_data.pre_process;
    assert_eq!((pre.loss_on, pre.strategy), (Some(LossOn::Completion), Strategy::Pack));
    assert_eq!(pre.response_template.as_deref(), Some("A:"));

    let plain = load(&modern("", ""), &[]);
    let training = &self::lora(&plain).training;
    assert_eq!(training.saving.strategy, SaveStrategy::No, "nothing is written unless asked for");
    assert!(!training.selection.load_best_model_at_end);
}

#[test]
fn knobs_that_contradict_each_other_are_refused() {
    let refused = |pass: &str, data: &str| {
        load_as("c.json", &modern(pass, data), &[]).expect_err("this must fail").to_string()
    };
    let training = |args: &str| refused(&format!(r#", "training_args": {{{args}}}"#), "");
    for (args, part) in [
        (r#""load_best_model_at_end": true"#, "compares evaluations"),
        (r#""early_stopping_patience": 2"#, "compares evaluations"),
        (r#""greater_is_better": true, "metric_for_best_model": "loss""#, "less is better"),
        (r#""metric_for_best_model": "accuracy""#, "metric_for_best_model"),
        (r#""lr_scheduler_type": "cosine_with_min_lr""#, "min_lr"),
        (r#""lr_scheduler_type": "warmup_stable_decay""#, "num_decay_steps"),
        (r#""lr_scheduler_type": "reduce_lr_on_plateau""#, "plateau"),
        (r#""lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"lr_end": 1}"#, "lr_end"),
        (r#""lr_scheduler_kwargs": {"num_cycle": 1}"#, "num_cycle"),
        (r#""save_steps": 2.5"#, "whole number"),
    ] {
        let error = training(args);
        assert!(error.contains(part), "{args}: {error}");
    }
    let error = refused("", r#""loss_on": "completion", "text_cols": ["a"]"#);
    assert!(error.contains("where a completion begins"), "{error}");
}

/// Depth and number of what is read and told have limits: no configuration ends the program, or takes minutes.
#[test]
fn configurations_of_any_size_are_read_or_refused() {
    let refused =
        |name: &str, text: &str, set: &[&str]| load_as(name, text, set).err().map(|e| e.to_string());
    let sound = modern("", r#""text_template": "{q}""#);
    let deep = format!("metadata{}=1", ".a".repeat(10_000));
    let error = refused("c.json", &sound, &[&deep]).expect("too deep");
    assert!(error.contains("has 10001 parts") && error.len() < 1000, "{error}");
    let bottom = format!("metadata{}=1", ".a".repeat(100));
    assert_eq!(refused("c.json", &sound, &[&bottom]), None);

    let chain: String = (0..3000).map(|i| format!("a{}: &a{} [*a{i}]\n", i + 1, i + 1)).collect();
    let error = refused("c.yaml", &format!("a0: &a0 [x]\n{chain}"), &[]).expect("too deep");
    assert!(error.contains("nested too deeply"), "{error}");
    let text = "x".repeat(1_000_000);
    let aliases = vec!["*a"; 50_000].join(",");
    let error = refused("c.yaml", &format!("a: &a {text}\nb: [{aliases}]\n"), &[]).expect("too large");
    assert!(error.contains("too many values"), "{error}");

    let many = |key: &dyn Fn(usize) -> String| {
        let keys: Vec<String> = (0..50_000).map(|i| format!("\"{}\": 1", key(i))).collect();
        sound.replacen('{', &format!("{{{}, ", keys.join(", ")), 1)
    };
    for key in [&(|_| "same".to_owned()) as &dyn Fn(usize) -> String, &|i| format!("unknown{i}")] {
        let error = refused("c.json", &many(key), &[]).expect("errors");
        assert!(error.contains("has at least 100 errors"), "{}", &error[..200]);
    }
}
