//! Command lines that are refused, and why that is said.

use super::{folder, line};

#[test]
fn verbs_for_other_hardware_are_refused_whatever_stands_behind_them() {
    let dir = tempfile::tempdir().unwrap();
    for verb in [
        "tune-session-params",
        "generate-cost-model",
        "configure-qualcomm-sdk",
        "shared-cache",
        "diffusion-lora",
        "generate-model-package",
    ] {
        for rest in ["", "-m model --opt_level_list 1,99 --io_bind", "--help"] {
            let refused = line(dir.path(), &format!("{verb} {rest}"));
            assert_eq!(refused.code, Some(2), "{verb} {rest}");
            let first = refused.err.lines().next().unwrap();
            assert!(first.starts_with(&format!("error: `olive {verb}` is not supported: ")), "{first}");
        }
    }
}

#[test]
fn a_verb_that_is_almost_right_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let refused = line(dir.path(), "finetun -m model");
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("'finetune'"), "{}", refused.err);
}

#[test]
fn a_mistake_in_the_configuration_is_an_error_and_nothing_is_written() {
    let dir = folder();
    let data = "-d json --data_files rows.jsonl --text_field text";
    for (arguments, named) in [
        (format!("finetune -m model {data} --lora_r 0"), "error: the command line: passes.f.r: expected"),
        (format!("finetune -m model {data} --learning_rate -1"), "learning_rate"),
        (format!("finetune -m model {data} --optim sgd_of_mine"), "optim"),
        (format!("finetune -m model {data} --train_split test"), "there is no split `test`"),
        (format!("finetune -m model {data} --eval_subset x"), "--eval_split"),
        (format!("finetune -m model {data} --max_steps 7.5"), "--max_steps 7.5"),
        (format!("finetune -m model {data} --bf16"), "--bf16"),
        ("finetune -m model -d json --text_field text".to_owned(), "--data_files"),
        ("optimize -m model --extra_mb_options exclude_embed=true".to_owned(), "`exclude_embeds`"),
        ("optimize -m ./no-such".to_owned(), "`-m ./no-such`"),
        ("optimize -m model --device gpu".to_owned(), "--device gpu"),
        ("optimize -m model --provider QNNExecutionProvider".to_owned(), "--provider QNNExecutionProvider"),
        ("run-pass -m model --pass-name Modelbuildr".to_owned(), "`ModelBuilder`"),
        ("run-pass -m model --pass-name ModelBuilder --pass-config [1]".to_owned(), "no object"),
        ("run-pass -m model --pass-name Gptq --pass-config {\"bit\":4}".to_owned(), "`bits`"),
    ] {
        let refused = line(dir.path(), &format!("{arguments} -o out --dry_run"));
        assert_eq!(refused.code, Some(2), "{arguments}: {}", refused.err);
        assert!(refused.err.contains(named), "{arguments}: {}", refused.err);
        assert!(!dir.path().join("out").exists(), "{arguments}");
    }
}

#[test]
fn what_cannot_run_is_written_and_not_run() {
    let dir = folder();
    let out = dir.path().join("out/config.json");
    // Without data.
    let quantize = "quantize -m model --algorithm quarot --precision int4 -o out";
    let refused = line(dir.path(), quantize);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("Gptq") && refused.err.contains("data_config"), "{}", refused.err);
    let saved = line(dir.path(), &format!("{quantize} --save_config_file"));
    assert_eq!(saved.code, Some(2));
    assert!(out.exists());
    std::fs::remove_file(&out).unwrap();
    let dry = line(dir.path(), &format!("{quantize} --dry_run"));
    assert_eq!(dry.code, Some(0));
    assert!(out.exists() && dry.err.contains("data_config"), "{}", dry.err);
}

#[test]
fn half_precision_is_not_built_for_a_cpu() {
    let dir = folder();
    let refused = line(dir.path(), "capture-onnx-graph -m model --use_model_builder -o out");
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.err.contains("--conversion_device gpu") && refused.err.contains("possible are fp32"),
        "{}",
        refused.err
    );
}
