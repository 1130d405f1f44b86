//! A configuration for somebody's model and data, in Olive's grammar of today.

use crate::block_length::block_length;
use crate::columns::RowShape;
use crate::error::ProjectError;
use crate::pair_text::{PairText, check_name, pair_text};
use olive_config::RowFormat;
use olive_core::Result;
use olive_core::device::DeviceChoice;
use olive_model::ModelFolder;
use serde_json::{Map, Value, json};

/// What a run is to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An ONNX model whose weights have 4 bits.
    Int4,
    /// An ONNX model in float32.
    Float32,
    /// A Hugging Face folder.
    Merged,
    /// An adapter in PEFT's layout.
    Adapter,
}

/// How an adapter is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Beside the weights as they are.
    Lora,
    /// Beside weights in 4 bits, which take less memory.
    Qlora,
}

/// Everything that the configuration says.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// `model_path`: a folder, a file or a hub id.
    pub model: String,
    /// What is trained; `None` only converts the model.
    pub trained: Option<Trained>,
    pub outcome: Outcome,
    pub device: DeviceChoice,
    pub output_dir: String,
}

/// Data, and what is done with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    pub data: DataPart,
    pub training: TrainingPart,
}

/// Which rows, and what texts and blocks of tokens are made of them.
#[derive(Debug, Clone, PartialEq)]
pub struct DataPart {
    /// `data_name`: `json`, `csv`, `parquet`, `text`.
    pub reader: String,
    /// `data_files`.
    pub file: String,
    /// `field`: the key under which the rows stand in a JSON document.
    pub field: Option<String>,
    pub text: TextPart,
    /// `max_seq_len`.
    pub block: usize,
    /// Rows that cannot be learned exactly are left out.
    pub skips_bad_rows: bool,
}

/// How a row becomes a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextPart {
    /// `format`: conversations, of which the answers count.
    Format(RowFormat),
    /// `text_template`, of which what follows `response_template` counts.
    Answer(PairText),
    /// `text_template`, of which everything counts.
    Template(String),
    /// `text_cols`: texts one after another, cut into blocks.
    Column(String),
}

/// The options of the training that depend on the model, the data or this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingPart {
    pub method: Method,
    pub learning_rate: f64,
    pub epochs: usize,
    /// Ends the training earlier.
    pub max_steps: Option<usize>,
    /// Rows of a step.
    pub rows: usize,
    /// Rows that are computed at a time.
    pub rows_at_a_time: usize,
    pub checkpointing: bool,
    /// Rows are held out to see what was learned.
    pub holds_out: bool,
}

/// Below so many parameters a model learns well with a higher rate.
const SMALL: u64 = 1_000_000_000;
/// Steps that a training should have at least.
const STEPS: usize = 128;
/// Most rows of a step.
const MOST_ROWS: usize = 16;
/// From so many rows on some can be spared.
const SPARES_ROWS: usize = 20;
const HELD_OUT: f64 = 0.1;
const RANK: usize = 16;

impl TextPart {
    /// # Errors
    /// A column whose name cannot stand in a template; a chat template that is damaged.
    pub fn of(shape: &RowShape, model: &ModelFolder) -> Result<TextPart> {
        Ok(match shape {
            RowShape::Conversation(format) => TextPart::Format(*format),
            RowShape::Template(template) => TextPart::Template(template.clone()),
            RowShape::Text { column } => {
                check_name(column)?;
                TextPart::Column(column.clone())
            }
            RowShape::Pair { question, answer } => TextPart::Answer(pair_text(model, question, answer)?),
        })
    }

    /// The block length for rows of these lengths in tokens and a model with this context.
    pub fn block(&self, lengths: &[usize], context: usize) -> usize {
        match self {
            TextPart::Column(_) => joined_block(lengths.iter().sum(), context),
            _ => block_length(lengths, context),
        }
    }

    fn options(&self) -> Map<String, Value> {
        let options = match self {
            TextPart::Format(format) => json!({"format": format.name()}),
            TextPart::Answer(PairText { template, before_answer, add_special_tokens }) => json!({
                "text_template": template,
                "response_template": before_answer,
                "loss_on": "completion",
                "add_special_tokens": add_special_tokens,
            }),
            TextPart::Template(template) => json!({"text_template": template}),
            TextPart::Column(column) => json!({"text_cols": [column]}),
        };
        object(options)
    }

    fn strategy(&self) -> &'static str {
        match self {
            TextPart::Column(_) => "join",
            _ => "line-by-line",
        }
    }
}

