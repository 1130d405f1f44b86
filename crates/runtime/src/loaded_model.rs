//! A model of either form.

use super::session::{CacheMode, OnnxSequence, OnnxSession};
use super::{ActiveAdapter, Library, OnnxAdapter, RuntimeError};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::device::Device;
use olive_core::handle::ModelHandle;
use olive_decoder::{Decoder, Feed, KvCache, LanguageModel, Scored, ScoringModel};
use olive_model::{Adapter, ModelFolder, QuantisedBase};
use std::path::Path;
use std::sync::Arc;

/// What computes the logits.
pub enum LoadedModel {
    Float(Box<Decoder>),
    Onnx(Box<OnnxSession>),
}

/// A sequence of a [`LoadedModel`].
pub enum ModelSequence {
    Float(KvCache),
    Onnx(Box<OnnxSequence>),
}

/// Calls a method of the model with its sequence.
macro_rules! with_both {
    ($model:expr, $sequence:expr, |$m:ident, $s:ident| $call:expr) => {
        match ($model, $sequence) {
            (LoadedModel::Float($m), ModelSequence::Float($s)) => $call,
            (LoadedModel::Onnx($m), ModelSequence::Onnx($s)) => $call,
            (LoadedModel::Float(_), ModelSequence::Onnx(_))
            | (LoadedModel::Onnx(_), ModelSequence::Float(_)) => {
                unreachable!("a sequence is given to the model that made it")
            }
        }
    };
}

impl LoadedModel {
    /// Loads a model. `adapter` is for an ONNX model. The linear layers under an adapter of a float model are those of
    /// `quantised`, where that is given, or those that lie beside the adapter. A float model computes on `device`; `library`
    /// is asked for only when the form needs ONNX Runtime, which computes on the CPU.
    ///
    /// # Errors
    /// Missing or damaged files, an unsupported architecture, no ONNX Runtime.
    pub fn open(
        handle: &ModelHandle,
        adapter: &ActiveAdapter,
        quantised: Option<&QuantisedBase>,
        device: &Device,
        library: &dyn Fn() -> Result<Library>,
    ) -> Result<LoadedModel> {
        let decoder = match handle {
            ModelHandle::Onnx { dir } => {
                let file = adapter.file(dir);
                let session = OnnxSession::open(dir, file.as_deref(), &library()?, CacheMode::Auto)?;
                return Ok(LoadedModel::Onnx(Box::new(session)));
            }
            ModelHandle::Hf { dir } | ModelHandle::HfWithNote { base: dir, .. } => {
                Decoder::load(&ModelFolder::open(dir)?, quantised, None, device)?
            }
            ModelHandle::HfWithAdapter { base, adapter } => {
                let folder = ModelFolder::open(base)?;
                let beside = QuantisedBase::beside(adapter, &folder.spec()?)?;
                let adapter = Adapter::open(adapter)?;
                Decoder::load(&folder, beside.as_ref().or(quantised), Some(&adapter), device)?
            }
        };
        Ok(LoadedModel::Float(Box::new(decoder)))
    }

    /// Threads that compute, if the processor does.
    pub fn threads(&self) -> usize {
        match self {
            LoadedModel::Float(_) => rayon::current_num_threads(),
            LoadedModel::Onnx(session) => session.threads(),
        }
    }

    /// Most tokens that the model can look at.
    pub fn context_length(&self) -> usize {
        match self {
            LoadedModel::Float(decoder) => decoder.spec.context_length,
            LoadedModel::Onnx(session) => session.config().model.context_length,
        }
    }

    /// Bytes of the keys and values of a sequence of so many positions.
    pub fn cache_bytes(&self, positions: usize) -> u64 {
        match self {
            LoadedModel::Float(decoder) => decoder.cache_bytes(positions),
            LoadedModel::Onnx(session) => session.cache_bytes(positions),
        }
    }

