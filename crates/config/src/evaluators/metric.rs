//! One metric of an evaluator.

use super::goal::{GOAL, Goal};
use super::measure::Measure;
use crate::data::DataConfig;
use crate::option::{BOOL, Block, INT, Kind, NOT_NEGATIVE, Opt, TEXT, at_least};
use crate::options;
use crate::statement::OptionValue;
use crate::values::Setting;
use serde::Serialize;

/// Values that are measured together. What serialises decides about them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metric {
    /// First half of the key of a result.
    #[serde(skip)]
    pub name: String,
    pub kind: MetricKind,
    /// What the model is measured on. Always there for losses, choices and answers.
    pub data: Option<MetricData>,
    /// Samples per forward pass.
    pub batch_size: usize,
    /// Of latencies and throughputs.
    pub timing: Timing,
    pub sub_types: Vec<SubMetric>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// Losses of texts.
    Accuracy,
    Latency,
    Throughput,
    SizeOnDisk,
    Memory,
    MultipleChoice(MultipleChoice),
    Generation(Generation),
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricData {
    /// Rows of a data config. For choices and answers its text is not used, and `max_samples` counts rows.
    Rows(Box<DataConfig>),
    /// Token ids that mean nothing.
    Dummy(DummyInput),
}

/// The input of Olive's dummy containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DummyInput {
    /// Tokens of the forward pass.
    pub seq_len: usize,
    /// Tokens that are in the KV cache already.
    pub past_seq_len: usize,
    /// Room of a KV cache of fixed size.
    pub max_seq_len: usize,
}

/// One value of a metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SubMetric {
    pub measure: Measure,
    /// Rank among the objectives of a search, from 1; `None`: only reported.
    #[serde(skip)]
    pub priority: Option<u32>,
    #[serde(skip)]
    pub higher_is_better: bool,
    /// For values with a rank.
    #[serde(skip)]
    pub goal: Option<Goal>,
}

impl Metric {
    /// The key of a result: `ppl-perplexity`.
    pub fn key(&self, measured: &SubMetric) -> String {
        format!("{}-{}", self.name, measured.measure.name())
    }
}

impl SubMetric {
    /// A value as the program's defaults rank it.
    pub(crate) fn unranked(measure: Measure) -> SubMetric {
        SubMetric { measure, priority: None, higher_is_better: measure.higher_is_better(), goal: None }
    }

    /// The value that is to be reached; `None` without a goal, or where the value of the input model is needed and not
    /// known.
    pub fn limit(&self, baseline: Option<f64>) -> Option<f64> {
        self.goal?.limit(baseline, self.higher_is_better)
    }

    /// Whether a value meets the goal, if there is one.
    pub fn met(&self, value: Option<f64>, baseline: Option<f64>) -> bool {
        self.goal.is_none_or(|goal| goal.met(value, baseline, self.higher_is_better))
    }
}

const PYTHON: &str = "no Python is run; `perplexity`, `multiple_choice` and `generation` measure quality";
const SESSION: &str = "sessions have the settings of genai_config.json";

pub(crate) static METRIC: Block = Block {
    name: "the metric",
    doc: "Values that are measured together. Results are called `<name>-<sub type>`. \
          `accuracy`: `perplexity`, and `loss`, the mean −ln p of a token. \
          `latency` (ms for the first batch, repeated) and `throughput` (samples per second): `avg`, `max`, `min`, `p50`, \
          `p75`, `p90`, `p95`, `p99` and `p999`; `latency` also `time_to_first_token` and `per_token` (ms), `throughput` also \
          `prefill_tokens_per_second` and `decode_tokens_per_second`. `size_on_disk`: `bytes`. \
          `multiple_choice`: `acc`, the share of questions whose right choice is the most likely one, and `acc_norm`, with \
          log-likelihoods per byte of the choice. `generation`: `exact_match`, the share of greedy answers that are \
          those of the data. `memory`: `peak_bytes`. Olive knows neither the last three types, nor `loss`, nor the sub types \
          about tokens.",
    wrapper: Some("user_config"),
    outer: &[
        Opt::new("name", TEXT, "First half of the names of results.").required(),
        Opt::new(
            "type",
            TEXT,
            "`accuracy`, `latency`, `throughput`, `size_on_disk`, `multiple_choice`, `generation` or `memory`.",
        )
        .required(),
        Opt::new("sub_types", Kind::Blocks(&SUB_METRIC), "The values."),
        Opt::new(
            "data_config",
            <DataConfig as OptionValue>::KIND,
            "What the model is measured on; `latency`, `throughput` and `memory` go without, or with one of the types \
             `TransformersTokenDummyDataContainer`, `TransformersPromptDummyDataContainer` and \
             `TransformersDummyDataContainer`.",
        ),
        Opt::new(
            "backend",
            Kind::Choice(&["torch_metrics", "huggingface_metrics"]),
            "Who computes the values in Olive.",
        )
        .refused_unless("\"torch_metrics\"", PYTHON),
        Opt::new("sample_log_num", at_least(0), "Samples that are written to a file.")
            .ignored_unless("0", "samples are not written to files"),
        Opt::new("sample_log_dir", TEXT, "Folder of that file.").quiet(),
    ],
    parts: &[MULTIPLE_CHOICE, GENERATION, ROW_PROMPT, USER_CONFIG],
    open: None,
};

