//! How many threads compute.

use std::collections::BTreeSet;

/// Physical cores that this process may use: a second thread on a core only gets in the way of matrix products.
pub fn physical_cores() -> usize {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    match count_cores(&cpuinfo) {
        0 => available,
        cores => cores.min(available),
    }
}

/// Threads for ONNX Runtime: every physical core of a machine that is at rest, down to half of them (as
/// onnxruntime-genai always takes) where others compute.
///
/// All threads meet after every operator, some two hundred times per token: one that has lost its core to another
/// process holds up all of them, which costs more than it brings.
pub fn at_rest() -> usize {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    beside(physical_cores(), load)
}

/// `cores` less those that a load of `load` keeps busy.
fn beside(cores: usize, load: f64) -> usize {
    let busy = load.max(0.0).round() as usize;
    cores.saturating_sub(busy).max(cores / 2).max(1)
}

/// Distinct (package, core) pairs of `/proc/cpuinfo`; 0 when it does not tell.
fn count_cores(cpuinfo: &str) -> usize {
    let mut cores = BTreeSet::new();
    for processor in cpuinfo.split("\n\n") {
        let field = |name: &str| {
            let line = processor.lines().find(|line| line.starts_with(name))?;
            line.split(':').nth(1)?.trim().parse::<u32>().ok()
        };
        if let Some(core) = field("core id") {
            cores.insert((field("physical id"), core));
        }
    }
    cores.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_cores_to_others_but_keeps_half() {
        for (cores, load, threads) in
            [(8, 0.2, 8), (8, 2.6, 5), (8, 40.0, 4), (2, 0.4, 2), (2, 9.0, 1), (1, 5.0, 1)]
        {
            assert_eq!(beside(cores, load), threads, "{cores} cores, load {load}");
        }
    }

    #[test]
    fn counts_cores_not_threads() {
        let thread =
            |package, core| format!("processor\t: 0\nphysical id\t: {package}\ncore id\t\t: {core}\n");
        let cpuinfo = [thread(0, 0), thread(0, 1), thread(0, 0), thread(1, 0)].join("\n");
        assert_eq!(count_cores(&cpuinfo), 3);
        assert_eq!(count_cores("processor : 0\nBogoMIPS : 50\n"), 0);
        assert!(physical_cores() >= 1);
    }
}
