//! Configurations that are written, beyond those of the goldens.

use super::{folder, line, run, well, written};
use serde_json::{Value, json};

const DATA: &str = "-d json --data_files rows.jsonl --text_field text";

#[test]
fn options_are_read_in_both_spellings_and_with_an_equals_sign() {
    let dir = folder();
    let hyphens = "finetune --model-name-or-path=model --data-name=json --data-files=rows.jsonl --text-field=text \
                   --lora-r=8 --learning-rate=1e-3 --output-path=out --dry-run";
    well(dir.path(), hyphens);
    let read = super::config(&dir.path().join("out/config.json"));
    let underscores = format!("finetune -m model {DATA} --lora_r 8 --learning_rate 1e-3");
    assert_eq!(read, written(dir.path(), &underscores));
    assert_eq!(read["passes"]["f"]["training_args"], json!({"learning_rate": 0.001}));
}

#[test]
fn the_batch_size_reaches_the_training() {
    let dir = folder();
    let of = |more: &str| {
        let outcome = well(dir.path(), &format!("finetune -m model {DATA} {more} -o out --dry_run"));
        let config = super::config(&dir.path().join("out/config.json"));
        let size = config["passes"]["f"]["training_args"]["per_device_train_batch_size"].clone();
        (size, config["data_configs"][0]["dataloader_config"]["batch_size"].clone(), outcome.err)
    };
    let (size, loader, told) = of("--batch_size 4");
    assert_eq!((size, loader), (json!(4), json!(4)));
    assert!(told.contains("`--batch_size 4` is the batch size of the training"), "{told}");
    let (size, _, told) = of("--batch_size 4 --per_device_train_batch_size 2");
    assert_eq!(size, json!(2));
    assert!(told.contains("`--batch_size` is not used"), "{told}");
    assert_eq!(of("").0, Value::Null);
}

#[test]
fn training_is_for_the_device_that_is_asked_for() {
    let dir = folder();
    let accelerator = |more: &str| {
        let config = written(dir.path(), &format!("finetune -m model {DATA} {more}"));
        config["systems"]["local_system"]["accelerators"][0].clone()
    };
    let gpu = json!({"device": "gpu", "execution_providers": ["CUDAExecutionProvider"]});
    assert_eq!(accelerator("--device gpu"), gpu);
    assert_eq!(accelerator("")["device"], "cpu");
    let refused = line(dir.path(), &format!("finetune -m model {DATA} --device npu --dry_run"));
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("`--device npu`"), "{}", refused.err);
}

#[test]
fn a_file_as_data_name_is_read() {
    let dir = folder();
    let outcome = well(dir.path(), "finetune -m model -d rows.jsonl --text_field text -o out --dry_run");
    assert!(!outcome.err.contains("warning"), "{}", outcome.err);
}

#[test]
fn quantisers_get_what_was_asked_for() {
    let dir = folder();
    let passes =
        |arguments: &str| written(dir.path(), &format!("quantize -m model {arguments}"))["passes"].clone();
    assert_eq!(
        passes("--algorithm kquant --precision uint8"),
        json!({"kquant": {"type": "KQuant", "bits": 8}})
    );
    let calibrated = json!({"gptq": {"type": "Gptq", "bits": 4, "data_config": "default_data_config"}});
    assert_eq!(passes(&format!("--algorithm gptq --precision int4 {DATA}")), calibrated);
    let told = well(dir.path(), &format!("quantize -m model --precision int4 {DATA} -o out --dry_run"));
    assert!(told.err.contains("`--data_name` is not used"), "{}", told.err);
    let config = written(dir.path(), &format!("quantize -m model --algorithm gptq {DATA} --split train[:4]"));
    let load = json!({"data_name": "json", "split": "train[:4]", "data_files": ["rows.jsonl"]});
    assert_eq!(config["data_configs"][0]["load_dataset_config"], load);
}

#[test]
fn precisions_of_optimize_are_words_that_the_builder_knows() {
    let dir = folder();
    let passes =
        |arguments: &str| written(dir.path(), &format!("optimize -m model {arguments}"))["passes"].clone();
    let unsigned = passes("--precision uint4 --block_size -1");
    assert_eq!(unsigned["gptq"], json!({"type": "Gptq", "bits": 4, "sym": false, "group_size": -1}));
    assert_eq!(unsigned["model_builder"]["precision"], "int4");
    assert_eq!(unsigned["model_builder"]["int4_block_size"], 32);
    let extra = passes("--extra_mb_options exclude_embeds=true,filename=a.onnx");
    assert_eq!(
        extra["model_builder"]["extra_options"],
        json!({"exclude_embeds": true, "filename": "a.onnx"})
    );
    let surgeries = passes("--surgeries QuantizeEmbeddingInt8 ShareEmbeddingLmHead");
    let both = json!([{"surgeon": "QuantizeEmbeddingInt8"}, {"surgeon": "ShareEmbeddingLmHead"}]);
    assert_eq!(surgeries["graph_surgeries"]["surgeries"], both);
}

#[test]
fn a_pass_gets_its_options() {
    let dir = folder();
    let arguments = [
        "run-pass",
        "-m",
        "model",
        "--pass-name",
        "mergeadapterweights",
        "-a",
        "lora",
        "-o",
        "out",
        "--dry_run",
    ];
    assert_eq!(run(dir.path(), &arguments).code, Some(0));
    let config = super::config(&dir.path().join("out/config.json"));
    assert_eq!(config["passes"], json!({"mergeadapterweights": {"type": "mergeadapterweights"}}));
    assert_eq!(config["input_model"]["adapter_path"], "lora");
    let cuda = written(dir.path(), "run-pass -m model --pass-name Gptq --device gpu");
    let accelerator = &cuda["systems"]["local_system"]["accelerators"][0];
    assert_eq!(accelerator["execution_providers"], json!(["CUDAExecutionProvider"]));
}

#[test]
fn a_dry_run_tells_programs_where_the_file_is() {
    let dir = folder();
    let outcome = well(dir.path(), "optimize -m model -o out --dry_run --log-format json");
    let told: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(told, json!({"config": "out/config.json"}));
}

#[test]
fn help_names_the_options_and_the_training_arguments_that_count() {
    let dir = tempfile::tempdir().unwrap();
    for (verb, options) in [
        ("finetune", &["--lora_r", "--text_template", "--learning_rate", "--max_steps", "--dry_run"][..]),
        ("quantize", &["--algorithm", "[default: rtn]", "kquant", "--save_config_file"]),
        ("optimize", &["--provider", "--surgeries", "--extra_mb_options", "[default: optimized-model]"]),
        ("auto-opt", &["deprecated", "--use_model_builder"]),
        ("capture-onnx-graph", &["--use_model_builder", "--int4_accuracy_level", "[default: fp16]"]),
        ("generate-adapter", &["--adapter_type", "dora"]),
        ("convert-adapters", &["--adapter_path", "--quantize_int4", "safetensors"]),
        ("extract-adapters", &["--format"]),
        ("run-pass", &["--pass-name", "--pass-config", "--list-passes"]),
    ] {
        let help = well(dir.path(), &format!("{verb} --help")).out;
        for option in options {
            assert!(help.contains(option), "{verb}: {option}\n{help}");
        }
        for hidden in ["--dataloader_num_workers", "--input_cols", "--model_script"] {
            assert!(!help.contains(hidden), "{verb}: {hidden}");
        }
    }
}
