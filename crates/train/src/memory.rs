//! How much memory a training run needs at its peak, estimated before it starts.
//!
//! ```text
//! peak    = weights + adapter + kept + working + process
//! weights = bytes of the checkpoint, mapped: the system can drop them and read them again
//! adapter = 16 · parameters            values, gradients, two moments of AdamW; f32; with DoRA 4 · rows more
//! kept    = 4 · tokens · Σ layers layer     or, with checkpointing, 4 · tokens · (layers · hidden + layer)
//! layer   = 2·hidden + 2·q + 2·kv + heads + 2·intermediate + Σ adapters r
//! working = 4 · max(head, backward)
//! head    = rows · vocab + tokens · 4·hidden    rows = an even share of tokens, at most max(64, 2²⁴ / vocab)
//! backward = tokens · (6·hidden + wide·intermediate + 4·q)
//! wide    = 3, with dropout 5, with DoRA 6, with both 9      of the size of the gated product at once
//! process = 128 MB                     code, tokenizer, packed panels, what fills no huge page
//! ```
//!
//! `tokens` are those of one micro-batch: accumulation costs nothing. `layer` is what `decoder::layer` keeps of a layer;
//! packed projections, norms on queries and keys, and norms after a branch keep some more.

use olive_arch::{Linear, NormLayout, Spec};
use olive_core::Fault;
use olive_core::available::Available;
use olive_kernels::lm_loss;

/// A run, as far as its memory depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Workload<'a> {
    pub spec: &'a Spec,
    /// Bytes of the checkpoint.
    pub weights: u64,
    /// Linear layers that get an adapter, and its rank.
    pub targets: &'a [Linear],
    pub rank: usize,
    /// Tokens of the largest micro-batch.
    pub tokens: usize,
    pub checkpointing: bool,
    pub dropout: bool,
    pub use_dora: bool,
}

/// Bytes, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// Mapped from files.
    pub weights: u64,
    pub adapter: u64,
    /// Activations kept for the backward.
    pub kept: u64,
    /// Values of the step that is being worked on.
    pub working: u64,
    pub process: u64,
}

/// What a run needs, and what would make it less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeed {
    /// Tokens of the largest micro-batch.
    pub tokens: usize,
    pub estimate: MemoryEstimate,
    /// The same with gradient checkpointing, if that is off.
    pub checkpointed: Option<MemoryEstimate>,
}

/// A run that does not fit into memory. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a micro-batch of {tokens} tokens needs {} of {}, but {} is available",
    size(*.needed),
    .space.name(),
    size(*.available)
)]
pub struct MemoryShortage {
    pub tokens: usize,
    pub space: Space,
    pub needed: u64,
    pub available: u64,
    /// What it would need with gradient checkpointing, if that is off.
    pub checkpointed: Option<u64>,
}

/// What a run can have too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Memory for what cannot be dropped under pressure, as mapped weights can.
    Memory,
    /// Address space, of which mapped weights take their part.
    Addresses,
}

impl Space {
    fn name(self) -> &'static str {
        match self {
            Space::Memory => "memory beside the weights",
            Space::Addresses => "address space (`ulimit -v`) with the weights",
        }
    }

    fn of(self, estimate: &MemoryEstimate) -> u64 {
        match self {
            Space::Memory => estimate.needed(),
            // The allocator reserves more than it gives, and every thread has a stack.
            Space::Addresses => estimate.total().saturating_add(estimate.total() / 4),
        }
    }
}

impl Fault for MemoryShortage {
    fn hint(&self) -> Option<String> {
        let remedy = match self.checkpointed {
            Some(saved) if saved <= self.available => {
                format!("set `gradient_checkpointing` to true: it then needs {}", size(saved))
            }
            checkpointed => format!(
                "lower `max_seq_len` or `per_device_train_batch_size` (with `gradient_accumulation_steps` the result \
                 stays the same){}",
                if checkpointed.is_some() { ", and set `gradient_checkpointing` to true" } else { "" }
            ),
        };
        Some(format!("{remedy}; `olive run --ignore-memory` runs it nevertheless"))
    }
}

