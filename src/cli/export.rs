//! `olive export`.

use super::session::Session;
use super::{Globals, environment, output};
use crate::report::number::bytes;
use clap::{Args, ValueEnum, ValueHint};
use olive_core::error::IoContext;
use olive_core::handle::ModelHandle;
use olive_core::{Fault, Result, file, shown};
use olive_export::gguf::{Precision, Request, Written, export, export_adapter};
use olive_export::{NoModelfile, modelfile};
use olive_model::{ModelFolder, SourceOptions, detect, resolve};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct ExportArgs {
    /// A Hugging Face folder, a GGUF file, an adapter folder, what `olive run` wrote, or a hub id.
    #[arg(value_hint = ValueHint::AnyPath)]
    model: String,
    /// The format of the file.
    #[arg(long, value_enum, default_value_t = Format::Gguf)]
    format: Format,
    /// How weights are stored.
    #[arg(long, value_enum, default_value_t = Kind::F16)]
    precision: Kind,
    /// The file to write, or a folder for it. Without it, a file of the model's name in `gen-model`.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    to: Option<PathBuf>,
    /// Replace a file that is there already.
    #[arg(long)]
    overwrite: bool,
    /// Write a `Modelfile` for Ollama beside the file.
    #[arg(long, conflicts_with = "adapter_only")]
    modelfile: bool,
    /// Of an adapter folder write the adapter alone; otherwise it is merged with its base.
    #[arg(long)]
    adapter_only: bool,
    /// The model under an adapter folder, if it is not where the adapter says.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    base: Option<PathBuf>,
    /// What the file calls the model; without it, the name of its folder.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For llama.cpp, Ollama and others.
    Gguf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    F32,
    F16,
    Bf16,
    #[value(name = "q8_0")]
    Q8_0,
    #[value(name = "q4_0")]
    Q4_0,
}

impl Kind {
    fn precision(self) -> Precision {
        match self {
            Kind::F32 => Precision::F32,
            Kind::F16 => Precision::F16,
            Kind::Bf16 => Precision::Bf16,
            Kind::Q8_0 => Precision::Q8_0,
            Kind::Q4_0 => Precision::Q4_0,
        }
    }
}

pub(crate) fn run(args: &ExportArgs, globals: &Globals) -> Result<()> {
    let Format::Gguf = args.format;
    let session = Session::start(globals, 1)?;
    let options = SourceOptions { cancel: session.cancel().clone(), ..environment::source_options(globals) };
    let dir = resolve(&args.model, None, &options, session.events())?;
    let model = match detect(&dir, args.base.as_deref(), &options, session.events())? {
        // Beside the result of a run lies what it was made of.
        ModelHandle::Onnx { dir } if dir.join("merged/config.json").is_file() => {
            ModelHandle::Hf { dir: dir.join("merged") }
        }
        model => model,
    };
    let name = args.name.clone().unwrap_or_else(|| name_of(&args.model));
    let path = args.path(&name);
    args.check(&path)?;
    let written = match &model {
        ModelHandle::Onnx { dir } => return Err(ExportVerbError::Onnx { path: dir.clone() }.into()),
        ModelHandle::HfWithAdapter { base, adapter } if args.adapter_only => {
            export_adapter(base, adapter, &name, &path, session.cancel(), session.events())?
        }
        ModelHandle::Hf { dir } if args.adapter_only => {
            return Err(ExportVerbError::NoAdapter { path: dir.clone() }.into());
        }
        model => {
            let request = Request { model, name: &name, precision: args.precision.precision() };
            export(&request, &path, session.cancel(), session.events())?
        }
    };
    drop(session);
    let Written { tensors, bytes: size } = written;
    output::result(&format!("{}: {tensors} tensors, {}", shown(&path), bytes(size)))?;
    if args.modelfile { write_modelfile(&model, &path) } else { Ok(()) }
}

/// Beside the file, for `ollama create NAME -f Modelfile`.
fn write_modelfile(model: &ModelHandle, path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match modelfile(&ModelFolder::of(model)?, &name)? {
        Ok(text) => {
            let to = path.with_file_name("Modelfile");
            file::replace(&to, text.as_bytes()).at("write", &to)?;
            output::result(&format!("{}: ollama create NAME -f {}", shown(&to), shown(&to)))
        }
        Err(reason) => Err(ExportVerbError::Modelfile { reason }.into()),
    }
}

impl ExportArgs {
    /// Whether the file can be written: it takes the place of no other one, and of nothing that is no file.
    fn check(&self, path: &Path) -> Result<(), ExportVerbError> {
        match path.symlink_metadata() {
            Ok(found) if !found.is_file() => Err(ExportVerbError::NotAFile { path: path.to_owned() }),
            Ok(_) if !self.overwrite => Err(ExportVerbError::Exists { path: path.to_owned() }),
            _ => Ok(()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        let kind = if self.adapter_only { "LoRA" } else { self.precision.precision().label() };
        let name = format!("{}-{kind}.gguf", name.replace([' ', '/'], "-"));
        match &self.to {
            None => Path::new("gen-model").join(name),
            Some(to) if to.is_dir() || to.as_os_str().to_string_lossy().ends_with('/') => to.join(name),
            Some(to) => to.clone(),
        }
    }
}

/// Parts of an output folder, which say nothing of the model.
const PARTS: [&str; 3] = ["merged", "adapter", "model"];

/// What a model is called whose folder, file or hub id this is.
fn name_of(model: &str) -> String {
    let named = |path: PathBuf| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        let of_a_run = || Some(path.parent()?.file_name()?.to_string_lossy().into_owned());
        if PARTS.contains(&name.as_str()) { of_a_run().or(Some(name)) } else { Some(name) }
    };
    let last = Path::new(model).canonicalize().ok().and_then(named);
    let last = last.unwrap_or_else(|| model.rsplit('/').next().unwrap_or(model).to_owned());
    last.strip_suffix(".gguf").unwrap_or(&last).to_owned()
}

#[derive(Debug, thiserror::Error)]
enum ExportVerbError {
    #[error("`{}` is an ONNX model, whose weights are not those that were trained", shown(path))]
    Onnx { path: PathBuf },
    #[error("there is no Modelfile: {reason}")]
    Modelfile { reason: NoModelfile },
    #[error("`{}` is there already", shown(path))]
    Exists { path: PathBuf },
    #[error("`{}` is no file that could be replaced", shown(path))]
    NotAFile { path: PathBuf },
    #[error("there is no adapter in `{}`", shown(path))]
    NoAdapter { path: PathBuf },
}

impl Fault for ExportVerbError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            ExportVerbError::Onnx { .. } => {
                "export what was made before it: the folder of the pass MergeAdapterWeights, or that of LoRA (`olive cache ls`)"
                    .into()
            }
            ExportVerbError::Modelfile { .. } => {
                "the GGUF file is written; Ollama needs a template of its own kind for this model".into()
            }
            ExportVerbError::Exists { .. } => "replace it with --overwrite, or give another path with --to".into(),
            ExportVerbError::NotAFile { .. } => "give the path of a file with --to".into(),
            ExportVerbError::NoAdapter { .. } => "leave out --adapter-only".into(),
        })
    }

    fn exit_code(&self) -> u8 {
        if matches!(self, ExportVerbError::Modelfile { .. }) { 1 } else { 2 }
    }
}
