//! `report.html`, `olive report` and `olive compare`.

use crate::support::binary::{olive, text};
use crate::support::quickstart::Quickstart;
use std::path::Path;

fn page(quickstart: &Quickstart) -> String {
    std::fs::read_to_string(quickstart.output().join("report.html")).unwrap()
}

fn run(quickstart: &Quickstart, more: &[&str]) -> String {
    let output = quickstart.run(more).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stderr)
}

#[test]
fn every_run_leaves_a_page_that_needs_nothing_else() {
    let quickstart = Quickstart::new(4);
    run(&quickstart, &["passes.lora.config.training_args.eval_steps=2"]);
    let first = page(&quickstart);
    assert!(first.len() < 300_000 && first.starts_with("<!DOCTYPE html>"));
    for part in [
        "succeeded",
        "Stages",
        "Training of lora",
        "held out",
        "ModelBuilder",
        "learning_rate",
        "Versions and machine",
    ] {
        assert!(first.contains(part), "no {part}");
    }
    assert_eq!(first.matches("<svg").count(), 4, "loss, learning rate, gradient norm, tokens per second");
    for outside in ["<script", "http://", "src=", "<link", "@import"] {
        let found = first.matches(outside).count();
        // The name space of SVG is no address that is asked for.
        let names =
            if outside == "http://" { first.matches("http://www.w3.org/2000/svg").count() } else { 0 };
        assert_eq!(found, names, "{outside}");
    }
    // What the cache has was trained by an earlier run, whose curves are those of the result.
    run(&quickstart, &["passes.lora.config.training_args.eval_steps=2"]);
    let again = page(&quickstart);
    assert!(again.contains("cached") && again.matches("<svg").count() == 4);

    std::fs::remove_file(quickstart.output().join("report.html")).unwrap();
    let written = olive().arg("report").arg(quickstart.output()).output().unwrap();
    assert!(written.status.success(), "{}", text(&written.stderr));
    assert_eq!(page(&quickstart), again);
}

#[test]
fn a_result_has_a_card_for_the_hub_that_tells_nothing_of_the_machine() {
    let quickstart = Quickstart::new(4);
    run(&quickstart, &["passes.lora.config.training_args.eval_steps=2"]);
    let path = quickstart.output().join("README.md");
    let card = std::fs::read_to_string(&path).unwrap();
    let (head, body) = card.strip_prefix("---\n").unwrap().split_once("---\n").unwrap();
    for line in ["pipeline_tag: text-generation", "- olive", "- lora", "- onnx", "- onnxruntime-genai"] {
        assert!(head.lines().any(|found| found == line), "no {line} in\n{head}");
    }
    for part in [
        "made of `tiny-phi3`, trained with LoRA",
        "| `builder` | | ModelBuilder |",
        "the loss fell from ",
        r"<\|user\|>\n{Question}",
        "olive chat .",
    ] {
        assert!(body.contains(part), "no {part} in\n{body}");
    }
    assert!(!card.contains(quickstart.dir.path().to_str().unwrap()), "{card}");
    // It is written anew, but never over what somebody else wrote.
    run(&quickstart, &["passes.lora.config.training_args.eval_steps=2"]);
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("---\n# Written by olive"));
    std::fs::write(&path, "mine").unwrap();
    let said = run(&quickstart, &["passes.lora.config.training_args.eval_steps=2"]);
    assert!(said.contains("README.md is not of an earlier run"), "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn hostile_names_are_text() {
    let quickstart = Quickstart::new(1);
    let config = std::fs::read_to_string("configs/quickstart/olive-config.json").unwrap();
    let file = quickstart.dir.path().join("<img src=x onerror=alert(1)>.json");
    std::fs::write(&file, config).unwrap();
    let output =
        olive().args(["run", "--config"]).arg(&file).args(quickstart.arguments(&[])).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let page = page(&quickstart);
    assert!(page.contains("&lt;img src=x") && !page.contains("<img"), "{page}");
}

#[test]
fn a_page_of_somebody_else_stays_and_none_is_written_without_artefacts() {
    let quickstart = Quickstart::new(1);
    std::fs::create_dir_all(quickstart.output()).unwrap();
    let path = quickstart.output().join("report.html");
    std::fs::write(&path, "<p>mine</p>").unwrap();
    let said = run(&quickstart, &[]);
    assert!(said.contains("stays as it is"), "{said}");
    assert_eq!(page(&quickstart), "<p>mine</p>");
    std::fs::remove_file(&path).unwrap();
    run(&quickstart, &["engine.no_artifacts=true"]);
    assert!(!path.exists());
}

#[test]
fn a_run_that_fails_has_a_page_that_says_why() {
    let quickstart = Quickstart::new(1);
    let output =
        quickstart.run(&["passes.builder.config.extra_options.num_hidden_layers=99"]).output().unwrap();
    assert!(!output.status.success());
    let page = page(&quickstart);
    assert!(page.contains("failed") && page.contains("class=\"error\""), "{page}");
}

#[test]
fn runs_side_by_side_tell_in_what_they_differ() {
    let (one, two) = (Quickstart::new(1), Quickstart::new(2));
    run(&one, &[]);
    run(&two, &[]);
    let html = one.dir.path().join("both.html");
    let compare =
        |runs: &[&Path]| olive().arg("compare").args(runs).arg("--html").arg(&html).output().unwrap();
    let output = compare(&[&one.output(), &two.output()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    let row =
        table.lines().find(|line| line.trim_start().starts_with("lora.training.max_steps")).expect("a row");
    assert_eq!(row.split_whitespace().skip(1).collect::<Vec<_>>(), ["1", "2"]);
    assert!(table.contains("lora: last loss") && !table.contains("lora.training.learning_rate"), "{table}");
    assert!(std::fs::read_to_string(&html).unwrap().contains("lora.training.max_steps"));
    assert!(!compare(&[&one.output(), Path::new("/nowhere")]).status.success());
}