impl MemoryNeed {
    pub fn of(run: &Workload) -> MemoryNeed {
        let checkpointed = || MemoryEstimate::of(&Workload { checkpointing: true, ..*run });
        MemoryNeed {
            tokens: run.tokens,
            estimate: MemoryEstimate::of(run),
            checkpointed: (!run.checkpointing).then(checkpointed),
        }
    }

    /// Refuses a run that does not fit into what is available.
    ///
    /// # Errors
    /// [`MemoryShortage`], with what would make it fit.
    pub fn check(&self, available: &Available) -> Result<(), MemoryShortage> {
        let limits = [(Space::Memory, available.memory), (Space::Addresses, available.addresses)];
        for (space, limit) in limits {
            let needed = space.of(&self.estimate);
            if let Some(available) = limit.filter(|available| needed > *available) {
                let checkpointed = self.checkpointed.map(|saved| space.of(&saved));
                return Err(MemoryShortage { tokens: self.tokens, space, needed, available, checkpointed });
            }
        }
        Ok(())
    }
}

/// Code, tokenizer, data, packed panels, and what allocations lose to huge pages.
const PROCESS: u64 = 128 << 20;

impl MemoryEstimate {
    /// Follows the formula of this module. Numbers that no memory could hold come out as the largest there is.
    pub fn of(run: &Workload) -> MemoryEstimate {
        let spec = run.spec;
        let (tokens, hidden, inner) = (run.tokens, spec.hidden_size, spec.intermediate_size);
        let q = spec.attention.q_size();
        let (layers, layer) = (spec.num_layers(), kept_by_layer(spec));
        let inner_values = run.rank.saturating_mul(run.targets.len());
        let kept = match run.checkpointing {
            false => (layers * layer).saturating_add(inner_values),
            true => (layers * hidden + layer).saturating_add(inner_values / layers.max(1)),
        };
        let rows = lm_loss::chunk_rows(tokens, spec.vocab_size);
        let head = floats(rows, spec.vocab_size) + floats(tokens, 4 * hidden);
        let wide = match (run.use_dora, run.dropout) {
            (false, false) => 3,
            (false, true) => 5,
            (true, false) => 6,
            (true, true) => 9,
        };
        let backward = floats(tokens, 6 * hidden + wide * inner + 4 * q);
        let pairs = run.targets.iter().map(|l| floats(run.rank, l.in_features + l.out_features));
        // The magnitude of every row is trained, too, and its norm kept.
        let rows_of = |l: &Linear| if run.use_dora { l.out_features } else { 0 };
        let magnitudes = floats(run.targets.iter().map(rows_of).sum(), 1);
        MemoryEstimate {
            weights: run.weights,
            adapter: bytes(4.0 * (pairs.sum::<f64>() + magnitudes) + magnitudes),
            kept: bytes(floats(tokens, kept)),
            working: bytes(head.max(backward)),
            process: PROCESS,
        }
    }

    /// Bytes of everything.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.needed())
    }

    /// Bytes that cannot be dropped under pressure, as mapped weights can.
    pub fn needed(&self) -> u64 {
        [self.kept, self.working, self.process].into_iter().fold(self.adapter, u64::saturating_add)
    }
}

/// Bytes of a matrix in f32.
fn floats(rows: usize, columns: usize) -> f64 {
    4.0 * rows as f64 * columns as f64
}

fn bytes(size: f64) -> u64 {
    size as u64
}

