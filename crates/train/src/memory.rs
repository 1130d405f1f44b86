//! How much memory a training run needs at its peak, estimated before it starts.
//!
//! ```text
//! peak    = weights + adapter + kept + working + process
//! weights = bytes of the checkpoint, mapped: the system can drop them and read them again
//! adapter = 16 · parameters            values, gradients, two moments of AdamW; f32
//! kept    = 4 · tokens · Σ layers layer     or, with checkpointing, 4 · tokens · (layers · hidden + layer)
//! layer   = 2·hidden + 2·q + 2·kv + heads + 2·intermediate + Σ adapters r
//! working = 4 · max(head, backward)
//! head    = rows · vocab + tokens · 4·hidden    rows = an even share of tokens, at most max(64, 2²⁴ / vocab)
//! backward = tokens · (6·hidden + 3·intermediate + 4·q)
//! process = 64 MB                      code, tokenizer, packed panels, what fills no huge page
//! ```
//!
//! `tokens` are those of one micro-batch: accumulation costs nothing. `layer` is what `decoder::layer` keeps of a layer;
//! packed projections, norms on queries and keys, and norms after a branch keep some more.

use olive_arch::{Linear, NormLayout, Spec};
use olive_core::Fault;
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

/// A run that does not fit into memory. All sizes are in bytes.
#[derive(Debug, thiserror::Error)]
#[error(
    "a micro-batch of {tokens} tokens needs {} of memory beside the weights, but {} is available",
    gigabytes(*.needed),
    gigabytes(*.available)
)]
pub struct MemoryShortage {
    pub tokens: usize,
    pub needed: u64,
    pub available: u64,
    /// What it would need with gradient checkpointing, if that is off.
    pub checkpointed: Option<u64>,
}

impl Fault for MemoryShortage {
    fn hint(&self) -> Option<String> {
        Some(match self.checkpointed {
            Some(saved) if saved <= self.available => {
                format!("set `gradient_checkpointing` to true: it then needs {}", gigabytes(saved))
            }
            checkpointed => format!(
                "lower `max_seq_len` or `per_device_train_batch_size` (with `gradient_accumulation_steps` the result \
                 stays the same){}",
                if checkpointed.is_some() { ", and set `gradient_checkpointing` to true" } else { "" }
            ),
        })
    }
}

/// Code, tokenizer, data, packed panels, and what allocations lose to huge pages.
const PROCESS: u64 = 128 << 20;

