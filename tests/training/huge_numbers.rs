//! Numbers of a configuration that no memory is large enough for: an error that says so, whatever they are.

use crate::support::binary::text;
use crate::support::quickstart::Quickstart;

const DATA: &str = "data_configs.dataset_default_train.pre_process_data_config.params";

/// What is said of a run with these changes.
fn refusal(changes: &[String]) -> String {
    let run = Quickstart::new(1);
    let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
    let output = run.run(&changes).output().unwrap();
    let said = text(&output.stderr);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{changes:?}: {said}");
    said
}

#[test]
fn ranks_are_weighed_before_they_are_used() {
    for rank in [1 << 40, 1 << 62, i64::MAX] {
        let said = refusal(&[format!("passes.lora.config.lora_r={rank}")]);
        assert!(said.contains("of memory beside the weights"), "{said}");
    }
}

#[test]
fn rows_are_padded_to_lengths_that_a_model_can_have() {
    for length in [1i64 << 40, 1 << 62] {
        let said = refusal(&[
            format!("{DATA}.source_max_len={length}"),
            format!("{DATA}.pad_to_max_len=true"),
            format!("{DATA}.use_attention_mask=true"),
        ]);
        assert!(said.contains("fills every row to `max_seq_len`"), "{said}");
    }
}

#[test]
fn samples_are_drawn_as_far_as_there_is_room_for_them() {
    for samples in [1i64 << 50, i64::MAX] {
        for strategy in ["line-by-line-random", "join-random"] {
            let said = refusal(&[
                format!("{DATA}.corpus_strategy={strategy}"),
                format!("{DATA}.max_samples={samples}"),
                format!("{DATA}.random_seed=1"),
            ]);
            assert!(said.contains(&format!("`max_samples` is {samples}")), "{strategy}: {said}");
        }
    }
}