/// Floats that one layer keeps per token, adapters aside.
fn kept_by_layer(spec: &Spec) -> usize {
    let a = &spec.attention;
    let (hidden, inner, q, kv) = (spec.hidden_size, spec.intermediate_size, a.q_size(), a.kv_size());
    // Input and middle of the residual stream; q, k, v and the output of attention; gate and up.
    let mut floats = 2 * hidden + 2 * q + 2 * kv + a.heads + 2 * inner;
    if a.packed_qkv {
        // v is a view, which keeps the packed projection alive.
        floats += q + kv;
    }
    if a.qk_norm.is_some() {
        floats += q + kv;
    }
    if spec.norm_layout != NormLayout::Pre {
        floats += 2 * hidden;
    }
    floats
}

/// `1.3 GB`, `890 MB`.
pub fn size(bytes: u64) -> String {
    match bytes as f64 / 1e9 {
        few if few < 0.9995 => format!("{:.0} MB", few * 1e3),
        many => format!("{many:.1} GB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use olive_model::stored_file::read_json;
    use std::path::Path;

    fn spec() -> Spec {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../model-cache/tiny-phi3");
        let config = read_json(&dir.join("config.json")).expect("readable").expect("there");
        Spec::from_config(&config).expect("a known architecture")
    }

    #[test]
    fn the_estimate_follows_the_formula() {
        let spec = spec();
        let (h, i, l) = (spec.hidden_size, spec.intermediate_size, spec.num_layers());
        let (q, kv) = (spec.attention.q_size(), spec.attention.kv_size());
        let targets: Vec<Linear> = spec.all_linears().filter(|l| l.kind.name() == "o_proj").collect();
        let run = Workload {
            spec: &spec,
            weights: 1000,
            targets: &targets,
            rank: 8,
            tokens: 300,
            checkpointing: false,
            dropout: false,
            use_dora: false,
        };
        let all = MemoryEstimate::of(&run);
        assert_eq!(all.weights, 1000);
        assert_eq!(all.adapter, (16 * l * 8 * (q + h)) as u64);
        // The packed projection is kept whole for the sake of v.
        let layer = 2 * h + 2 * q + 2 * kv + spec.attention.heads + 2 * i + q + kv;
        assert_eq!(all.kept, (4 * 300 * l * (layer + 8)) as u64);
        let checkpointed = MemoryEstimate::of(&Workload { checkpointing: true, ..run });
        assert_eq!(checkpointed.kept, (4 * 300 * (l * h + layer + 8)) as u64);
        assert_eq!(all.total(), all.needed() + 1000);
        let dora = MemoryEstimate::of(&Workload { use_dora: true, dropout: true, ..run });
        assert_eq!(dora.adapter - all.adapter, (20 * l * h) as u64, "o_proj has as many rows");
        let head = 4 * (lm_loss::chunk_rows(300, spec.vocab_size) * spec.vocab_size + 300 * 4 * h);
        assert_eq!(dora.working, head.max(4 * 300 * (6 * h + 9 * i + 4 * q)) as u64);

        let endless = MemoryEstimate::of(&Workload { rank: usize::MAX, tokens: usize::MAX / 2, ..run });
        assert_eq!(endless.total(), u64::MAX);

        // Between the two needs, the advice is checkpointing; below both it is smaller batches.
        let need = MemoryNeed::of(&run);
        let with = |bytes| need.check(&Available { memory: Some(bytes), addresses: None });
        assert_eq!(with(all.needed()), Ok(()));
        let refused = with(checkpointed.needed()).expect_err("too large").hint().expect("advice");
        assert!(refused.starts_with("set `gradient_checkpointing`"), "{refused}");
        let refused = with(checkpointed.needed() - 1).expect_err("too large").hint().expect("advice");
        assert!(refused.starts_with("lower `max_seq_len`"), "{refused}");

        // Of the address space, the weights take their part.
        let within = |bytes| need.check(&Available { memory: None, addresses: Some(bytes) });
        assert_eq!(within(all.total() * 5 / 4), Ok(()));
        assert_eq!(within(all.total()).expect_err("too large").space, Space::Addresses);
    }
}