impl MemoryEstimate {
    /// Follows the formula of this module. Computed in f64, which is exact for all that fits a machine and has no end:
    /// ranks and batches may be any numbers.
    pub fn of(run: &Workload) -> MemoryEstimate {
        let spec = run.spec;
        let [tokens, rank] = [run.tokens, run.rank].map(|n| n as f64);
        let [hidden, inner, q] =
            [spec.hidden_size, spec.intermediate_size, spec.attention.q_size()].map(|n| n as f64);
        let [layers, layer] = [spec.num_layers(), kept_by_layer(spec)].map(|n| n as f64);
        let inner_values = rank * run.targets.len() as f64;
        let kept = match run.checkpointing {
            false => layers * layer + inner_values,
            true => layers * hidden + layer + (inner_values / layers.max(1.0)).floor(),
        };
        let rows = lm_loss::chunk_rows(run.tokens, spec.vocab_size) as f64;
        let head = rows * spec.vocab_size as f64 + tokens * 4.0 * hidden;
        let backward = tokens * (6.0 * hidden + 3.0 * inner + 4.0 * q);
        let features: usize = run.targets.iter().map(|l| l.in_features + l.out_features).sum();
        MemoryEstimate {
            weights: run.weights,
            adapter: (16.0 * rank * features as f64) as u64,
            kept: (4.0 * tokens * kept) as u64,
            working: (4.0 * head.max(backward)) as u64,
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

/// Refuses a run that does not fit into `available` bytes. Mapped weights do not count: the system can drop them.
///
/// # Errors
/// [`MemoryShortage`], with what would make it fit.
pub fn check(run: &Workload, available: u64) -> Result<(), MemoryShortage> {
    let estimate = MemoryEstimate::of(run);
    if estimate.needed() <= available {
        return Ok(());
    }
    let saved = MemoryEstimate::of(&Workload { checkpointing: true, ..*run });
    Err(MemoryShortage {
        tokens: run.tokens,
        needed: estimate.needed(),
        available,
        checkpointed: (!run.checkpointing).then(|| saved.needed()),
    })
}

/// Memory that this process can still have: what the machine has to give, or the control group it runs in. `None` where
/// the system does not tell.
pub fn available() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = of_machine().map(|machine| machine.available);
    let own = read("/proc/self/cgroup");
    let own = own.as_deref().and_then(group_of).unwrap_or_default();
    // In a container the own group is the root of what it sees.
    let unified = [format!("/sys/fs/cgroup{own}"), "/sys/fs/cgroup".into()].map(|dir| {
        left_of(
            &read(&format!("{dir}/memory.max"))?,
            &read(&format!("{dir}/memory.current"))?,
            &read(&format!("{dir}/memory.stat"))?,
        )
    });
    let dir = "/sys/fs/cgroup/memory";
    let legacy = || {
        left_of(
            &read(&format!("{dir}/memory.limit_in_bytes"))?,
            &read(&format!("{dir}/memory.usage_in_bytes"))?,
            &read(&format!("{dir}/memory.stat"))?,
        )
    };
    machine.into_iter().chain(unified.into_iter().flatten()).chain(legacy()).min()
}

/// What a control group leaves; pages of files count as free, because they can be dropped. `None` without a limit.
fn left_of(limit: &str, used: &str, stat: &str) -> Option<u64> {
    let [limit, used] = [limit, used].map(|text| text.trim().parse::<u64>().ok());
    let files = stat.lines().filter_map(|line| {
        let (name, bytes) = line.split_once(' ')?;
        matches!(name, "inactive_file" | "active_file").then(|| bytes.trim().parse::<u64>().ok())?
    });
    Some(limit?.saturating_sub(used?.saturating_sub(files.sum())))
}

/// What the machine has, whatever a control group leaves of it, in bytes.
pub struct Machine {
    pub total: u64,
    pub available: u64,
}

/// `None` where the system does not tell.
pub fn of_machine() -> Option<Machine> {
    let mut system = sysinfo::System::new();
    system.refresh_memory_specifics(sysinfo::MemoryRefreshKind::nothing().with_ram());
    let machine = Machine { total: system.total_memory(), available: system.available_memory() };
    (machine.available > 0).then_some(machine)
}

/// Path of the process in the unified hierarchy, from `/proc/self/cgroup`.
fn group_of(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::")).map(|path| path.trim_end_matches('/'))
}

/// `1.3 GB`.
pub fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
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

        // Between the two needs, the advice is checkpointing; below both it is smaller batches.
        assert!(check(&run, all.needed()).is_ok());
        let refused = check(&run, checkpointed.needed()).expect_err("too large").hint().expect("advice");
        assert!(refused.starts_with("set `gradient_checkpointing`"), "{refused}");
        let refused = check(&run, checkpointed.needed() - 1).expect_err("too large").hint().expect("advice");
        assert!(refused.starts_with("lower `max_seq_len`"), "{refused}");
    }

    #[test]
    fn limits_are_read_as_the_system_writes_them() {
        let machine = of_machine().expect("known here");
        assert!(machine.available > 1 << 20 && machine.available <= machine.total);
        assert_eq!(group_of("1:name=x:/y\n0::/user.slice/a\n"), Some("/user.slice/a"));
        let stat = "anon 500\nactive_file 100\ninactive_file 200\n";
        assert_eq!(left_of("1000\n", "900\n", stat), Some(400));
        assert_eq!(left_of("max\n", "900\n", stat), None);
    }
}