options! {
    /// Columns of questions with choices.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
    pub struct MultipleChoice {
        MULTIPLE_CHOICE {
            /// `multiple_choice`: column of the question, after which the choices are scored.
            pub question_col: String, default("\"question\"");
            /// `multiple_choice`: column of the list of choices.
            pub choices_col: String, default("\"choices\"");
            /// The rest of the row.
            nested row: RowPrompt;
        }
    }
}

options! {
    /// Columns of prompts with answers.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
    pub struct Generation {
        GENERATION {
            /// `generation`: column of the prompt.
            pub prompt_col: String, default("\"prompt\"");
            /// `generation`: the longest answer, in tokens.
            pub max_new_tokens: usize = at_least(1), default("32");
            /// `generation`: whether capitals and small letters are the same.
            pub ignore_case: bool, default("false");
            /// The rest of the row.
            nested row: RowPrompt;
        }
    }
}

options! {
    /// What questions and prompts share.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
    pub struct RowPrompt {
        ROW_PROMPT {
            /// Both: Python format string that makes the prompt of the columns, instead of the question or the prompt alone.
            pub prompt_template: Option<String>;
            /// Both: column of the right answer; of choices its number from 0, its letter, or the choice itself.
            pub answer_col: String, default("\"answer\"");
        }
    }
}

/// The other options of `user_config`.
const USER_CONFIG: &[Opt] = &[
    Opt::new(
        "batch_size",
        at_least(1),
        "Rows per batch, up to Olive 0.6; that of the data config if absent.",
    ),
    Opt::new("user_script", TEXT, "Python file.").refused_unless("null", PYTHON),
    Opt::new("script_dir", TEXT, "Folder of Python files.").refused_unless("null", PYTHON),
    Opt::new("evaluate_func", Kind::Any, "Python function.").refused_unless("null", PYTHON),
    Opt::new("evaluate_func_kwargs", Kind::Any, "Its arguments.").refused_unless("null", PYTHON),
    Opt::new("metric_func", Kind::Any, "Python function.").refused_unless("null", PYTHON),
    Opt::new("metric_func_kwargs", Kind::Any, "Its arguments.").refused_unless("null", PYTHON),
    Opt::new("dataloader_func", Kind::Any, "Python function, up to Olive 0.6.")
        .refused_unless("null", PYTHON),
    Opt::new("post_processing_func", Kind::Any, "Python function, up to Olive 0.6.")
        .refused_unless("null", PYTHON),
    Opt::new("func_kwargs", Kind::Any, "Arguments of the functions.").quiet(),
    Opt::new("data_dir", Kind::Any, "Folder of the data, up to Olive 0.6.")
        .ignored("the data config says where the rows lie"),
    Opt::new("input_names", Kind::Any, "Inputs of the model, up to Olive 0.6.").quiet(),
    Opt::new("input_shapes", Kind::Any, "Inputs of the model, up to Olive 0.6.").quiet(),
    Opt::new("input_types", Kind::Any, "Inputs of the model, up to Olive 0.6.").quiet(),
    Opt::new("inference_settings", Kind::Any, "Options of sessions.").ignored(SESSION),
    Opt::new("run_kwargs", Kind::Any, "Arguments of the model's call.").ignored("the model has its own call"),
    Opt::new("shared_kv_buffer", BOOL, "How sessions keep the KV cache.").quiet(),
    Opt::new("io_bind", BOOL, "How sessions get their inputs.").quiet(),
];

pub(crate) static SUB_METRIC: Block = Block {
    name: "the sub type",
    doc: "One value of a metric.",
    wrapper: None,
    outer: &[],
    parts: &[SUB_METRIC_OPTIONS],
    open: None,
};

