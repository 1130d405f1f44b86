//! An ONNX model folder as a language model.

use super::adapter::OnnxAdapter;
use super::batch::{Batch, Row};
use super::genai_config::RopeSwitch;
use super::kv_cache::{self, CacheTensor, SequenceCache};
use super::{GenaiConfig, Library, RuntimeError, environment, threads};
use half::{bf16, f16};
use olive_core::Result;
use olive_decoder::{Feed, LanguageModel};
use ort::logging::LogLevel;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynTensor, DynValue, Tensor, TensorElementType};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type RuntimeResult<T> = std::result::Result<T, RuntimeError>;

/// How the key-value cache is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheMode {
    /// In place where the graph allows it.
    #[default]
    Auto,
    /// Outputs become inputs, always. Slower; the reference for the other.
    Moved,
}

/// A loaded model, for any number of sequences.
pub struct OnnxSession {
    /// Sequences take turns: one run occupies all of ONNX Runtime's threads.
    session: Mutex<Session>,
    dir: PathBuf,
    config: GenaiConfig,
    pub(super) cache_tensors: Vec<CacheTensor>,
    /// The adapter of sequences that choose none.
    adapter: Option<Arc<OnnxAdapter>>,
    /// Inputs that the graph wants and only an adapter gives.
    adapter_inputs: Vec<String>,
    /// Of ONNX Runtime, for one operator.
    threads: usize,
    share: bool,
    /// Names of the inputs that are made anew for every run, as far as the graph has them.
    pub(super) attention_mask: Option<String>,
    pub(super) position_ids: Option<String>,
    pub(super) switch: RopeSwitch,
    pub(super) logits_memory: MemoryInfo<'static>,
    /// So many sequences may run together.
    pub(super) together: AtomicUsize,
    /// Those that did last.
    pub(super) batch: Mutex<Option<Batch>>,
    /// How many batches there were.
    pub(super) batches: AtomicU64,
}

/// A sequence of a session: its tokens, their keys and values, and the adapter that reads them.
pub struct OnnxSequence {
    pub(super) cache: SequenceCache,
    pub(super) adapter: Option<Arc<OnnxAdapter>>,
    /// What the cache holds.
    pub(super) tokens: Vec<u32>,
    /// Length of the sequence for which the keys in the cache were rotated.
    pub(super) rope_length: usize,
    /// Where the same is for runs of several.
    pub(super) row: Option<Row>,
}

/// Tokens of one run, at their place in a sequence.
pub(super) struct Part<'a> {
    pub(super) tokens: &'a [u32],
    /// Length of the sequence for which they are rotated.
    pub(super) length: usize,
}

