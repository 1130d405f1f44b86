//! An ONNX model folder as something that continues a token sequence.

use super::kv_cache::{self, KvCache, Slot};
use super::{GenaiConfig, Library, RuntimeError, adapter, environment, threads};
use half::{bf16, f16};
use olive_core::Result;
use olive_decoder::NextLogits;
use ort::logging::LogLevel;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynTensor, DynValue, Tensor, TensorElementType};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

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

/// A loaded model and its key-value cache, for one sequence at a time.
pub struct OnnxSession {
    session: Session,
    config: GenaiConfig,
    slots: Vec<Slot>,
    /// Matrices of an adapter, by the inputs that take them.
    adapter: Vec<(String, DynTensor)>,
    cache: KvCache,
    share: bool,
    /// Names of the inputs that are made anew for every run, as far as the graph has them.
    attention_mask: Option<String>,
    position_ids: Option<String>,
    /// What the cache holds.
    seen: Vec<u32>,
    /// Sequences longer than this rotate otherwise (LongRoPE).
    switch: Option<usize>,
    logits_memory: MemoryInfo<'static>,
}

impl OnnxSession {
    /// Loads the model of a folder with `genai_config.json`, and the adapter in the file `adapter` on it.
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
        let session = load(&file, library).map_err(|e| match e {
            RuntimeError::Run(source) => RuntimeError::Load { path: file.clone(), source },
            other => other,
        })?;
        let slots = kv_cache::slots(&session, &config, dir)?;
        let adapter = adapter.map_or(Ok(Vec::new()), |file| adapter::inputs(file, &session))?;
        let inputs = &config.model.decoder.inputs;
        let has = |name: &Option<String>| {
            name.clone().filter(|name| session.inputs().iter().any(|input| input.name() == name))
        };
        let (attention_mask, position_ids) = (has(&inputs.attention_mask), has(&inputs.position_ids));
        for input in session.inputs() {
            let name = input.name();
            if adapter.iter().any(|(given, _)| given == name) {
                continue;
            }
            let known = name == inputs.input_ids
                || Some(name) == attention_mask.as_deref()
                || Some(name) == position_ids.as_deref()
                || slots.iter().any(|slot| slot.past == name);
            if !known {
                let reason =
                    format!("its graph wants the input `{name}`, which genai_config.json does not name");
                return Err(RuntimeError::Unsupported { path: dir.to_owned(), reason });
            }
            let of_ids = !slots.iter().any(|slot| slot.past == name);
            if of_ids && input.dtype().tensor_type() != Some(TensorElementType::Int64) {
                let reason = format!("its input `{name}` is not of type int64");
                return Err(RuntimeError::Unsupported { path: dir.to_owned(), reason });
            }
        }
        let share = mode == CacheMode::Auto && kv_cache::can_share(&config, &slots);
        let mut cache = KvCache::new(&session, &slots, share)?;
        if let KvCache::Shared { binding, .. } = &mut cache {
            for (name, matrix) in &adapter {
                binding.bind_input(name, matrix)?;
            }
        }
        let logits_memory =
            MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput)?;
        let switch = config.rope_switch(dir);
        Ok(OnnxSession {
            session,
            config,
            slots,
            adapter,
            cache,
            share,
            attention_mask,
            position_ids,
            seen: Vec::new(),
            switch,
            logits_memory,
        })
    }

    pub fn config(&self) -> &GenaiConfig {
        &self.config
    }

    /// Whether the cache is written in place.
    pub fn shares_cache(&self) -> bool {
        self.share
    }

    /// An empty cache.
    fn forget(&mut self) -> RuntimeResult<()> {
        if !self.share {
            self.cache = KvCache::new(&self.session, &self.slots, false)?;
        }
        self.seen.clear();
        Ok(())
    }

    /// Logits after `tokens`, which follow what the cache holds.
    fn run(&mut self, tokens: &[u32]) -> RuntimeResult<Vec<f32>> {
        let position = self.seen.len();
        let total = position + tokens.len();
        let mut fresh: Vec<(String, DynTensor)> = Vec::with_capacity(3);
        let ids: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
        fresh.push((self.config.model.decoder.inputs.input_ids.clone(), row(ids)?)); // [1, new]
        if let Some(name) = &self.attention_mask {
            fresh.push((name.clone(), row(vec![1; total])?)); // [1, total]
        }
        if let Some(name) = &self.position_ids {
            fresh.push((name.clone(), row((position as i64..total as i64).collect())?)); // [1, new]
        }
        self.cache.reserve(&self.session, &self.slots, total, position)?;
        let name = &self.config.model.decoder.outputs.logits;
        match &mut self.cache {
            KvCache::Shared { binding, .. } => {
                for (name, tensor) in &fresh {
                    binding.bind_input(name, tensor)?;
                }
                // Bound anew each time: its length changes with the number of tokens.
                binding.bind_output_to_device(name, &self.logits_memory)?;
                let outputs = self.session.run_binding(binding)?;
                last_row(&outputs[name.as_str()])
            }
            KvCache::Moved { tensors } => {
                let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> =
                    Vec::with_capacity(fresh.len() + tensors.len() + self.adapter.len());
                for (name, tensor) in fresh {
                    inputs.push((name.into(), tensor.into()));
                }
                for (slot, tensor) in self.slots.iter().zip(tensors.iter()) {
                    inputs.push((slot.past.as_str().into(), tensor.into()));
                }
                for (name, matrix) in &self.adapter {
                    inputs.push((name.as_str().into(), matrix.into()));
                }
                let mut outputs = self.session.run(inputs)?;
                let logits = last_row(&outputs[name.as_str()])?;
                let present: Option<Vec<DynValue>> =
                    self.slots.iter().map(|slot| outputs.remove(&slot.present)).collect();
                drop(outputs);
                *tensors = present.ok_or_else(|| RuntimeError::Unsupported {
                    path: PathBuf::from(&self.config.model.decoder.filename),
                    reason: "its graph does not give the cache that genai_config.json names".into(),
                })?;
                Ok(logits)
            }
        }
    }
}

