//! Keys and values of earlier positions, for generation.

use super::Decoder;
use candle_core::Tensor;
use olive_core::Result;

/// The state of one sequence under generation.
pub struct KvCache {
    /// Everything that was appended.
    pub(super) ids: Vec<u32>,
    pub(super) max_len: usize,
    pub(super) layers: Vec<LayerCache>,
    /// Length for which the rotary embedding of the cached keys was chosen.
    pub(super) rope_length: usize,
}

/// `[max_len, kv_heads · head_dim]` each, of which the first positions are filled.
pub(super) struct LayerCache {
    k: Tensor,
    v: Tensor,
    len: usize,
}

impl KvCache {
    /// Positions in the cache.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// The tokens in the cache.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub fn max_len(&self) -> usize {
        self.max_len
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.forget_keys();
    }

    /// Forgets everything after the first `len` positions.
    pub fn truncate(&mut self, len: usize) {
        self.ids.truncate(len);
        self.layers.iter_mut().for_each(|l| l.len = l.len.min(len));
    }

    /// Keeps the ids, drops keys and values.
    pub(super) fn forget_keys(&mut self) {
        self.layers.iter_mut().for_each(|l| l.len = 0);
    }
}

impl LayerCache {
    /// Appends rows; gives all keys and values so far, `[len, kv]`.
    pub(super) fn append(&mut self, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        self.k.slice_set(&k.contiguous()?, 0, self.len)?;
        self.v.slice_set(&v.contiguous()?, 0, self.len)?;
        self.len += k.dim(0)?;
        Ok((self.k.narrow(0, 0, self.len)?, self.v.narrow(0, 0, self.len)?))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Decoder {
    /// Bytes of a cache for so many positions.
    pub fn cache_bytes(&self, positions: usize) -> u64 {
        let row = 2 * self.spec.num_layers() * self.spec.attention.kv_size() * self.dtype.size_in_bytes();
        (row as u64).saturating_mul(positions as u64)
    }

    /// Room for a sequence of `max_len` positions.
    ///
    /// # Errors
    /// The device has no room.
    pub fn new_cache(&self, max_len: usize) -> Result<KvCache> {
        let shape = (max_len, self.spec.attention.kv_size());
        let zeros = || Tensor::zeros(shape, self.dtype, &self.device);
        let layers = (0..self.spec.num_layers())
            .map(|_| Ok(LayerCache { k: zeros()?, v: zeros()?, len: 0 }))
            .collect::<Result<_>>()?;
        Ok(KvCache { ids: Vec::new(), max_len, layers, rope_length: 0 })
    }
}