impl OnnxSession {
    /// Loads the model of a folder with `genai_config.json`. Its sequences have the adapter in the file `adapter`, unless
    /// they choose another one.
    ///
    /// # Errors
    /// Missing files, a graph that ONNX Runtime refuses, one with inputs that are not those of a plain decoder, an
    /// adapter of another graph.
    pub fn open(
        dir: &Path,
        adapter: Option<&Path>,
        library: &Library,
        mode: CacheMode,
    ) -> RuntimeResult<OnnxSession> {
        let config = GenaiConfig::load(dir)?;
        let file = config.onnx_file(dir);
        if !file.is_file() {
            return Err(RuntimeError::NotAModel {
                path: dir.to_owned(),
                missing: config.model.decoder.filename.clone(),
            });
        }
        let threads = threads::at_rest();
        let session = load(&file, library, threads).map_err(|e| match e {
            RuntimeError::Run(source) => RuntimeError::Load { path: file.clone(), source },
            other => other,
        })?;
        let cache_tensors = kv_cache::declared(&session, &config, dir)?;
        let adapter = adapter.map(|file| OnnxAdapter::load(file, &session)).transpose()?.map(Arc::new);
        let inputs = &config.model.decoder.inputs;
        let has = |name: &Option<String>| {
            name.clone().filter(|name| session.inputs().iter().any(|input| input.name() == name))
        };
        let (attention_mask, position_ids) = (has(&inputs.attention_mask), has(&inputs.position_ids));
        let share = mode == CacheMode::Auto && kv_cache::can_share(&config, &cache_tensors);
        let logits_memory =
            MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput)?;
        let switch = config.rope_switch(dir);
        let mut opened = OnnxSession {
            session: Mutex::new(session),
            dir: dir.to_owned(),
            config,
            cache_tensors,
            adapter,
            adapter_inputs: Vec::new(),
            threads,
            share,
            attention_mask,
            position_ids,
            switch,
            logits_memory,
            together: AtomicUsize::new(1),
            batch: Mutex::new(None),
            batches: AtomicU64::new(0),
        };
        opened.adapter_inputs = opened.other_inputs()?;
        opened.check_adapter(opened.adapter.as_deref())?;
        Ok(opened)
    }

    pub fn config(&self) -> &GenaiConfig {
        &self.config
    }

    /// Threads that compute.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Whether caches are written in place.
    pub fn shares_cache(&self) -> bool {
        self.share
    }

    /// Bytes of the keys and values of so many positions.
    pub fn cache_bytes(&self, positions: usize) -> u64 {
        // A cache that moves is there twice while the graph runs; one that stays, while several run together.
        let bytes = self.cache_tensors.iter().map(|tensor| tensor.bytes(positions));
        bytes.fold(0u64, u64::saturating_add).saturating_mul(2)
    }

    /// Loads an adapter for sequences of this model.
    ///
    /// # Errors
    /// The file cannot be read, or holds what the graph does not take.
    pub fn load_adapter(&self, file: &Path) -> Result<Arc<OnnxAdapter>> {
        Ok(Arc::new(OnnxAdapter::load(file, &self.lock())?))
    }

    /// An empty sequence with this adapter, or with none, whatever other sequences have.
    ///
    /// # Errors
    /// The adapter lacks something that the graph wants, or there is no memory.
    pub fn new_sequence_with(&self, adapter: Option<Arc<OnnxAdapter>>) -> Result<OnnxSequence> {
        self.check_adapter(adapter.as_deref())?;
        let cache = self.empty_cache(adapter.as_deref())?;
        Ok(OnnxSequence { cache, adapter, tokens: Vec::new(), rope_length: 0, row: None })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn unsupported(&self, reason: String) -> RuntimeError {
        RuntimeError::Unsupported { path: self.dir.clone(), reason }
    }

    /// Inputs of the graph that are not those of a plain decoder. Those that are must be of the type that is given.
    fn other_inputs(&self) -> RuntimeResult<Vec<String>> {
        let mut others = Vec::new();
        for input in self.lock().inputs() {
            let name = input.name();
            if self.cache_tensors.iter().any(|tensor| tensor.past == name) {
                continue;
            }
            let known = name == self.config.model.decoder.inputs.input_ids
                || Some(name) == self.attention_mask.as_deref()
                || Some(name) == self.position_ids.as_deref();
            if !known {
                others.push(name.to_owned());
            } else if input.dtype().tensor_type() != Some(TensorElementType::Int64) {
                return Err(self.unsupported(format!("its input `{name}` is not of type int64")));
            }
        }
        Ok(others)
    }

    /// Whether the graph gets all that it wants.
    fn check_adapter(&self, adapter: Option<&OnnxAdapter>) -> RuntimeResult<()> {
        let given = |name: &str| adapter.is_some_and(|adapter| adapter.gives(name));
        match self.adapter_inputs.iter().find(|name| !given(name)) {
            None => Ok(()),
            Some(name) => {
                let reason =
                    format!("its graph wants the input `{name}`, which genai_config.json does not name");
                Err(self.unsupported(reason))
            }
        }
    }

    fn empty_cache(&self, adapter: Option<&OnnxAdapter>) -> RuntimeResult<SequenceCache> {
        let mut cache = SequenceCache::new(&self.lock(), &self.cache_tensors, self.share)?;
        if let (SequenceCache::Shared { binding, .. }, Some(adapter)) = (&mut cache, adapter) {
            for (name, matrix) in &adapter.inputs {
                binding.bind_input(name, matrix)?;
            }
        }
        Ok(cache)
    }

    fn forget(&self, sequence: &mut OnnxSequence) -> RuntimeResult<()> {
        if !self.share {
            sequence.cache = self.empty_cache(sequence.adapter.as_deref())?;
        }
        sequence.tokens.clear();
        sequence.row = None;
        Ok(())
    }

    /// Whether sequences of this length rotate as long ones.
    fn is_long(&self, length: usize) -> bool {
        self.switch.length().is_some_and(|switch| switch < length)
    }

    /// Makes the sequence one that goes on to `length`. Gives what it held where the keys of that are rotated for shorter or
    /// longer ones: it is to be computed again, as transformers and onnxruntime-genai do.
    pub(super) fn prepare(&self, sequence: &mut OnnxSequence, length: usize) -> RuntimeResult<Vec<u32>> {
        let held = if self.is_long(sequence.rope_length) == self.is_long(length) {
            Vec::new()
        } else {
            let held = sequence.tokens.clone();
            self.forget(sequence)?;
            held
        };
        sequence.rope_length = length;
        Ok(held)
    }

    /// Computes tokens that follow what the sequence holds, and gives what `read` makes of their logits, `[1, tokens, vocab]`.
    pub(super) fn run<R>(
        &self,
        sequence: &mut OnnxSequence,
        part: &Part<'_>,
        read: impl FnOnce(&DynValue) -> RuntimeResult<R>,
    ) -> RuntimeResult<R> {
        sequence.row = None;
        let position = sequence.tokens.len();
        let total = position + part.tokens.len();
        let shown = self.shown_length(total, part.length);
        let fresh = self.fresh_inputs(position, part.tokens, shown)?;
        let mut session = self.lock();
        sequence.cache.reserve(&session, &self.cache_tensors, shown, position)?;
        let logits = &self.config.model.decoder.outputs.logits;
        let read = match &mut sequence.cache {
            SequenceCache::Shared { binding, .. } => {
                for (name, tensor) in &fresh {
                    binding.bind_input(name, tensor)?;
                }
                // Bound anew each time: its length changes with the number of tokens.
                binding.bind_output_to_device(logits, &self.logits_memory)?;
                let outputs = session.run_binding(binding)?;
                read(&outputs[logits.as_str()])?
            }
            SequenceCache::Moved { tensors } => {
                let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::new();
                for (name, tensor) in fresh {
                    inputs.push((name.into(), tensor.into()));
                }
                for (declared, tensor) in self.cache_tensors.iter().zip(tensors.iter()) {
                    inputs.push((declared.past.as_str().into(), tensor.into()));
                }
                for (name, matrix) in sequence.adapter.iter().flat_map(|adapter| &adapter.inputs) {
                    inputs.push((name.as_str().into(), matrix.into()));
                }
                let mut outputs = session.run(inputs)?;
                let given = outputs.get(logits);
                let read =
                    read(given.ok_or_else(|| self.unsupported(format!("its graph gives no `{logits}`")))?)?;
                let present: Option<Vec<DynValue>> =
                    self.cache_tensors.iter().map(|declared| outputs.remove(&declared.present)).collect();
                drop(outputs);
                *tensors = present.ok_or_else(|| RuntimeError::Unsupported {
                    path: PathBuf::from(&self.config.model.decoder.filename),
                    reason: "its graph does not give the cache that genai_config.json names".into(),
                })?;
                read
            }
        };
        sequence.tokens.extend_from_slice(part.tokens);
        Ok(read)
    }

    /// Length of the attention mask, by which the graph chooses rotations: that of the sequence up to here, `total`, or more
    /// where it goes on to be a long one.
    fn shown_length(&self, total: usize, length: usize) -> usize {
        match self.switch.length() {
            Some(switch) if self.is_long(length) && self.looks_ahead() => total.max(switch + 1),
            _ => total,
        }
    }

    /// Whether the attention mask may be longer than the sequence is: the cache has room for more, and the graph does not
    /// choose rotations by positions.
    pub(super) fn looks_ahead(&self) -> bool {
        self.share && self.position_ids.is_none()
    }

    /// Inputs that are made anew for every run.
    fn fresh_inputs(
        &self,
        position: usize,
        tokens: &[u32],
        shown: usize,
    ) -> RuntimeResult<Vec<(String, DynTensor)>> {
        let total = position + tokens.len();
        let mut fresh = Vec::with_capacity(3);
        let ids: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
        fresh.push((self.config.model.decoder.inputs.input_ids.clone(), row(ids)?)); // [1, new]
        if let Some(name) = &self.attention_mask {
            let mask = (0..shown).map(|position| i64::from(position < total)).collect();
            fresh.push((name.clone(), row(mask)?)); // [1, shown]
        }
        if let Some(name) = &self.position_ids {
            fresh.push((name.clone(), row((position as i64..total as i64).collect())?)); // [1, new]
        }
        Ok(fresh)
    }
}

