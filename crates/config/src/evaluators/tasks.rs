//! Tasks of lm-eval and mteb, whose data and prompts come with those packages.

use super::evaluator_type::WHICH;
use super::metric::Metric;
use crate::option::{BOOL, Block, Kind, Misfit, MisfitPlace, Special, TEXT, at_least, texts_schema};
use crate::options;
use serde::Serialize;
use serde_json::json;

/// `LMEvaluator`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LmTasks {
    /// Tasks that are files of questions with choices, and `size_on_disk`. No value has a rank, as in Olive.
    pub metrics: Vec<Metric>,
    /// The other tasks, which are not measured.
    pub elsewhere: Vec<String>,
}

/// `MTEBEvaluator`, whose tasks are not measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MtebTasks {
    pub tasks: Vec<String>,
}

/// A list of names, files and, for lm-eval, objects that describe a task.
static TASKS: Special = Special {
    value: "a list",
    schema: || json!({"anyOf": [{"type": "array", "items": {"type": ["string", "object"]}}, {"type": "string"}]}),
    check: |node| match node.to_json() {
        serde_json::Value::Array(items) if items.iter().all(|item| item.is_string() || item.is_object()) => {
            Ok(())
        }
        serde_json::Value::String(_) => Ok(()),
        _ => Err(Misfit {
            message: format!("expected a list of tasks, found {}", node.describe()),
            hint: None,
            place: MisfitPlace::Value,
        }),
    },
};

pub(crate) static LM_EVALUATOR: Block = Block {
    name: "LMEvaluator",
    doc: "Tasks of lm-eval. A task that is a file (`.json`, `.jsonl`, `.csv` or `.parquet`) holds questions with choices, in \
          the columns `question`, `choices` and `answer`, and is measured as the metric `multiple_choice` is; `size_on_disk` gives \
          the bytes of the model. Tasks by name are accepted with a warning, and not measured: their data and prompts come \
          with lm-eval.",
    wrapper: Some("type_args"),
    outer: WHICH,
    parts: &[LM_OPTIONS],
    open: None,
};

const NO_PROMPT: &str = "the prompt of a file of questions is its `question`";

options! {
    /// Options of `LMEvaluator` that count here.
    pub struct LmOptions {
        LM_OPTIONS {
            /// Files with questions, and names of tasks.
            - "tasks" = Kind::Special(&TASKS), required();
            /// Questions that are scored together.
            pub batch_size: usize = at_least(1), default("1");
            /// At most so many rows of every task, or below 1 this share of them, in whole per cent.
            pub limit: Option<f64> = crate::option::POSITIVE;
            /// Longest sequence in tokens; a longer one is an error.
            - "max_length" = at_least(1), quiet();
            /// Who runs the model in Olive.
            - "model_class" = Kind::Choice(&["hf", "ort", "ortgenai"]), quiet();
            /// Arguments of the model in lm-eval.
            - "model_args" = Kind::Any, quiet();
            /// Draws for errors of means, which are not told.
            - "bootstrap_iters" = at_least(0), quiet();
            /// Where the model runs; see `--device`.
            - "device" = TEXT, quiet();
            /// Where the model runs; see `--device`.
            - "execution_provider" = TEXT, quiet();
            /// Options of the session.
            - "provider_options" = Kind::Any, quiet();
            /// Answered questions in front of every question.
            - "num_fewshot" = at_least(0), refused_unless("0", NO_PROMPT);
            /// Whether questions are messages of a chat.
            - "apply_chat_template" = Kind::Any, refused_unless("false", NO_PROMPT);
            /// Text in front of every question.
            - "system_instruction" = TEXT, refused_unless("null", NO_PROMPT);
            /// Whether answered questions are messages of a chat.
            - "fewshot_as_multiturn" = BOOL, quiet();
            /// Samples that are written to a file.
            - "sample_log_num" = at_least(0), ignored_unless("0", "samples are not written to files");
            /// Folder of that file.
            - "sample_log_dir" = TEXT, quiet();
        }
    }
}

pub(crate) static MTEB_EVALUATOR: Block = Block {
    name: "MTEBEvaluator",
    doc: "Tasks of mteb. They are accepted with a warning, and not measured: their data comes with mteb.",
    wrapper: Some("type_args"),
    outer: WHICH,
    parts: &[MTEB_OPTIONS],
    open: None,
};

options! {
    /// Options of `MTEBEvaluator` that count here.
    pub struct MtebOptions {
        MTEB_OPTIONS {
            /// Names of tasks.
            pub tasks: Vec<String>, required();
            /// Texts per forward pass.
            - "batch_size" = at_least(1), quiet();
            /// Longest text in tokens.
            - "max_length" = at_least(1), quiet();
            /// Who runs the model in Olive.
            - "model_class" = Kind::Choice(&["hf", "ort", "ortgenai"]), quiet();
            /// Where the model runs.
            - "device" = TEXT, quiet();
            /// Where the model runs.
            - "execution_provider" = TEXT, quiet();
            /// Options of the session.
            - "provider_options" = Kind::Any, quiet();
            /// Splits of the tasks.
            - "eval_splits" = Kind::Special(&NAMES), quiet();
            /// Subsets of the tasks.
            - "eval_subsets" = Kind::Special(&NAMES), quiet();
            /// Folder of mteb's results.
            - "output_folder" = TEXT, quiet();
        }
    }
}

static NAMES: Special =
    Special::unchecked("a list of texts", || json!({"anyOf": [texts_schema(), {"type": "null"}]}));