/// Blocks of texts that are joined: as long as leaves enough of them.
fn joined_block(tokens: usize, context: usize) -> usize {
    const BLOCKS: usize = 32;
    let known = [1024, 512, 256, 128];
    let fits = |block: &usize| *block <= context && tokens / block >= BLOCKS;
    known.into_iter().find(fits).unwrap_or(128.min(context))
}

impl TrainingPart {
    /// For a model of so many parameters, and so many samples.
    pub fn for_data(parameters: u64, samples: usize) -> TrainingPart {
        let epochs = match samples {
            0..2_000 => 3,
            2_000..10_000 => 2,
            _ => 1,
        };
        let rows = (samples * epochs / STEPS).max(1);
        // A power of two, for no other reason than that people like them.
        let rows = (1 << rows.ilog2()).min(MOST_ROWS);
        TrainingPart {
            method: Method::Lora,
            learning_rate: if parameters < SMALL { 5e-4 } else { 2e-4 },
            epochs,
            max_steps: None,
            rows,
            rows_at_a_time: rows,
            checkpointing: false,
            holds_out: samples >= SPARES_ROWS,
        }
    }

    /// The same training in less memory; `None` where that is all that can be done.
    pub fn in_less_memory(&self) -> Option<TrainingPart> {
        if self.rows_at_a_time > 1 {
            return Some(TrainingPart { rows_at_a_time: self.rows_at_a_time / 2, ..self.clone() });
        }
        (!self.checkpointing).then(|| TrainingPart { checkpointing: true, ..self.clone() })
    }

    fn options(&self) -> Value {
        let mut options = object(json!({
            "learning_rate": self.learning_rate,
            "lr_scheduler_type": "cosine",
            "num_train_epochs": self.epochs,
            "per_device_train_batch_size": self.rows_at_a_time,
            "gradient_accumulation_steps": self.rows / self.rows_at_a_time,
            "gradient_checkpointing": self.checkpointing,
            "logging_steps": 5,
            "seed": 0,
        }));
        if let Some(steps) = self.max_steps {
            options.insert("max_steps".into(), steps.into());
        }
        if self.holds_out {
            options.insert("per_device_eval_batch_size".into(), self.rows_at_a_time.into());
            options.insert("eval_strategy".into(), "epoch".into());
            options.insert("load_best_model_at_end".into(), true.into());
        }
        options.into()
    }
}

impl Trained {
    /// Whether what training gained and what rounding cost is measured. Joined texts have no rows.
    fn is_measured(&self) -> bool {
        self.training.holds_out && !matches!(self.data.text, TextPart::Column(_))
    }

    /// Rows that are measured are held out by their place in the file, so that they are the same ones for every stage.
    fn data_configs(&self) -> Vec<Value> {
        match self.is_measured() {
            true => vec![
                self.data_config("train_data", "train[10%:]"),
                self.data_config("held_out", "train[:10%]"),
            ],
            false => vec![self.data_config("train_data", "train")],
        }
    }

    fn data_config(&self, name: &str, split: &str) -> Value {
        let DataPart { reader, file, field, text, block, skips_bad_rows } = &self.data;
        let mut load = object(json!({"data_name": reader, "data_files": file, "split": split}));
        if let Some(field) = field {
            load.insert("field".into(), field.as_str().into());
        }
        let mut options = text.options();
        options.insert("strategy".into(), text.strategy().into());
        options.insert("max_seq_len".into(), (*block).into());
        if text.strategy() == "line-by-line" {
            options.insert("pad_to_max_len".into(), false.into());
        }
        if *skips_bad_rows {
            options.insert("bad_rows".into(), "skip".into());
        }
        json!({
            "name": name,
            "type": "HuggingfaceContainer",
            "load_dataset_config": load,
            "pre_process_data_config": options,
        })
    }

    fn pass(&self) -> Value {
        let name = match self.training.method {
            Method::Lora => "LoRA",
            Method::Qlora => "QLoRA",
        };
        let mut pass = object(json!({
            "type": name,
            "r": RANK,
            "alpha": 2 * RANK,
            "lora_dropout": 0.05,
            "target_modules": "all-linear",
            "train_data_config": "train_data",
        }));
        if self.is_measured() {
            pass.insert("eval_data_config".into(), "held_out".into());
        } else if self.training.holds_out {
            pass.insert("eval_dataset_size".into(), HELD_OUT.into());
        }
        pass.insert("training_args".into(), self.training.options());
        pass.into()
    }
}

