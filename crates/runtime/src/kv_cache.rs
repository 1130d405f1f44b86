//! Keys and values of earlier positions, in ONNX Runtime's memory.

use super::RuntimeError;
use super::genai_config::{GenaiConfig, layer_name};
use half::f16;
use ort::memory::Allocator;
use ort::session::{IoBinding, Session};
use ort::value::{DynTensor, DynValue, TensorElementType, ValueType};
use std::ops::Range;
use std::path::Path;

/// One cache tensor, `[1, kv_heads, positions, head_dim]`, and its two names in the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheTensor {
    pub(crate) past: String,
    pub(crate) present: String,
    dtype: TensorElementType,
    kv_heads: usize,
    head_dim: usize,
    /// Rows of a cache that holds only the last positions; `None` for one that grows.
    window: Option<usize>,
}

/// Rows that a windowed cache has beyond its window, as onnxruntime-genai allocates them on the CPU.
const WINDOW_SLACK: usize = 16;

/// A shared cache grows by whole multiples of this, so that the tensors move seldom.
const GROWTH: usize = 64;

pub(crate) enum SequenceCache {
    /// The graph writes new rows into the tensors that it reads: nothing is copied, whatever the length.
    Shared { binding: Box<IoBinding>, tensors: Vec<DynTensor>, capacity: usize },
    /// Every run gives new tensors, one row longer, which are the next run's inputs.
    Moved { tensors: Vec<DynValue> },
}

/// The cache tensors that the graph declares, keys and values of every layer.
pub(crate) fn declared(
    session: &Session,
    config: &GenaiConfig,
    dir: &Path,
) -> Result<Vec<CacheTensor>, RuntimeError> {
    let decoder = &config.model.decoder;
    let window = decoder.sliding_window.as_ref();
    let unsupported = |reason: String| RuntimeError::Unsupported { path: dir.to_owned(), reason };
    let (layers, inputs) = (decoder.num_hidden_layers, session.inputs().len());
    if layers > inputs {
        let reason = format!(
            "genai_config.json: `model.decoder.num_hidden_layers` is {layers}, and the graph has {inputs} inputs in all"
        );
        return Err(unsupported(reason));
    }
    let mut declared = Vec::with_capacity(2 * layers);
    for layer in 0..decoder.num_hidden_layers {
        let rows = window.filter(|w| w.layers.contains(&layer)).map(|w| {
            w.window_size.saturating_add(if w.cache_slack > 0 { w.cache_slack } else { WINDOW_SLACK })
        });
        for (past, present) in [
            (&decoder.inputs.past_key_names, &decoder.outputs.present_key_names),
            (&decoder.inputs.past_value_names, &decoder.outputs.present_value_names),
        ] {
            let past = layer_name(past, layer);
            let input = session.inputs().iter().find(|input| input.name() == past);
            let Some(ValueType::Tensor { ty, shape, .. }) = input.map(|input| input.dtype()) else {
                return Err(unsupported(format!("its graph has no tensor input `{past}`")));
            };
            // A dimension that the graph leaves open is what the configuration says.
            let fixed = |axis: usize, otherwise: usize| {
                shape.get(axis).filter(|d| **d > 0).map_or(otherwise, |d| *d as usize)
            };
            let tensor = CacheTensor {
                past,
                present: layer_name(present, layer),
                dtype: *ty,
                kv_heads: fixed(1, decoder.num_key_value_heads),
                head_dim: fixed(3, decoder.head_size),
                window: rows,
            };
            if tensor.elements(rows.unwrap_or(1)).is_none() {
                let reason = format!(
                    "a cache of {} heads of {} elements for {} positions is larger than any memory",
                    tensor.kv_heads,
                    tensor.head_dim,
                    rows.unwrap_or(1)
                );
                return Err(unsupported(reason));
            }
            declared.push(tensor);
        }
    }
    Ok(declared)
}

/// Whether the graph can work on one tensor as past and present.
pub(crate) fn can_share(config: &GenaiConfig, declared: &[CacheTensor]) -> bool {
    config.search.past_present_share_buffer
        && declared.iter().all(|tensor| {
            tensor.window.is_none()
                && matches!(tensor.dtype, TensorElementType::Float32 | TensorElementType::Float16)
        })
}

