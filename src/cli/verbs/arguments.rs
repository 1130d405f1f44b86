//! Options that several of Olive's verbs have.

use crate::cli::overwrite::Overwrite;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use olive_verbs::training::boolean;
use olive_verbs::{
    InputModel, ModelOptions, OutputOptions, RowOptions, TextOptions, TextSource, VerbError, Word,
};

/// One of the words of a type.
pub(super) fn word<T: Word>() -> impl TypedValueParser<Value = T> {
    word_of(T::ALL)
}

/// One of these words.
pub(super) fn word_of<T: Word>(words: &'static [T]) -> impl TypedValueParser<Value = T> {
    let names: Vec<&'static str> = words.iter().map(|value| value.word()).collect();
    PossibleValuesParser::new(names).map(|text| T::of(&text).expect("it is one of the words"))
}

/// A number of those whose spellings are listed.
pub(super) fn one_of<T>(numbers: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: std::str::FromStr<Err: std::fmt::Debug> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(numbers).map(|text| text.parse().expect("a number of the list"))
}

/// `true`, `false` and what else means one of them; Python would take every text for true.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    boolean(text).ok_or_else(|| "expected true or false".into())
}

/// The input model, of whatever kind.
#[derive(Args)]
#[command(rename_all = "snake_case")]
pub(super) struct ModelArgs {
    /// The model: a folder, an ONNX file, a hub id or its address, or what an earlier command wrote.
    #[arg(short = 'm', long, value_name = "MODEL")]
    model_name_or_path: Option<String>,
}

/// What is said of a Hugging Face model besides.
#[derive(Args)]
#[command(rename_all = "snake_case")]
pub(super) struct HuggingFaceArgs {
    /// Task of the model.
    #[arg(short = 't', long)]
    task: Option<String>,
    /// Accepted; no code of a model is ever run.
    #[arg(long)]
    trust_remote_code: bool,
}

/// An adapter on the model.
#[derive(Args)]
#[command(rename_all = "snake_case")]
pub(super) struct AdapterArgs {
    /// Folder of a PEFT adapter on the model, or what `olive finetune` wrote.
    #[arg(short = 'a', long, value_name = "FOLDER")]
    adapter_path: Option<String>,
}

/// A Hugging Face model.
#[derive(Args)]
pub(super) struct HuggingFaceModelArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    about: HuggingFaceArgs,
}

/// A model with an adapter on it, perhaps.
#[derive(Args)]
pub(super) struct AdaptedModelArgs {
    #[command(flatten)]
    model: HuggingFaceModelArgs,
    #[command(flatten)]
    adapter: AdapterArgs,
}

impl ModelArgs {
    fn options(&self) -> ModelOptions {
        ModelOptions { model: self.model_name_or_path.clone(), ..ModelOptions::default() }
    }

    pub(super) fn find(&self) -> Result<InputModel, VerbError> {
        InputModel::find(&self.options())
    }
}

impl HuggingFaceModelArgs {
    fn options(&self) -> ModelOptions {
        let HuggingFaceArgs { task, trust_remote_code } = &self.about;
        ModelOptions { task: task.clone(), trust_remote_code: *trust_remote_code, ..self.model.options() }
    }

    pub(super) fn find(&self) -> Result<InputModel, VerbError> {
        InputModel::find(&self.options())
    }
}

impl AdaptedModelArgs {
    pub(super) fn find(&self) -> Result<InputModel, VerbError> {
        InputModel::find(&ModelOptions { adapter: self.adapter.adapter_path.clone(), ..self.model.options() })
    }
}

/// How loud the log is, and what is done with the configuration.
#[derive(Args)]
#[command(rename_all = "snake_case", next_help_heading = "Options of the run")]
pub(super) struct RunningArgs {
    /// How loud the log is: 0 debug, 1 info, 2 warning, 3 error, 4 critical.
    #[arg(long, value_name = "LEVEL", default_value = "3", value_parser = one_of::<u8>(&["0", "1", "2", "3", "4"]))]
    log_level: u8,
    /// Write the configuration to `config.json` of the output folder as well.
    #[arg(long)]
    pub(super) save_config_file: bool,
    /// Write the configuration to `config.json` of the output folder, check it, and stop.
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) overwrite: Overwrite,
    /// Run what does not fit into memory by prediction nevertheless.
    #[arg(long)]
    pub(super) ignore_memory: bool,
    /// Accepted; there is no telemetry.
    #[arg(long, hide = true)]
    disable_telemetry: bool,
}

/// A cache in Azure storage, which the configuration says is not used.
#[derive(Args)]
#[command(rename_all = "snake_case")]
pub(super) struct SharedCacheArgs {
    #[arg(long, hide = true)]
    account_name: Option<String>,
    #[arg(long, hide = true)]
    container_name: Option<String>,
}

impl RunningArgs {
    pub(super) fn output(&self, output_path: &str, cache: Option<&SharedCacheArgs>) -> OutputOptions {
        OutputOptions {
            output_path: output_path.to_owned(),
            log_level: self.log_level,
            account_name: cache.and_then(|cache| cache.account_name.clone()),
            container_name: cache.and_then(|cache| cache.container_name.clone()),
        }
    }
}

/// How rows become tokens.
#[derive(Args)]
#[command(rename_all = "snake_case", next_help_heading = "Options of the data")]
pub(super) struct TextArgs {
    /// Column that holds the text.
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["text_template", "use_chat_template"])]
    text_field: Option<String>,
    /// Python format string that makes the text of the columns, with \n for a line break: `Q: {prompt}\nA: {response}`.
    #[arg(long, value_name = "TEXT", conflicts_with = "use_chat_template")]
    text_template: Option<String>,
    /// Render the column `messages` by the model's chat template.
    #[arg(long)]
    use_chat_template: bool,
    /// Longest sample in tokens.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    max_seq_len: usize,
    /// Whether the tokenizer adds its special tokens.
    #[arg(long, value_name = "BOOL", default_value = "false", value_parser = truth, action = clap::ArgAction::Set)]
    add_special_tokens: bool,
    /// At most so many rows.
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_samples: usize,
    /// Rows per batch.
    #[arg(long, value_name = "N")]
    pub(super) batch_size: Option<usize>,
}

impl TextArgs {
    pub(super) fn options(&self) -> TextOptions {
        let source = match (&self.text_field, &self.text_template, self.use_chat_template) {
            (Some(column), ..) => TextSource::Field(column.clone()),
            (_, Some(template), _) => TextSource::Template(template.clone()),
            (_, _, true) => TextSource::ChatTemplate,
            _ => TextSource::Unsaid,
        };
        TextOptions {
            source,
            max_seq_len: self.max_seq_len,
            add_special_tokens: self.add_special_tokens,
            max_samples: self.max_samples,
            batch_size: self.batch_size.unwrap_or(1),
        }
    }

    /// These rows as tokens.
    pub(super) fn rows(
        &self,
        data_name: &str,
        subset: Option<&String>,
        split: Option<&String>,
        data_files: Option<&String>,
    ) -> RowOptions {
        RowOptions {
            data_name: data_name.to_owned(),
            subset: subset.cloned(),
            split: split.cloned(),
            data_files: data_files.cloned(),
            text: self.options(),
        }
    }
}