impl LanguageModel for OnnxSession {
    type Sequence = OnnxSequence;

    fn new_sequence(&self) -> Result<OnnxSequence> {
        self.new_sequence_with(self.adapter.clone())
    }

    fn tokens<'s>(&self, sequence: &'s OnnxSequence) -> &'s [u32] {
        &sequence.tokens
    }

    fn feed(&self, sequence: &mut OnnxSequence, tokens: &[u32]) -> Result<Vec<f32>> {
        let length = sequence.tokens.len() + tokens.len();
        let mut again = self.prepare(sequence, length)?;
        again.extend_from_slice(tokens);
        Ok(self.run(sequence, &Part { tokens: &again, length }, last_row)?)
    }

    fn feed_all(&self, feeds: &mut [Feed<'_, OnnxSequence>]) -> Vec<Result<Vec<f32>>> {
        if self.may_run_together(feeds) {
            match self.run_together(feeds, 0) {
                Ok(logits) => return logits.into_iter().map(Ok).collect(),
                Err(error) => tracing::debug!("sequences run one by one this time: {error}"),
            }
        }
        feeds.iter_mut().map(|feed| self.feed(feed.sequence, feed.tokens)).collect()
    }

    fn truncate(&self, sequence: &mut OnnxSequence, len: usize) -> Result<usize> {
        if self.share && self.is_long(len) == self.is_long(sequence.rope_length) {
            // Rows beyond the position are never read, only overwritten.
            sequence.tokens.truncate(len);
            sequence.row = None;
        } else {
            self.forget(sequence)?;
        }
        Ok(sequence.tokens.len())
    }

    fn reserve(&self, sequence: &mut OnnxSequence, len: usize) -> Result<()> {
        let filled = sequence.tokens.len();
        Ok(sequence.cache.reserve(&self.lock(), &self.cache_tensors, len, filled)?)
    }
}