options! {
    /// What is said of one value.
    pub struct SubMetricOptions {
        SUB_METRIC_OPTIONS {
            /// Which value; the types of metrics have their own.
            - "name" = TEXT, required();
            /// How it is measured.
            - "metric_config" = Kind::Block(&METRIC_CONFIG);
            /// Rank among the objectives of a search; -1: only reported. The ranks of an evaluator are 1, 2, … without gaps;
            /// a single value has the first by itself.
            pub priority: Option<u32> = at_least(-1), default("-1") => rank;
            /// Whether a larger value is the better one; null is what the value means: less is better of losses, perplexities,
            /// times and bytes.
            pub higher_is_better: Option<bool>;
            /// What is aimed at, for values with a rank.
            - "goal" = Kind::Block(&GOAL);
        }
    }
}

/// −1 is no rank.
fn rank(setting: &Setting) -> Option<Option<u32>> {
    Some(setting.json.as_u64().map(|rank| rank.try_into().unwrap_or(u32::MAX)))
}

pub(crate) static METRIC_CONFIG: Block = Block {
    name: "metric_config",
    doc: "How a value is measured. Latencies and throughputs of a metric are measured together, as the first of its sub \
          types says that has a `metric_config`.",
    wrapper: None,
    outer: &[],
    parts: &[TIMING, IGNORED_LABELS, UNUSED_CONFIG],
    open: None,
};

options! {
    /// How often something is timed.
    #[derive(Debug, Clone, Copy, PartialEq, Serialize)]
    pub struct Timing {
        TIMING {
            /// Runs before those that count.
            pub warm_ups as "warmup_num": usize = at_least(0), default("10");
            /// Runs that count.
            pub repeats as "repeat_test_num": usize = at_least(1), default("20");
            /// Seconds of rest after each run.
            pub sleep_seconds as "sleep_num": f64 = NOT_NEGATIVE, default("0");
        }
    }
}

/// The option of losses.
pub(crate) const IGNORED_LABELS: &[Opt] =
    &[Opt::new("ignore_index", INT, "`perplexity`, `loss`: id of the label that does not count.")
        .default("-100")];

const UNUSED_CONFIG: &[Opt] = &[
    Opt::new("load_params", Kind::Any, "Option of huggingface_metrics.").quiet(),
    Opt::new("compute_params", Kind::Any, "Option of huggingface_metrics.").quiet(),
    Opt::new("result_key", Kind::Any, "Option of huggingface_metrics.").quiet(),
];

/// `load_dataset_config` of a dummy container.
pub(crate) static DUMMY_DATA: Block = Block {
    name: "the dummy data",
    doc: "`load_dataset_config` of the dummy containers: token ids that mean nothing, for latencies. What is left out has \
          the default of the type: 1, 8 and 2048 for `TransformersTokenDummyDataContainer`, 8, 0 and 2048 for \
          `TransformersPromptDummyDataContainer`, 128, 128 and 1024 for `TransformersDummyDataContainer`.",
    wrapper: Some("params"),
    outer: &[
        Opt::new("type", TEXT, "Name of the component.").quiet(),
        Opt::new("name", TEXT, "Name of the component.").quiet(),
    ],
    parts: &[DUMMY_OPTIONS],
    open: Some("the inputs are those of the exported decoder"),
};

options! {
    /// What a dummy container says of its input.
    pub struct DummyOptions {
        DUMMY_OPTIONS {
            /// Tokens of the forward pass.
            pub seq_len: Option<usize> = at_least(1);
            /// Tokens that are in the KV cache already.
            pub past_seq_len: Option<usize> = at_least(0);
            /// Room of a KV cache of fixed size.
            pub max_seq_len: Option<usize> = at_least(1);
            /// Samples per forward pass.
            pub batch_size: usize = at_least(1), default("1");
            /// Number of inputs, which are all the same.
            - "max_samples" = at_least(1), quiet();
            /// Model whose inputs they are.
            - "model_name" = TEXT, quiet();
            /// Whether the KV cache is in float16, which the model says.
            - "use_fp16" = BOOL, quiet();
            /// Whether the KV cache has a fixed size.
            - "shared_kv" = BOOL, quiet();
            /// Whether the model generates.
            - "generative" = BOOL, quiet();
            /// Names of the KV cache's inputs, which the model says.
            - "ort_past_key_name" = TEXT, quiet();
            /// Names of the KV cache's inputs, which the model says.
            - "ort_past_value_name" = TEXT, quiet();
            /// Accepted; no code is ever run.
            - "trust_remote_code" = BOOL, quiet();
        }
    }
}