    /// Computes tokens of up to `most` sequences of up to `longest` tokens at once from here on, where that is possible and
    /// gives the same numbers. Says whether it does.
    ///
    /// # Errors
    /// The model cannot be run.
    pub fn allow_batches(&self, most: usize, longest: usize) -> Result<bool> {
        match self {
            LoadedModel::Float(decoder) => decoder.allow_batches(most),
            LoadedModel::Onnx(session) => session.allow_batches(most, longest),
        }
    }

    /// An adapter for sequences of this model, from an `.onnx_adapter` file or a folder with one.
    ///
    /// # Errors
    /// The model is a float one, whose adapter is chosen when it is loaded; the file cannot be read, or fits another graph.
    pub fn load_adapter(&self, path: &Path) -> Result<Arc<OnnxAdapter>> {
        let refuse = |reason: &str| RuntimeError::Adapter { path: path.to_owned(), reason: reason.into() };
        let LoadedModel::Onnx(session) = self else {
            return Err(refuse(
                "a float model has one adapter, from when it is loaded; an ONNX model can change it",
            )
            .into());
        };
        let file = if path.is_dir() { ActiveAdapter::Beside.file(path) } else { Some(path.to_owned()) };
        session.load_adapter(&file.ok_or_else(|| refuse("it is a folder without an `.onnx_adapter` file"))?)
    }

    /// An empty sequence with this adapter, or with that of the model.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new_sequence_with(&self, adapter: Option<&Arc<OnnxAdapter>>) -> Result<ModelSequence> {
        match (self, adapter) {
            (LoadedModel::Onnx(session), Some(adapter)) => {
                Ok(ModelSequence::Onnx(Box::new(session.new_sequence_with(Some(Arc::clone(adapter)))?)))
            }
            _ => self.new_sequence(),
        }
    }

    /// Rows of the embedding.
    pub fn vocabulary(&self) -> usize {
        match self {
            LoadedModel::Float(decoder) => decoder.spec.vocab_size,
            LoadedModel::Onnx(session) => session.config().model.vocab_size,
        }
    }
}

impl LanguageModel for LoadedModel {
    type Sequence = ModelSequence;

    fn new_sequence(&self) -> Result<ModelSequence> {
        Ok(match self {
            LoadedModel::Float(model) => ModelSequence::Float(model.new_sequence()?),
            LoadedModel::Onnx(model) => ModelSequence::Onnx(Box::new(model.new_sequence()?)),
        })
    }

    fn tokens<'s>(&self, sequence: &'s ModelSequence) -> &'s [u32] {
        with_both!(self, sequence, |model, of| model.tokens(of))
    }

    fn feed(&self, sequence: &mut ModelSequence, tokens: &[u32]) -> Result<Vec<f32>> {
        with_both!(self, sequence, |model, of| model.feed(of, tokens))
    }

    fn feed_all(&self, feeds: &mut [Feed<'_, ModelSequence>]) -> Vec<Result<Vec<f32>>> {
        let (mut float, mut onnx) = (Vec::new(), Vec::new());
        for Feed { sequence, tokens } in feeds {
            match sequence {
                ModelSequence::Float(sequence) => float.push(Feed { sequence, tokens }),
                ModelSequence::Onnx(sequence) => onnx.push(Feed { sequence: &mut **sequence, tokens }),
            }
        }
        match self {
            LoadedModel::Float(decoder) if onnx.is_empty() => decoder.feed_all(&mut float),
            LoadedModel::Onnx(session) if float.is_empty() => session.feed_all(&mut onnx),
            _ => unreachable!("a sequence is given to the model that made it"),
        }
    }

    fn truncate(&self, sequence: &mut ModelSequence, len: usize) -> Result<usize> {
        with_both!(self, sequence, |model, of| model.truncate(of, len))
    }

    fn reserve(&self, sequence: &mut ModelSequence, len: usize) -> Result<()> {
        with_both!(self, sequence, |model, of| model.reserve(of, len))
    }
}

impl ScoringModel for LoadedModel {
    fn score(&self, sequence: &mut ModelSequence, scored: Scored<'_>, cancel: &CancelFlag) -> Result<f64> {
        with_both!(self, sequence, |model, of| model.score(of, scored, cancel))
    }
}