impl SequenceCache {
    /// An empty cache.
    pub(crate) fn new(
        session: &Session,
        declared: &[CacheTensor],
        share: bool,
    ) -> Result<SequenceCache, RuntimeError> {
        let allocator = session.allocator();
        if share {
            let binding = Box::new(session.create_binding()?);
            let mut cache = SequenceCache::Shared { binding, tensors: Vec::new(), capacity: 0 };
            cache.reserve(session, declared, 1, 0)?;
            return Ok(cache);
        }
        let tensors = declared.iter().map(|of| of.tensor(allocator, 1, of.window.unwrap_or(0)));
        let tensors = tensors.map(|tensor| tensor.map(DynTensor::into_dyn)).collect::<Result<_, _>>()?;
        Ok(SequenceCache::Moved { tensors })
    }

    /// Makes room for `len` positions, keeping the first `filled`.
    pub(crate) fn reserve(
        &mut self,
        session: &Session,
        declared: &[CacheTensor],
        len: usize,
        filled: usize,
    ) -> Result<(), RuntimeError> {
        let SequenceCache::Shared { binding, tensors, capacity } = self else { return Ok(()) };
        if len <= *capacity {
            return Ok(());
        }
        let new_capacity = len.checked_next_multiple_of(GROWTH).unwrap_or(len);
        for (index, of) in declared.iter().enumerate() {
            let mut tensor = of.tensor(session.allocator(), 1, new_capacity)?;
            if filled > 0 {
                let from = Plane { tensor: &tensors[index], sequence: 0, capacity: *capacity };
                let to = Plane { tensor: &mut tensor, sequence: 0, capacity: new_capacity };
                copy_positions(of, from, to, 0..filled)?;
            }
            binding.bind_input(&*of.past, &tensor)?;
            binding.bind_output(&*of.present, &mut tensor)?;
            // The old tensor is freed here, not after all layers.
            if index < tensors.len() {
                tensors[index] = tensor;
            } else {
                tensors.push(tensor);
            }
        }
        *capacity = new_capacity;
        Ok(())
    }
}

impl CacheTensor {
    /// Bytes for so many positions, of which a cache with a window holds the last.
    pub(crate) fn bytes(&self, positions: usize) -> u64 {
        let rows = self.window.map_or(positions, |window| window.min(positions));
        let element = if self.dtype == TensorElementType::Float32 { 4 } else { 2 };
        let row = (self.kv_heads as u64).saturating_mul(self.head_dim as u64).saturating_mul(element);
        row.saturating_mul(rows as u64)
    }

    /// Elements of so many rows, as far as memory could hold them.
    fn elements(&self, rows: usize) -> Option<usize> {
        let elements = self.kv_heads.checked_mul(self.head_dim)?.checked_mul(rows)?;
        (elements < isize::MAX as usize / 4).then_some(elements)
    }

    /// Zeroes, `[sequences, kv_heads, rows, head_dim]`.
    pub(crate) fn tensor(
        &self,
        allocator: &Allocator,
        sequences: usize,
        rows: usize,
    ) -> Result<DynTensor, RuntimeError> {
        Ok(DynTensor::new(allocator, self.dtype, [sequences, self.kv_heads, rows, self.head_dim])?)
    }
}

/// A sequence in a tensor of some: `[sequences, kv_heads, capacity, head_dim]`.
pub(crate) struct Plane<T> {
    pub(crate) tensor: T,
    pub(crate) sequence: usize,
    pub(crate) capacity: usize,
}

/// Copies what every head has for these positions.
pub(crate) fn copy_positions(
    of: &CacheTensor,
    from: Plane<&DynTensor>,
    to: Plane<&mut DynTensor>,
    positions: Range<usize>,
) -> Result<(), RuntimeError> {
    fn copy<T: Copy>(from: &[T], to: &mut [T], from_head: usize, to_head: usize, elements: Range<usize>) {
        for (from, to) in from.chunks_exact(from_head).zip(to.chunks_exact_mut(to_head)) {
            to[elements.clone()].copy_from_slice(&from[elements.clone()]);
        }
    }
    let (from_head, to_head) = (from.capacity * of.head_dim, to.capacity * of.head_dim);
    let elements = positions.start * of.head_dim..positions.end * of.head_dim;
    let from_row = from.sequence * of.kv_heads * from_head..(from.sequence + 1) * of.kv_heads * from_head;
    let to_row = to.sequence * of.kv_heads * to_head..(to.sequence + 1) * of.kv_heads * to_head;
    if of.dtype == TensorElementType::Float16 {
        let source = &from.tensor.try_extract_tensor::<f16>()?.1[from_row];
        copy(source, &mut to.tensor.try_extract_tensor_mut::<f16>()?.1[to_row], from_head, to_head, elements);
    } else {
        let source = &from.tensor.try_extract_tensor::<f32>()?.1[from_row];
        copy(source, &mut to.tensor.try_extract_tensor_mut::<f32>()?.1[to_row], from_head, to_head, elements);
    }
    Ok(())
}