impl Proposal {
    /// `olive-config.json`, without `$schema`.
    pub fn configuration(&self) -> Value {
        let mut config = object(json!({
            "input_model": {"type": "HfModel", "model_path": self.model},
            "systems": {"local_system": {"type": "LocalSystem", "accelerators": [self.accelerator()]}},
        }));
        if let Some(trained) = &self.trained {
            config.insert("data_configs".into(), trained.data_configs().into());
        }
        let is_measured = self.trained.as_ref().is_some_and(Trained::is_measured);
        if is_measured {
            config.insert(
                "evaluators".into(),
                json!({"quality": {"metrics": [{
                    "name": "held_out",
                    "type": "accuracy",
                    "data_config": "held_out",
                    "sub_types": [{"name": "perplexity", "priority": 1}, {"name": "loss"}],
                }]}}),
            );
        }
        config.insert("passes".into(), self.passes());
        if is_measured {
            config.insert("evaluator".into(), "quality".into());
        }
        config.extend(object(json!({
            "host": "local_system",
            "target": "local_system",
            "cache_dir": "cache",
            "output_dir": self.output_dir,
        })));
        config.into()
    }

    fn accelerator(&self) -> Value {
        match self.device {
            DeviceChoice::Cpu => json!({"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}),
            DeviceChoice::Cuda(_) => {
                json!({"device": "gpu", "execution_providers": ["CUDAExecutionProvider"]})
            }
        }
    }

    fn passes(&self) -> Value {
        let mut passes = Map::new();
        if let Some(trained) = &self.trained {
            let name = match trained.training.method {
                Method::Lora => "lora",
                Method::Qlora => "qlora",
            };
            passes.insert(name.into(), trained.pass());
            if self.outcome != Outcome::Adapter {
                let mut merge = object(json!({"type": "MergeAdapterWeights"}));
                // Of the result it is measured anyway.
                if trained.is_measured() && self.outcome != Outcome::Merged {
                    merge.insert("evaluator".into(), "quality".into());
                }
                passes.insert("merge".into(), merge.into());
            }
        }
        let precision = match self.outcome {
            Outcome::Int4 => Some("int4"),
            Outcome::Float32 => Some("fp32"),
            Outcome::Merged | Outcome::Adapter => None,
        };
        if let Some(precision) = precision {
            passes.insert("builder".into(), json!({"type": "ModelBuilder", "precision": precision}));
        }
        passes.into()
    }
}

/// # Errors
/// [`ProjectError::NoColumn`]: the shape names a column that has no texts.
impl RowShape {
    pub fn check(&self, texts: &[String]) -> Result<(), ProjectError> {
        if let RowShape::Pair { question, answer } = self
            && question == answer
        {
            return Err(ProjectError::SameColumn { column: question.clone() });
        }
        let missing = |column: &&String| !texts.contains(column);
        let named: Vec<&String> = match self {
            RowShape::Pair { question, answer } => vec![question, answer],
            RowShape::Text { column } => vec![column],
            RowShape::Conversation(_) | RowShape::Template(_) => Vec::new(),
        };
        match named.into_iter().find(missing) {
            Some(column) => Err(ProjectError::NoColumn { column: column.clone(), texts: texts.to_vec() }),
            None => Ok(()),
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_has_steps_enough_and_a_step_rows_enough() {
        let rows = |samples| TrainingPart::for_data(1, samples).rows;
        assert_eq!([1, 50, 200, 1000, 5000, 100_000].map(rows), [1, 1, 4, 16, 16, 16]);
        assert_eq!(TrainingPart::for_data(SMALL, 100).learning_rate, 2e-4);
        assert!(!TrainingPart::for_data(1, 19).holds_out && TrainingPart::for_data(1, 20).holds_out);
    }

    #[test]
    fn less_memory_computes_the_same_steps() {
        let mut training = TrainingPart::for_data(1, 200);
        let mut seen = Vec::new();
        while let Some(less) = training.in_less_memory() {
            assert_eq!(less.rows, training.rows);
            seen.push((less.rows_at_a_time, less.checkpointing));
            training = less;
        }
        assert_eq!(seen, [(2, false), (1, false), (1, true)]);
    }

    #[test]
    fn joined_texts_make_blocks_enough() {
        assert_eq!(joined_block(1_000_000, 8192), 1024);
        assert_eq!(joined_block(1_000_000, 700), 512);
        assert_eq!(joined_block(5_000, 8192), 128);
        assert_eq!(joined_block(5_000, 64), 64);
    }
}