impl NextLogits for OnnxSession {
    fn feed(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        let end = self.seen.len() + tokens.len();
        let changes = |switch: usize| (1..=switch).contains(&self.seen.len()) && switch < end;
        if self.switch.is_some_and(changes) {
            // The keys in the cache are rotated for short sequences: computed again, as transformers and
            // onnxruntime-genai do.
            let mut all = std::mem::take(&mut self.seen);
            all.extend_from_slice(tokens);
            self.forget()?;
            let logits = self.run(&all)?;
            self.seen = all;
            return Ok(logits);
        }
        let logits = self.run(tokens)?;
        self.seen.extend_from_slice(tokens);
        Ok(logits)
    }

    fn rewind(&mut self, len: usize) -> Result<usize> {
        let changes = |switch: usize| len <= switch && switch < self.seen.len();
        if self.share && !self.switch.is_some_and(changes) {
            // Rows beyond the position are never read, only overwritten.
            self.seen.truncate(len);
        } else {
            self.forget()?;
        }
        Ok(self.seen.len())
    }

    fn reserve(&mut self, len: usize) -> Result<()> {
        Ok(self.cache.reserve(&self.session, &self.slots, len, self.seen.len())?)
    }
}

fn load(file: &Path, library: &Library) -> RuntimeResult<Session> {
    let environment = environment::start(library)?;
    let builder = Session::builder(&environment)?;
    let builder = builder.with_optimization_level(GraphOptimizationLevel::All).map_err(ort::Error::from)?;
    let builder = builder.with_intra_threads(threads::at_rest()).map_err(ort::Error::from)?;
    let mut builder = builder.with_log_level(LogLevel::Warning).map_err(ort::Error::from)?;
    Ok(builder.commit_from_file(file)?)
}

/// `[1, len]`
fn row(values: Vec<i64>) -> RuntimeResult<DynTensor> {
    Ok(Tensor::from_array(([1, values.len()], values))?.upcast())
}

/// The last row of `[1, positions, vocab]` logits as f32.
fn last_row(logits: &DynValue) -> RuntimeResult<Vec<f32>> {
    fn tail<T>(shape: &[i64], values: &[T]) -> usize {
        values.len() - shape.last().map_or(0, |&vocab| vocab as usize)
    }
    Ok(match logits.dtype().tensor_type() {
        Some(TensorElementType::Float16) => {
            let (shape, values) = logits.try_extract_tensor::<f16>()?;
            values[tail(shape, values)..].iter().map(|x| x.to_f32()).collect()
        }
        Some(TensorElementType::Bfloat16) => {
            let (shape, values) = logits.try_extract_tensor::<bf16>()?;
            values[tail(shape, values)..].iter().map(|x| x.to_f32()).collect()
        }
        _ => {
            let (shape, values) = logits.try_extract_tensor::<f32>()?;
            values[tail(shape, values)..].to_vec()
        }
    })
}