fn load(file: &Path, library: &Library, threads: usize) -> RuntimeResult<Session> {
    let environment = environment::start(library)?;
    let builder = Session::builder(&environment)?;
    let builder = builder.with_optimization_level(GraphOptimizationLevel::All).map_err(ort::Error::from)?;
    let builder = builder.with_intra_threads(threads).map_err(ort::Error::from)?;
    let mut builder = builder.with_log_level(LogLevel::Warning).map_err(ort::Error::from)?;
    Ok(builder.commit_from_file(file)?)
}

/// `[1, len]`
fn row(values: Vec<i64>) -> RuntimeResult<DynTensor> {
    Ok(Tensor::from_array(([1, values.len()], values))?.upcast())
}

/// The last row of `[1, positions, vocab]` logits as f32.
fn last_row(logits: &DynValue) -> RuntimeResult<Vec<f32>> {
    Ok(rows(logits, 1)?.pop().unwrap_or_default())
}

/// The last rows of `[sequences, positions, vocab]` logits as f32.
pub(super) fn rows(logits: &DynValue, sequences: usize) -> RuntimeResult<Vec<Vec<f32>>> {
    fn tails<T: Copy>(
        shape: &[i64],
        values: &[T],
        sequences: usize,
        to_f32: impl Fn(T) -> f32,
    ) -> Vec<Vec<f32>> {
        let vocabulary = shape.last().map_or(0, |&vocab| vocab as usize);
        let each = values.len() / sequences.max(1);
        let tail = each.saturating_sub(vocabulary);
        values
            .chunks_exact(each.max(1))
            .map(|rows| rows[tail..].iter().map(|x| to_f32(*x)).collect())
            .collect()
    }
    Ok(match logits.dtype().tensor_type() {
        Some(TensorElementType::Float16) => {
            let (shape, values) = logits.try_extract_tensor::<f16>()?;
            tails(shape, values, sequences, f16::to_f32)
        }
        Some(TensorElementType::Bfloat16) => {
            let (shape, values) = logits.try_extract_tensor::<bf16>()?;
            tails(shape, values, sequences, bf16::to_f32)
        }
        _ => {
            let (shape, values) = logits.try_extract_tensor::<f32>()?;
            tails(shape, values, sequences, |x| x)
        }
    })
}
