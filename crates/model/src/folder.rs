//! A Hugging Face model folder: its configuration, tokenizer and weights.

use super::stored_file::read_json;
use super::{Checkpoint, ModelError, QuantisationSettings, Tensor, prequantised, tokenizer};
use olive_arch::Spec;
use olive_core::handle::ModelHandle;
use olive_core::{Result, error::IoContext, file};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

pub(crate) const CHAT_TEMPLATE: &str = "chat_template.jinja";
const SPECIAL_TOKENS_MAP: &str = "special_tokens_map.json";

/// A folder with `config.json`.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    pub dir: PathBuf,
    pub config: Value,
    /// An adapter on the model, which may bring files of its own.
    adapter: Option<PathBuf>,
}

impl ModelFolder {
    /// Everything that belongs to a model beside its weights, and moves along when weights are rewritten.
    pub const SIDE_FILES: &'static [&'static str] = &[
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        SPECIAL_TOKENS_MAP,
        "added_tokens.json",
        CHAT_TEMPLATE,
        "vocab.json",
        "merges.txt",
    ];

    /// What SelectiveMixedPrecision leaves for quantisers: beside the weights, or in a folder of its own.
    pub const NOTE: &'static str = "mixed_precision.json";

    const CODE_PREFIXES: [&'static str; 5] =
        ["configuration_", "modeling_", "tokenization_", "processing_", "generation_"];

    /// Whether a file of this name goes along with a model: one of [`Self::SIDE_FILES`], or code by the names that
    /// transformers gives it. Code by other names stays behind: in a folder of results it could be anybody's.
    pub fn is_side_file(name: &str) -> bool {
        let is_code = name.strip_suffix(".py").is_some_and(|module| {
            let of_a_name = module.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            of_a_name && Self::CODE_PREFIXES.iter().any(|prefix| module.starts_with(prefix))
        });
        is_code || Self::SIDE_FILES.contains(&name)
    }

    /// What an adapter may bring along instead of the base's.
    fn is_tokenizer_file(name: &str) -> bool {
        Self::SIDE_FILES.contains(&name) && !["config.json", "generation_config.json"].contains(&name)
    }

    /// Whether a file of this name is part of a model: its weights, or what goes along with it.
    pub fn is_model_file(name: &str) -> bool {
        Self::is_side_file(name)
            || name.ends_with(".safetensors")
            || ["model.safetensors.index.json", Self::NOTE].contains(&name)
    }

    /// Whether a file of this name is part of an adapter: its weights and configuration, or what it brings along.
    pub fn is_adapter_file(name: &str) -> bool {
        name.starts_with("adapter_") || Self::is_tokenizer_file(name)
    }

    /// A folder with this configuration, whatever it says itself.
    pub fn new(dir: PathBuf, config: Value) -> ModelFolder {
        ModelFolder { dir, config, adapter: None }
    }

    /// # Errors
    /// No folder, no `config.json`, or one that is not JSON; weights that are quantised in a way that cannot be read.
    pub fn open(dir: &Path) -> Result<ModelFolder> {
        let config = read_json(&dir.join("config.json"))?
            .ok_or_else(|| ModelError::NotAModel { path: dir.to_owned(), missing: "config.json".into() })?;
        prequantised::check(dir, &config)?;
        let mut folder = ModelFolder::new(dir.to_owned(), config);
        // Such a file says that the model is not tied, as the float matrices are not; there is one quantised one.
        if folder.stated_quantisation()?.is_some_and(|settings| settings.tied) {
            folder.config["tie_word_embeddings"] = true.into();
        }
        Ok(folder)
    }

    /// What its configuration says of weights in Olive's format.
    ///
    /// # Errors
    /// A statement that cannot be.
    fn stated_quantisation(&self) -> Result<Option<QuantisationSettings>> {
        Ok(QuantisationSettings::of(&self.dir, &self.config)?)
    }

    /// How Olive's format says what its weights are quantised as, if they are codes in groups of neighbours.
    ///
    /// # Errors
    /// A statement that cannot be, or see [`Checkpoint::open`].
    pub fn quantisation(&self) -> Result<Option<QuantisationSettings>> {
        if let Some(stated) = self.stated_quantisation()? {
            return Ok(Some(stated));
        }
        let checkpoint = self.checkpoint()?;
        let module = |tensor: &Tensor| {
            let module = tensor.name.strip_suffix(".weight")?;
            Some((module.to_owned(), tensor.neighbour_groups()?.settings))
        };
        Ok(QuantisationSettings::of_modules(checkpoint.tensors().filter_map(module)))
    }

    /// The folder of a model with its tokenizer.
    ///
    /// # Errors
    /// As [`ModelFolder::open`].
    pub fn of(model: &ModelHandle) -> Result<ModelFolder> {
        match model {
            ModelHandle::Hf { dir } | ModelHandle::HfWithNote { base: dir, .. } => ModelFolder::open(dir),
            ModelHandle::HfWithAdapter { base, adapter } => {
                Ok(ModelFolder::open(base)?.with_adapter(adapter))
            }
            // Such a folder need not have a config.json.
            ModelHandle::Onnx { dir } => Ok(ModelFolder::new(dir.clone(), Value::Null)),
        }
    }

    /// The model under this adapter: the tokenizer and the chat template are the adapter's, where it brings its own.
    pub fn with_adapter(mut self, adapter: &Path) -> ModelFolder {
        self.adapter = Some(adapter.to_owned());
        self
    }

    /// What `config.json` describes. Where it says that the head is the embedding matrix, and the weights have a head with
    /// other values, as after training one of the two, the head is its own: transformers ties equal matrices only.
    ///
    /// # Errors
    /// See [`Spec::from_config`]; or sizes that are not those of the weights.
    pub fn spec(&self) -> Result<Spec> {
        let mut spec = Spec::from_config(&self.config)?;
        // What is wrong with the weights comes up where they are read; a folder may also do without them.
        if let Ok(checkpoint) = self.checkpoint() {
            self.check_sizes(&spec, &checkpoint)?;
            spec.tied = spec.tied && !has_own_head(&checkpoint)?;
        }
        Ok(spec)
    }

    /// Whether the sizes that `config.json` states are those of the weights, before anything is made of such sizes.
    fn check_sizes(&self, spec: &Spec, checkpoint: &Checkpoint) -> Result<()> {
        let refuse =
            |key, value, found| ModelError::Size { path: self.dir.join("config.json"), key, value, found };
        if let Some(&[vocabulary, hidden]) = checkpoint.get(Spec::EMBEDDING).map(|t| t.shape.as_slice()) {
            if spec.vocab_size != vocabulary {
                let found = format!("have a vocabulary of {vocabulary}");
                return Err(refuse("vocab_size", spec.vocab_size, found).into());
            }
            if spec.hidden_size != hidden {
                return Err(refuse("hidden_size", spec.hidden_size, format!("are of size {hidden}")).into());
            }
        }
        let layer = |name: &str| name.strip_prefix("model.layers.")?.split_once('.')?.0.parse::<usize>().ok();
        let last = checkpoint.tensors().filter_map(|tensor| layer(&tensor.name)).max();
        if let Some(last) = last.filter(|last| spec.num_layers() - 1 > *last) {
            let found = format!("end with layer {last}");
            return Err(refuse("num_hidden_layers", spec.num_layers(), found).into());
        }
        for linear in spec.linears(0) {
            let (name, expected) = (linear.weight_name(), [linear.out_features, linear.in_features]);
            if checkpoint.get(&name).is_some() {
                checkpoint.tensor_of(&name, &expected)?;
            }
        }
        Ok(())
    }

    /// Whether the weights have a head of their own although `config.json` denies it.
    ///
    /// # Errors
    /// See [`Spec::from_config`].
    pub fn contradicts_tie(&self) -> Result<bool> {
        let tied = Spec::from_config(&self.config)?.tied;
        self.checkpoint().map_or(Ok(false), |checkpoint| Ok(tied && has_own_head(&checkpoint)?))
    }

    /// The model of its first layers, or as it is. Its files are the same.
    ///
    /// # Errors
    /// It has fewer layers.
    pub fn with_layers(mut self, count: Option<usize>) -> Result<ModelFolder> {
        if let Some(asked) = count {
            let layers = self.spec()?.num_layers();
            if asked == 0 || asked > layers {
                return Err(ModelError::Layers { asked, layers }.into());
            }
            self.config["num_hidden_layers"] = asked.into();
        }
        Ok(self)
    }

    /// # Errors
    /// See [`Checkpoint::open`].
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        Checkpoint::open(&self.dir)
    }

    /// Where one of the [`ModelFolder::SIDE_FILES`] lies, if it is there.
    pub fn side_file(&self, name: &str) -> Option<PathBuf> {
        let dir = if Self::is_tokenizer_file(name) { self.tokenizer_dir() } else { &self.dir };
        Some(dir.join(name)).filter(|path| path.is_file())
    }

    fn tokenizer_dir(&self) -> &Path {
        self.adapter.as_deref().filter(|dir| tokenizer::is_in(dir)).unwrap_or(&self.dir)
    }

    /// Whether the adapter brings a tokenizer or a chat template.
    pub(crate) fn is_overridden(&self) -> Result<bool> {
        let Some(adapter) = &self.adapter else { return Ok(false) };
        Ok(tokenizer::is_in(adapter) || chat_template_in(adapter)?.is_some())
    }

    /// The encoder, of whichever files it is made.
    ///
    /// # Errors
    /// There is no tokenizer, or none that can be used.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        tokenizer::open(self.tokenizer_dir())
    }

    /// The text of a `tokenizer.json` that says all by itself, if there is a tokenizer.
    ///
    /// # Errors
    /// The tokenizer cannot be used.
    pub fn tokenizer_json(&self) -> Result<Option<Vec<u8>>> {
        tokenizer::json(self.tokenizer_dir())
    }

    /// Whether there is a tokenizer.
    pub fn has_tokenizer(&self) -> bool {
        tokenizer::is_in(self.tokenizer_dir())
    }

    /// `tokenizer_config.json`, or an empty object.
    ///
    /// # Errors
    /// The file is there but not JSON.
    pub fn tokenizer_config(&self) -> Result<Value> {
        tokenizer::config(self.tokenizer_dir())
    }

    /// `special_tokens_map.json`, or null.
    ///
    /// # Errors
    /// The file is there but not JSON.
    pub fn special_tokens_map(&self) -> Result<Value> {
        Ok(read_json(&self.tokenizer_dir().join(SPECIAL_TOKENS_MAP))?.unwrap_or(Value::Null))
    }

    /// The text of `chat_template.jinja`, or `chat_template` in `tokenizer_config.json`, the one named `default` if there
    /// are several, with the file it stands in; an adapter's goes before that of its base.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn chat_template(&self) -> Result<Option<(PathBuf, String)>> {
        let mut dirs = vec![self.dir.as_path()];
        dirs.extend(self.adapter.as_deref());
        for dir in dirs.into_iter().rev() {
            if let Some(template) = chat_template_in(dir)? {
                return Ok(Some(template));
            }
        }
        Ok(None)
    }

    /// `generation_config.json`, if there is one.
    ///
    /// # Errors
    /// The file is there but not JSON.
    pub fn generation_config(&self) -> Result<Option<Value>> {
        read_json(&self.dir.join("generation_config.json"))
    }
}

/// Whether there is a head with other values than the embedding matrix.
fn has_own_head(checkpoint: &Checkpoint) -> Result<bool> {
    match (checkpoint.get(Spec::EMBEDDING), checkpoint.get(Spec::HEAD)) {
        (Some(embedding), Some(head)) => Ok(!embedding.equals(head)?),
        _ => Ok(false),
    }
}

fn chat_template_in(dir: &Path) -> Result<Option<(PathBuf, String)>> {
    let path = dir.join(CHAT_TEMPLATE);
    match file::read_to_string(&path) {
        Ok(source) => return Ok(Some((path, source))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).at("read", &path),
    }
    let config = tokenizer::config(dir)?;
    let template = match &config["chat_template"] {
        Value::Array(list) => {
            let default = list.iter().find(|template| template["name"] == "default").or(list.first());
            default.map_or(&Value::Null, |template| &template["template"])
        }
        other => other,
    };
    Ok(template.as_str().map(|source| (dir.join(tokenizer::CONFIG), source.to_owned())))
}
