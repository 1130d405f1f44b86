//! `olive finetune`.

use super::arguments::{HuggingFaceModelArgs, RunningArgs, SharedCacheArgs, TextArgs, word};
use super::carry_out::carry_out;
use super::target;
use super::training::TrainingArgs;
use super::unsupported::{Refused, UnsupportedOptions};
use crate::cli::Globals;
use clap::Args;
use olive_core::Result;
use olive_verbs::finetune::{Options, UNSUPPORTED, draft};
use olive_verbs::{Method, OF_MODELS, TorchType, Unsupported};

#[derive(Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct FinetuneArgs {
    #[command(flatten)]
    model: HuggingFaceModelArgs,
    /// Folder for the adapter.
    #[arg(short = 'o', long, value_name = "FOLDER", default_value = "finetuned-adapter")]
    output_path: String,
    /// What is trained: LoRA on the model, or on the model in four bits.
    #[arg(long, default_value = "lora", value_parser = word::<Method>())]
    method: Method,
    /// Rank of the adapter.
    #[arg(long, value_name = "R", default_value_t = 64)]
    lora_r: usize,
    /// Scale of the adapter, times its rank.
    #[arg(long, value_name = "ALPHA", default_value_t = 16)]
    lora_alpha: usize,
    /// Layers that are trained: `q_proj,v_proj`.
    #[arg(long, value_name = "NAME,…")]
    target_modules: Option<String>,
    /// Type in which the model is trained.
    #[arg(long, default_value = "bfloat16", value_parser = word::<TorchType>())]
    torch_dtype: TorchType,
    /// The rows: `json`, `csv`, `parquet` or `text` with `--data_files`, or a file or folder.
    #[arg(short = 'd', long, value_name = "NAME")]
    data_name: String,
    /// Files of the rows.
    #[arg(long, value_name = "FILE,…")]
    data_files: Option<String>,
    /// Configuration of the dataset to train on.
    #[arg(long, value_name = "NAME")]
    train_subset: Option<String>,
    /// Rows to train on: `train[:90%]`.
    #[arg(long, value_name = "SPLIT", default_value = "train")]
    train_split: String,
    /// Configuration of the dataset to evaluate on.
    #[arg(long, value_name = "NAME")]
    eval_subset: Option<String>,
    /// Rows to evaluate on: `train[90%:]`.
    #[arg(long, value_name = "SPLIT")]
    eval_split: Option<String>,
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    cache: SharedCacheArgs,
    #[command(flatten)]
    refused: Refused<OfFinetune>,
    #[command(flatten)]
    running: RunningArgs,
    #[command(flatten)]
    training: TrainingArgs,
}

struct OfFinetune;

impl UnsupportedOptions for OfFinetune {
    const OPTIONS: &'static [&'static [Unsupported]] = &[UNSUPPORTED, OF_MODELS];
}

impl FinetuneArgs {
    pub(super) fn run(&self, globals: &Globals) -> Result<()> {
        self.refused.check()?;
        let input = self.model.find()?;
        let (subset, split, files) =
            (self.train_subset.as_ref(), Some(&self.train_split), self.data_files.as_ref());
        let options = Options {
            output: self.running.output(&self.output_path, Some(&self.cache)),
            device: target::device(globals)?,
            method: self.method,
            lora_r: self.lora_r,
            lora_alpha: self.lora_alpha,
            target_modules: self.target_modules.clone(),
            torch_dtype: self.torch_dtype,
            rows: self.text.rows(&self.data_name, subset, split, files),
            eval_subset: self.eval_subset.clone(),
            eval_split: self.eval_split.clone(),
            batch_size: self.text.batch_size,
            training: self.training.0.clone(),
        };
        carry_out(&draft(&options, &input)?, &options.output, &self.running, globals)
    }
}
