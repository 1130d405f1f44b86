//! How many threads compute.

use std::sync::OnceLock;
use std::time::Duration;

/// What the user has chosen.
static CHOSEN: OnceLock<usize> = OnceLock::new();

/// Has every model that is loaded from here on compute with so many threads. The first choice stands.
pub fn choose(threads: usize) {
    CHOSEN.get_or_init(|| threads);
}

/// Physical cores that this process may use: a second thread on a core only gets in the way of matrix products.
pub fn physical_cores() -> usize {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    sysinfo::System::physical_core_count()
        .filter(|cores| *cores > 0)
        .map_or(available, |cores| cores.min(available))
}

/// Threads for ONNX Runtime: those that were chosen, or every physical core that no one else is using now, but at least half of them (as
/// onnxruntime-genai always takes).
///
/// All threads meet after every operator, some two hundred times per token: one that has lost its core to another
/// process holds up all of them, which costs more than it brings.
pub fn at_rest() -> usize {
    if let Some(chosen) = CHOSEN.get() {
        return *chosen;
    }
    // The load average would still tell of what ended a minute ago, such as our own training.
    let samples = (0..SAMPLES).map(|_| {
        std::thread::sleep(APART);
        running(&std::fs::read_to_string("/proc/loadavg").unwrap_or_default())
    });
    let others = samples.map(|running| running.saturating_sub(1)).sum::<usize>();
    beside(physical_cores(), others as f64 / SAMPLES as f64)
}

/// Looks at what is running, so that a thread that only wakes for a moment counts little.
const SAMPLES: usize = 5;
const APART: Duration = Duration::from_millis(1);

/// Threads that run or wait for a core, this one among them; 0 when `/proc/loadavg` does not tell.
fn running(loadavg: &str) -> usize {
    let counts = loadavg.split_whitespace().nth(3).and_then(|counts| counts.split_once('/'));
    counts.and_then(|(running, _)| running.parse().ok()).unwrap_or(0)
}

/// `cores` less those that `others` threads keep busy.
fn beside(cores: usize, others: f64) -> usize {
    let busy = others.round() as usize;
    cores.saturating_sub(busy).max(cores / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_cores_to_others_but_keeps_half() {
        for (cores, others, threads) in
            [(8, 0.2, 8), (8, 2.6, 5), (8, 40.0, 4), (2, 0.4, 2), (2, 9.0, 1), (1, 5.0, 1)]
        {
            assert_eq!(beside(cores, others), threads, "{cores} cores, {others} other threads");
        }
    }

    #[test]
    fn counts_what_runs_now_not_what_ran_before() {
        assert_eq!(running("7.62 3.04 0.53 1/86 2226\n"), 1);
        assert_eq!(running("0.00 0.00 0.00 5/412 99\n"), 5);
        assert_eq!(running(""), 0);
    }

    #[test]
    fn there_is_a_core() {
        assert!(physical_cores() >= 1);
    }
}
